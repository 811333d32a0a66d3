"""Every kind of damage is found and named with what mends it; looking changes nothing."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from tenantry import Migrations, PostgresSchemas, SqliteFiles, Tenancy
from tenantry.registry import journal
from tenantry.registry.tables import tables
from tenantry.tenant import TenantStatus


@pytest.fixture
def tenancy(place, simple, tmp_path):
    tenancy = place.tenancy(simple, archives=tmp_path / "archives")
    for slug in ("acme", "bravo"):
        tenancy.provision(slug)
    return tenancy


def found(tenancy) -> dict[str, tuple[str, str]]:
    """By subject; the settings of the tests' own server are left out."""
    return {
        finding.subject: (finding.kind, finding.mend) for finding in tenancy.fleet.doctor() if finding.kind != "setting"
    }


def age(tenancy, **changes) -> None:
    """Have what was begun be an hour old."""
    made = tables(tenancy.store.control_schema)
    old = journal.now() - timedelta(hours=1)
    with tenancy.store.control_engine().begin() as connection:
        connection.execute(sa.update(made.operation).values(started_at=old))
        connection.execute(sa.update(made.tenant).values(updated_at=old, **changes))


def test_healthy_tenants_give_no_finding(tenancy) -> None:
    age(tenancy)
    assert found(tenancy) == {}


def test_no_registry_is_the_only_finding(place, simple, tmp_path, request) -> None:
    if place.on_postgres:
        store = PostgresSchemas(place.where, "org_{slug}", platform="nothing_here")
    else:
        store = SqliteFiles(tmp_path / "empty", "{slug}.db")
    tenancy = Tenancy(store, Migrations(simple.directory))
    try:
        [finding] = tenancy.fleet.doctor()
    finally:
        tenancy.close()
    assert (finding.kind, finding.mend) == ("registry", "db upgrade")
    assert not (tmp_path / "empty").exists()


def test_missing_and_left_over_places_are_found_both_ways(place, tenancy) -> None:
    tenancy.store.remove(tenancy.get("bravo"))
    if place.on_postgres:
        place.write("acme", "CREATE SCHEMA org_nobody", "CREATE SCHEMA tenantry_scratch_0", "CREATE SCHEMA other")
        place.write("acme", f'CREATE ROLE "org_nobody@{tenancy.store.login().database_oid}"')
        strays = {
            "org_nobody": ("stray", 'look into it, then: DROP SCHEMA "org_nobody" CASCADE;'),
            "tenantry_scratch_0": ("stray", 'DROP SCHEMA "tenantry_scratch_0" CASCADE;'),
            f"org_nobody@{tenancy.store.login().database_oid}": (
                "stray",
                f'DROP ROLE "org_nobody@{tenancy.store.login().database_oid}";',
            ),
        }
    else:
        root = Path(place.where)
        (root / "tenant_nobody").mkdir()
        (root / "tenant_nobody" / "data.db").write_bytes(b"")
        left = root / "tenant_acme" / ".data.db.0123.tmp"
        left.write_bytes(b"")
        (root / "other.db").write_bytes(b"")
        strays = {
            "tenant_nobody/data.db": ("stray", f"look into it, then: rm {root / 'tenant_nobody/data.db'}"),
            "tenant_acme/.data.db.0123.tmp": ("stray", f"rm {left}"),
        }
    assert found(tenancy) == {"bravo": ("missing", "tenant restore FILE --as bravo"), **strays}


