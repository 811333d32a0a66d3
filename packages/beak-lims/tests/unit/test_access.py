"""The groups and permissions of a new organisation are consistent, and give no group what its work does not need."""

from __future__ import annotations

import pytest

from beak_lims.seeds.access import ACTIONS, ACTIONS_ON, ADMINISTRATOR, DEPARTMENTS, GROUPS, GroupSeed

BY_KEYWORD = {group.keyword: group for group in GROUPS}


def test_the_eight_groups_of_the_contract_are_there() -> None:
    assert [group.name for group in GROUPS] == [
        "ADMINISTRATOR",
        "LAB MANAGER",
        "SCIENTIST",
        "TECHNOLOGIST",
        "LABORATORY HAND",
        "GUEST",
        "STORES",
        "ACCOUNTING",
    ]
    assert len(BY_KEYWORD) == 8


def test_eleven_departments_have_names_and_codes_of_their_own() -> None:
    assert len(DEPARTMENTS) == len({name for name, _ in DEPARTMENTS}) == len({code for _, code in DEPARTMENTS}) == 11


def test_every_action_is_known_and_used() -> None:
    assert {action for actions in ACTIONS_ON.values() for action in actions} == set(ACTIONS)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.keyword)
def test_a_group_is_given_only_permissions_that_exist(group: GroupSeed) -> None:
    assert {(t, a) for t, actions in group.given.items() for a in actions} <= {
        (t, a) for t, actions in ACTIONS_ON.items() for a in actions
    }
    assert all(len(set(actions)) == len(actions) for actions in group.given.values())


def test_only_the_administrator_is_given_everything() -> None:
    assert [group.keyword for group in GROUPS if group.given == ACTIONS_ON] == [ADMINISTRATOR]


def test_those_who_only_enter_results_do_not_approve_them() -> None:
    approving = {group.keyword for group in GROUPS if "APPROVE" in group.given.get("RESULT", ())}
    assert approving == {"ADMINISTRATOR", "LAB_MANAGER", "SCIENTIST"}


@pytest.mark.parametrize("keyword", ["GUEST", "STORES"])
def test_patients_are_closed_to_guests_and_stores(keyword: str) -> None:
    assert not {"PATIENT", "SAMPLE", "RESULT", "BILLING"} & set(BY_KEYWORD[keyword].given)
