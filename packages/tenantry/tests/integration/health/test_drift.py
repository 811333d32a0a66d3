"""Drift is found, grouped and repaired; what cannot be repaired says why."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tenantry.errors import DriftNotFound, DriftNotRepairable, TenantNotFound
from tenantry.migrations.catalog import quote

# How someone spoils a tenant by hand, and what the difference is called.
SPOILS = {
    "schema": {
        "an index by hand": ("CREATE INDEX by_hand ON note (body)", "unknown index note.by_hand"),
        "a lost index": ("DROP INDEX ix_note_organization", "missing index note.ix_note_organization"),
        "a lost key": ("ALTER TABLE note DROP CONSTRAINT fk_note_organization", "missing constraint note.fk_note_org"),
        "another type": ("ALTER TABLE organization ALTER name TYPE text", "changed column organization.name"),
        "a lost default": ("ALTER TABLE note ALTER pinned DROP DEFAULT", "changed column note.pinned"),
        "a null": ("ALTER TABLE note ALTER pinned DROP NOT NULL", "changed column note.pinned"),
        "a lost column": ("ALTER TABLE note DROP COLUMN pinned", "missing column note.pinned"),
        "a right too many": ("GRANT SELECT ON note TO PUBLIC", "changed right note"),
        "a lost right": ("REVOKE INSERT ON note FROM CURRENT_ROLE_OF_TENANT", "changed right note"),
        "a sequence": ("ALTER SEQUENCE note_id_seq INCREMENT BY 7", "changed sequence note_id_seq"),
        "a lost table": ("DROP TABLE note", "missing table note"),
        "a comment": ("COMMENT ON TABLE note IS 'mine'", "unknown comment note"),
    },
    "file": {
        "an index by hand": ("CREATE INDEX by_hand ON note (body)", "unknown index note.by_hand"),
        "a lost index": ("DROP INDEX ix_note_organization", "missing index note.ix_note_organization"),
        "a lost column": ("ALTER TABLE note DROP COLUMN pinned", "changed table note"),
        "a trigger": ("CREATE TRIGGER t AFTER INSERT ON note BEGIN SELECT 1; END", "unknown trigger note.t"),
        "a lost table": ("DROP TABLE note", "missing table note"),
    },
}
LOSSES = {
    "a table by hand": ("CREATE TABLE mine (id integer)", "unknown table mine"),
    "a column by hand": ("ALTER TABLE note ADD COLUMN mine integer", " note"),
}


def spoil(place, tenancy, slug, statement) -> None:
    role = tenancy.get(slug).role
    place.write(slug, statement.replace("CURRENT_ROLE_OF_TENANT", quote(role) if role else ""))


def test_every_kind_of_drift_is_found_and_repaired_without_a_row_lost(place, simple) -> None:
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    place.write(
        "acme",
        "INSERT INTO organization (id, name) VALUES (1, 'a')",
        "INSERT INTO note (id, organization_id, body) VALUES (1, 1, 'x')",
    )
    drifts = tenancy.fleet.drifts
    assert drifts.report().classes == ()
    assert drifts.report("acme").checked == 1
    for name, (statement, told) in SPOILS[place.kind].items():
        spoil(place, tenancy, "acme", statement)
        [drift] = drifts.report("acme").classes
        assert told in "; ".join(map(str, drift.differences)), name
        assert [outcome.error for outcome in drifts.repair(drift.key)] == [None], name
        assert drifts.report().classes == (), name
        if name != "a lost table":
            assert place.rows("acme", "note", "body") == [("x",)], name
            assert place.rows("acme", "organization") == [(1, "a")], name
        else:
            place.write("acme", "INSERT INTO note (id, organization_id, body) VALUES (1, 1, 'x')")
    for name, (statement, told) in LOSSES.items():
        spoil(place, tenancy, "acme", statement)
        [drift] = drifts.report().classes
        assert told in "; ".join(map(str, drift.differences)), name
        with pytest.raises(DriftNotRepairable, match="--drop"):
            drifts.repair(drift.key)
        assert [outcome.error for outcome in drifts.repair(drift.key, lose_rows=True)] == [None], name
        assert drifts.report().classes == (), name
    assert tenancy.registry.audit_entries("acme")[0].action == "tenant.repair"
    with tenancy.session("acme") as session:
        assert session.execute(sa.text("SELECT body FROM note")).scalar() == "x"


def test_equal_drifts_are_one_class_and_a_tenant_behind_is_none(place, simple) -> None:
    tenancy = place.tenancy(simple)
    for slug in ("a", "b", "c", "d"):
        tenancy.provision(slug)
    tenancy.downgrade("d", "r2")
    for slug in ("a", "c"):
        spoil(place, tenancy, slug, "CREATE INDEX by_hand ON note (body)")
    spoil(place, tenancy, "b", "DROP INDEX ix_note_organization")
    report = tenancy.fleet.drifts.report()
    assert [(drift.tenants, drift.loses_rows) for drift in report.classes] == [(("a", "c"), False), (("b",), False)]
    # One of the class changes before the repair: it is told, the others are repaired.
    key = report.classes[0].key
    assert [(o.slug, o.error) for o in tenancy.fleet.drifts.repair(key)] == [("a", None), ("c", None)]
    with pytest.raises(DriftNotFound):
        tenancy.fleet.drifts.repair(key)
    with pytest.raises(TenantNotFound):
        tenancy.fleet.drifts.report("nobody")
    tenancy.store.remove(tenancy.get("b"))
    assert list(tenancy.fleet.drifts.report().unread) == ["b"]


def test_what_a_statement_cannot_know_is_left_to_a_person(place, chain) -> None:
    if not place.on_postgres:
        return
    chain.add(
        "r1", "op.execute(\"CREATE TYPE mood AS ENUM ('good'); CREATE TABLE t (id integer PRIMARY KEY, m mood)\")"
    )
    tenancy = place.tenancy(chain)
    tenancy.provision("acme")
    spoil(place, tenancy, "acme", "ALTER TYPE mood ADD VALUE 'bad'")
    [drift] = tenancy.fleet.drifts.report().classes
    assert drift.repair is None
    with pytest.raises(DriftNotRepairable, match="changed type mood"):
        tenancy.fleet.drifts.repair(drift.key)


def test_repair_that_fails_in_one_tenant_leaves_it_as_it_was_and_mends_the_others(place, simple) -> None:
    tenancy = place.tenancy(simple)
    for slug in ("a", "b"):
        tenancy.provision(slug)
        spoil(place, tenancy, slug, "DROP INDEX ix_note_organization")
    unique = "CREATE UNIQUE INDEX ix_note_organization ON note (id)"
    report = tenancy.fleet.drifts.report()
    key = report.classes[0].key
    original = tenancy.fleet.drifts.report

    def meddled(slug=None):
        found = original(slug)
        place.write("a", unique)
        return found

    tenancy.fleet.drifts.report = meddled
    outcomes = tenancy.fleet.drifts.repair(key)
    assert [(outcome.slug, outcome.error is None) for outcome in outcomes] == [("a", False), ("b", True)]
    assert [drift.tenants for drift in original().classes] == [("a",)]