def test_missing_role_is_made_again_by_what_the_doctor_says(place, tenancy) -> None:
    if not place.on_postgres:
        return
    role = tenancy.get("bravo").role
    place.write("acme", f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')
    assert found(tenancy) == {"bravo": ("missing", "tenant migrate --slug bravo")}
    tenancy.migrate("bravo")
    assert found(tenancy) == {}
    with tenancy.session("bravo") as session:
        session.execute(sa.text("INSERT INTO organization (id) VALUES (1)"))


def test_open_operations_are_named_with_what_finishes_them(tenancy, tmp_path) -> None:
    bravo = tenancy.get("bravo")
    cases = {
        "rename": ({"to": "new", "slug": "bravo"}, "tenant rename bravo new"),
        "archive": ({"file": "x"}, "tenant archive bravo"),
        "restore": ({"file": "/x"}, "tenant restore /x --as bravo"),
        "migrate": ({}, "tenant migrate --slug bravo"),
        "repair": ({}, "tenant drift bravo"),
    }
    for kind, (options, mend) in cases.items():
        tenancy.registry.open_operation(bravo, kind, options=options)
        assert found(tenancy) == {}  # it may be going on
        age(tenancy)
        assert found(tenancy) == {"bravo": ("unfinished", mend)}
    tenancy.migrate("bravo")
    assert found(tenancy) == {}


def test_statuses_that_were_left_half_way_are_named(place, tenancy) -> None:
    tenancy.archive.archive("bravo")
    path = tenancy.archive._lifecycle.archived_file(tenancy.get("bravo"))
    assert found(tenancy) == {}
    path.unlink()
    assert found(tenancy) == {"bravo": ("missing", "tenant unarchive bravo --from FILE")}
    for status, kind, mend in (
        (TenantStatus.PROVISIONING, "unfinished", "tenant migrate --slug bravo"),
        (TenantStatus.FAILED, "failed", "tenant migrate --slug bravo, or tenant cleanup --slug bravo"),
        (TenantStatus.DELETING, "unfinished", "tenant cleanup --slug bravo"),
    ):
        age(tenancy)
        made = tables(tenancy.store.control_schema).tenant
        with tenancy.store.control_engine().begin() as connection:
            connection.execute(sa.update(made).where(made.c.slug == "bravo").values(status=status.value))
        assert found(tenancy) == {"bravo": (kind, mend)}


def test_ledger_that_errs_and_tenants_behind_are_named(place, tenancy, simple) -> None:
    tenancy.registry.set_revision("bravo", "r1")
    assert found(tenancy) == {"bravo": ("ledger", "tenant migrate --all --verify")}
    tenancy.fleet.verify()
    assert found(tenancy) == {}
    place.write("acme", "UPDATE alembic_version SET version_num = 'unknown'")
    tenancy.registry.set_revision("acme", "unknown")
    assert found(tenancy) == {"acme": ("ahead", "deploy the build that holds unknown")}
    place.write("acme", "UPDATE alembic_version SET version_num = 'r3'")
    tenancy.registry.set_revision("acme", "r3")
    simple.add("r4", "pass")
    assert found(place.tenancy(simple)) == {"acme, bravo": ("behind", "tenant migrate --all")}


def test_files_that_are_no_databases_are_named(place, tenancy) -> None:
    if place.on_postgres:
        return
    tenancy.close()
    (Path(place.where) / place.location("bravo")).write_bytes(b"not a database, whatever it is called")
    kinds = {finding.subject: finding.kind for finding in tenancy.fleet.doctor()}
    assert kinds["bravo"] == "unreadable"


def test_looking_changes_nothing(place, tenancy, tmp_path) -> None:
    def state() -> dict[str, object]:
        shown: dict[str, object] = {"places": place.physical()}
        for slug in ("acme", "bravo"):
            shown[slug] = place.everything(slug)
        made = tables(tenancy.store.control_schema)
        with tenancy.store.control_engine().connect() as connection:
            for table in made.metadata.sorted_tables:
                shown[table.name] = hashlib.sha256(
                    repr(connection.execute(sa.select(table)).all()).encode()
                ).hexdigest()
        return shown

    age(tenancy)
    before = state()
    tenancy.fleet.doctor()
    tenancy.fleet.drifts.report()
    after = state()
    after["plan"] = before["plan"]  # a compiled baseline is kept for the next look
    assert after == before


def test_what_other_builds_left_is_found_after_a_week_and_removed(tenancy, place, simple) -> None:
    simple.add("r4", 'op.add_column("note", sa.Column("extra", sa.Integer()))')
    newer = place.tenancy(simple)
    newer.fleet.rollout()
    newer.provision("charlie")
    assert "other builds" not in found(newer)
    old = journal.now() - timedelta(days=8)
    plan = tables(newer.store.control_schema).plan
    with newer.store.control_engine().begin() as connection:
        connection.execute(sa.update(plan).values(created_at=old))
        before = set(connection.scalars(sa.select(plan.c.digest)))
    templates = set(Path(place.where).glob(".tenantry/template-*.db")) if not place.on_postgres else set()
    for template in templates:
        os.utime(template, (old.timestamp(), old.timestamp()))
    assert found(newer)["other builds"] == ("leftover", "db prune")
    removed = newer.fleet.leftovers.remove()
    assert (len(removed.templates), len(templates)) == ((0, 0) if place.on_postgres else (1, 2))
    with newer.store.control_engine().begin() as connection:
        assert before - set(connection.scalars(sa.select(plan.c.digest))) == set(removed.plans) != set()
    assert "other builds" not in found(newer)
    newer.provision("delta")
    tenancy.provision("echo")  # of the build that was taken for gone
    assert place.shape("delta") == place.shape("charlie")
    assert (tenancy.get("echo").revision, newer.registry.verify_audit()) == ("r3", [])
