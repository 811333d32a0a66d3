"""The audit trail: who did what from where."""

from __future__ import annotations

import pytest

from tenantry.errors import StoreError
from tenantry.registry.actor import acting
from tenantry.registry.registry import Registry


def test_entry_names_the_actor_of_the_innermost_scope(plane) -> None:
    with acting("ann", origin="10.0.0.7"):
        plane.registry.audit("tenant.list")
        held = plane.reserve("acme")
        with acting("root job"):
            plane.registry.activate(held.tenant, held.operation_uid, revision="r")
    provision, listed = plane.registry.audit_entries()
    assert (listed.actor, listed.origin) == ("ann", "10.0.0.7")
    assert (provision.actor, provision.origin) == ("root job", "10.0.0.7")
    assert plane.registry.operations("acme")[0].actor == "ann"


def test_actor_that_is_given_goes_before_the_scopes(plane) -> None:
    with acting("ann", origin="10.0.0.7"):
        plane.registry.audit("tenant.list", actor="bob", origin="console")
    (entry,) = plane.registry.audit_entries()
    assert (entry.actor, entry.origin) == ("bob", "console")


def test_entries_are_newest_first_and_can_be_narrowed(plane) -> None:
    for number in range(5):
        plane.registry.audit("counted", f"t{number % 2}", details={"n": number})
    plane.registry.audit("other", "t0", outcome="refused")
    assert [entry.details["n"] for entry in plane.registry.audit_entries("t1")] == [3, 1]
    assert [entry.details["n"] for entry in plane.registry.audit_entries(action="counted", limit=2)] == [4, 3]
    assert plane.registry.audit_entries("t0")[0].outcome == "refused"


def test_details_come_back_letter_by_letter(plane) -> None:
    details = {"z": 1, "a": [1.0, 1e5, None, "ü"], "nested": {"b": True}}
    plane.registry.audit("kept", details=details)
    (entry,) = plane.registry.audit_entries()
    assert entry.details == details
    assert list(entry.details) == ["z", "a", "nested"]


def test_outcome_outside_the_three_words_is_refused_by_the_database(plane) -> None:
    with pytest.raises(StoreError):
        plane.registry.audit("odd", outcome="perhaps")
    assert list(plane.registry.audit_entries()) == []


def test_number_of_a_lost_entry_is_not_used_again(plane) -> None:
    plane.registry.audit("one")
    plane.registry.audit("two")
    with plane.store.control_engine().begin() as connection:
        connection.execute(plane.tables.audit.delete().where(plane.tables.audit.c.action == "two"))
    plane.registry.audit("three")
    assert [entry.sequence for entry in plane.registry.audit_entries()] == [3, 1]


def test_registry_has_no_way_to_change_or_remove_an_entry() -> None:
    assert {name for name in dir(Registry) if "audit" in name} == {
        "audit",
        "audit_entries",
        "check_audit",
        "export_audit",
        "verify_audit",
    }
