"""Waves, budgets, groups of failures and the room on a server, as plain values."""

from __future__ import annotations

import pytest

from tenantry.errors import DeclarationError, RolloutRefused
from tenantry.fleet.locks import LockProfile, Room, narrowed
from tenantry.fleet.outcomes import Budget, Outcome, OutcomeStatus, grouped, waves

SLUGS = [f"t{number}" for number in range(10)]


def test_canaries_are_taken_evenly_and_the_rest_is_cut_into_waves() -> None:
    assert [slug for slug, wave in waves(SLUGS, 2, None).items() if wave == 0] == ["t0", "t5"]
    assert waves(SLUGS, ["t3", "nobody"], 4) == {
        "t3": 0,
        **dict.fromkeys(("t0", "t1", "t2", "t4"), 1),
        **dict.fromkeys(("t5", "t6", "t7", "t8"), 2),
        "t9": 3,
    }
    assert set(waves(SLUGS, 0, None).values()) == {1}
    assert set(waves(SLUGS, 99, None).values()) == {0}
    assert waves([], 3, 5) == {}
    with pytest.raises(DeclarationError):
        waves(SLUGS, -1, None)
    with pytest.raises(DeclarationError):
        waves(SLUGS, 0, 0)


@pytest.mark.parametrize(
    ("given", "allowed"), [(None, None), ("3", 3), (0, 0), ("2%", 20), ("0.5%", 5), ("0%", 0), ("100%", 1000)]
)
def test_budget_is_a_number_or_a_part(given, allowed) -> None:
    assert Budget.parse(given).allowed(1_000) == allowed


@pytest.mark.parametrize("given", ["", "-1", "many", "101%", "1.5", "5 %%"])
def test_budget_that_is_neither_is_refused(given) -> None:
    with pytest.raises(DeclarationError, match=r"such as 5, or 2%"):
        Budget.parse(given)


def outcome(slug: str, sqlstate: str | None, subject: str | None, error: str) -> Outcome:
    status = OutcomeStatus.FAILED if error else OutcomeStatus.DONE
    return Outcome(slug, slug, 0, 1, status, "r1", sqlstate=sqlstate, object=subject, error=error or None)


def test_failures_are_grouped_by_code_and_object_the_most_frequent_first() -> None:
    found = grouped(
        [
            outcome("a", "23505", "uq", "key (1) is twice there"),
            outcome("b", None, None, "the disk is full."),
            outcome("c", "23505", "uq", "key (2) is twice there"),
            outcome("d", None, None, "the file is gone."),
            outcome("e", None, None, ""),
        ]
    )
    assert [group.slugs for group in found] == [("a", "c"), ("b",), ("d",)]
    assert str(found[0]) == "2 tenants: 23505 on uq (a, c)"
    assert str(found[1]) == "1 tenant: the disk is full. (b)"


def test_rollout_is_narrowed_to_the_room_that_the_server_has() -> None:
    profile = LockProfile(100, ())
    assert narrowed(4, [profile], Room(6_400, 64, 90)) == (4, ())
    jobs, notes = narrowed(4, [profile, LockProfile(1_000, ())], Room(6_400, 64, 90))
    assert jobs == 3
    assert "max_locks_per_transaction=64" in notes[0]
    jobs, notes = narrowed(8, [profile], Room(6_400, 64, 9))
    assert jobs == 4
    assert "9 connections left" in notes[0]
    with pytest.raises(RolloutRefused, match="Raise max_locks_per_transaction"):
        narrowed(1, [LockProfile(4_000, ())], Room(6_400, 64, 90))
    with pytest.raises(RolloutRefused, match="max_connections"):
        narrowed(1, [profile], Room(6_400, 64, 1))
