"""A tenant made: its journal, its seeds, and that a step that fails leaves a record and nothing else."""

from __future__ import annotations

import json
import logging

import pytest
import sqlalchemy as sa

from tenantry.errors import (
    NameRejected,
    NotReady,
    RegistryMissing,
    StatusRefused,
    StepFailed,
    StoreMissing,
    TenantExists,
    TenantNotActive,
    TenantNotFound,
)
from tenantry.registry.tables import tables
from tenantry.tenant import TenantStatus

STEPS = ["reserve", "create", "migrate", "seed", "verify", "activate"]


def organization(seeding) -> None:
    """An idempotent seed with a receipt."""
    count = seeding.session.execute(sa.text("SELECT count(*) FROM organization")).scalar()
    if not count:
        insert = sa.text("INSERT INTO organization (id, name) VALUES (1, :name)")
        seeding.session.execute(insert, {"name": seeding.options.get("title", seeding.tenant.name)})
    seeding.receipts["password"] = "one-time-hunter2"


def registry_text(tenancy) -> str:
    """Everything that the registry keeps, as text."""
    kept = []
    with tenancy.store.control_engine().connect() as connection:
        for table in tables(tenancy.store.control_schema).metadata.sorted_tables:
            if table.name != "plan":
                kept += [repr(tuple(row)) for row in connection.execute(sa.select(table))]
    return "\n".join(kept)


@pytest.fixture
def tenancy(place, simple):
    return place.tenancy(simple, readiness=("organization",), seeds=[organization])


def test_provisioned_tenant_is_active_at_head_with_its_details(place, tenancy) -> None:
    with tenancy.acting("alice", origin="10.0.0.7"):
        made = tenancy.provision(
            "acme",
            name="Acme Ltd",
            admin_email="a@acme.test",
            attributes={"plan": "gold"},
            options={"title": "It's 100%"},
        )
    tenant = made.tenant
    assert tenant == tenancy.get("acme")
    assert (tenant.slug, tenant.name, tenant.admin_email) == ("acme", "Acme Ltd", "a@acme.test")
    assert (tenant.status, tenant.revision, tenant.attributes) == ("active", "r3", {"plan": "gold"})
    assert (tenant.failed_step, tenant.error) == (None, None)
    assert tenant.provisioned_at is not None
    assert tenant.location == place.location("acme")
    assert place.rows("acme", "organization") == [(1, "It's 100%")]
    assert place.physical() == place.belongings([tenant])
    assert tenancy.exists("acme")
    with tenancy.session("acme") as session:
        assert session.execute(sa.text("SELECT name FROM organization")).scalar() == "It's 100%"


def test_journal_and_audit_say_who_did_what_in_which_steps(tenancy) -> None:
    with tenancy.acting("alice", origin="10.0.0.7"):
        made = tenancy.provision("acme", options={"title": "x"})
    assert [step.name for step in made.steps] == STEPS
    (operation,) = tenancy.operations("acme")
    assert (operation.kind, operation.status, operation.error) == ("provision", "done", None)
    assert (operation.actor, operation.origin, operation.options) == ("alice", "10.0.0.7", {"title": "x"})
    assert [step.name for step in operation.steps] == STEPS
    assert all(step.status == "done" and step.seconds >= 0 for step in operation.steps)
    entry = tenancy.registry.audit_entries("acme")[0]
    assert (entry.action, entry.actor, entry.origin, entry.outcome) == ("tenant.provision", "alice", "10.0.0.7", "done")


def test_observers_see_every_step_before_it_begins(tenancy) -> None:
    seen: list[tuple[str, str]] = []
    tenancy.observe(lambda slug, step: seen.append((slug, step)))
    tenancy.provision("acme")
    assert seen == [("acme", step) for step in STEPS]


def test_receipts_reach_the_caller_and_nothing_else(place, tenancy, caplog) -> None:
    with caplog.at_level(logging.DEBUG):
        made = tenancy.provision("acme")
    assert dict(made.receipts) == {"password": "one-time-hunter2"}
    assert "hunter2" not in repr(made)
    assert "hunter2" not in registry_text(tenancy)
    assert "hunter2" not in caplog.text
    assert "hunter2" not in json.dumps([str(row) for row in place.everything("acme").values()])


def test_receipts_of_a_seed_that_fails_are_not_kept(place, simple) -> None:
    def fails(seeding) -> None:
        seeding.receipts["password"] = "one-time-hunter2"
        raise RuntimeError("no luck")

    tenancy = place.tenancy(simple, seeds=[organization, fails])
    with pytest.raises(StepFailed) as raised:
        tenancy.provision("acme")
    assert "hunter2" not in registry_text(tenancy) + str(raised.value)


def test_seeds_run_in_their_order_in_one_transaction(place, simple) -> None:
    def second(seeding) -> None:
        assert seeding.session.execute(sa.text("SELECT name FROM organization")).scalar() == "acme"
        seeding.session.execute(sa.text("INSERT INTO note (id, organization_id, body) VALUES (1, 1, 'welcome')"))

    place.tenancy(simple, seeds=[organization, second]).provision("acme")
    assert place.rows("acme", "note", "body") == [("welcome",)]


FAULTS = {
    "exception": 'raise KeyError("x")',
    "sql": 'session.execute(sa.text("INSERT INTO nowhere VALUES (1)"))',
    "constraint": 'session.execute(sa.text("INSERT INTO organization (id) VALUES (1)"))',
    "foreign key": 'session.execute(sa.text("INSERT INTO note (id, organization_id) VALUES (1, 99)"))',
    "interrupt": "raise KeyboardInterrupt",
    "os": "open('/nowhere/at/all')",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_failing_seed_leaves_a_record_and_nothing_else(place, simple, fault) -> None:
    def broken(seeding) -> None:
        exec(FAULTS[fault], {"session": seeding.session, "sa": sa})

    tenancy = place.tenancy(simple, seeds=[organization, broken])
    expected = KeyboardInterrupt if fault == "interrupt" else StepFailed
    with pytest.raises(expected) as raised:
        tenancy.provision("acme")
    if fault != "interrupt":
        assert "broken raised" in str(raised.value)
        assert "tenant migrate --slug acme" in str(raised.value)
        assert "\n" not in str(raised.value)
    assert place.physical() == set()
    tenant = tenancy.get("acme")
    assert (tenant.status, tenant.failed_step, tenant.revision) == ("failed", "seed", None)
    assert tenant.error
    (operation,) = tenancy.operations("acme")
    assert operation.status == "failed"
    assert [(step.name, step.status) for step in operation.steps] == [
        ("reserve", "done"),
        ("create", "done"),
        ("migrate", "done"),
        ("seed", "failed"),
    ]
    assert not tenancy.exists("acme")
    with pytest.raises(TenantNotActive, match="tenant migrate --slug acme"), tenancy.session("acme"):
        raise AssertionError("a session on half a tenant")
    with pytest.raises(TenantExists, match="tenant migrate --slug acme"):
        tenancy.provision("acme")


def test_seed_has_the_tenants_rights_only(place, simple) -> None:
    tenancy = place.tenancy(simple)
    other = tenancy.provision("other").tenant
    attempts = (
        [
            f'SELECT * FROM "{other.location}".note',
            "SELECT * FROM platform.tenant",
            "DROP TABLE note",
            "CREATE TABLE x()",
        ]
        if place.on_postgres
        else [f"ATTACH DATABASE '{place.where}/{other.location}' AS other"]
    )
    for number, attempt in enumerate(attempts):

        def nosy(seeding, attempt=attempt) -> None:
            seeding.session.execute(sa.text(attempt))

        nosy_tenancy = place.tenancy(simple, seeds=[nosy])
        with pytest.raises(StepFailed, match=r"permission denied|must be owner|too many attached"):
            nosy_tenancy.provision(f"nosy{number}")
        assert place.physical() == place.belongings([other])


def test_owners_rights_are_back_after_a_seed(place, simple) -> None:
    """The registry's row is written after the seeds in the same transaction."""
    tenancy = place.tenancy(simple, seeds=[organization, organization])
    assert tenancy.provision("acme").tenant.status == "active"


def test_table_that_must_be_there_and_is_not(place, chain) -> None:
    chain.add("r1", 'op.create_table("note", sa.Column("id", sa.Integer(), primary_key=True))')
    tenancy = place.tenancy(chain, readiness=("organization",))
    with pytest.raises(NotReady) as raised:
        tenancy.provision("acme")
    if place.on_postgres:
        assert str(raised.value).startswith("Tenant migration completed but org_acme.organization was not created")
    assert ".organization was not created" in str(raised.value)
    tenant = tenancy.get("acme")
    assert (tenant.status, tenant.failed_step) == ("failed", "verify")
    assert place.physical() == set()


def test_known_tenant_is_refused_with_its_status_and_unchanged(place, tenancy) -> None:
    made = tenancy.provision("acme", name="First").tenant
    place.write("acme", "UPDATE organization SET name = 'used'")
    with pytest.raises(TenantExists, match="status=active"):
        tenancy.provision("acme", name="Second")
    assert tenancy.get("acme") == made
    assert place.rows("acme", "organization") == [(1, "used")]
    assert len(tenancy.operations("acme")) == 1


def test_ensure_makes_a_tenant_once(tenancy) -> None:
    first = tenancy.ensure("acme", name="Acme")
    assert tenancy.ensure("acme", name="Other") == first
    assert len(tenancy.operations("acme")) == 1


@pytest.mark.parametrize("name", ["Müller & Söhne", 'it\'s 100% "quoted"; DROP TABLE x', "x" * 5000, "\U0001f600"])
def test_display_name_may_be_anything_that_can_be_kept(place, simple, name) -> None:
    tenancy = place.tenancy(simple)
    assert tenancy.provision("acme", name=name).tenant.name == name
    assert tenancy.get("acme").name == name


def test_display_name_that_cannot_be_kept_is_refused(place, tenancy) -> None:
    with pytest.raises(NameRejected):
        tenancy.provision("acme", name="nul\0")
    assert tenancy.list() == []
    assert place.physical() == set()


def test_list_is_by_slug_and_by_status(tenancy) -> None:
    for slug in ("charlie", "alpha", "bravo"):
        tenancy.provision(slug)
    tenancy._provisioner.seeds = (lambda seeding: 1 / 0,)
    with pytest.raises(StepFailed):
        tenancy.provision("delta")
    assert [tenant.slug for tenant in tenancy.list()] == ["alpha", "bravo", "charlie", "delta"]
    assert [tenant.slug for tenant in tenancy.list(TenantStatus.ACTIVE)] == ["alpha", "bravo", "charlie"]
    assert [tenant.slug for tenant in tenancy.list(TenantStatus.FAILED)] == ["delta"]
    assert tenancy.list(TenantStatus.SUSPENDED) == []


def test_unknown_tenant_is_said_to_be_one(tenancy) -> None:
    for attempt in (
        tenancy.get,
        tenancy.migrate,
        tenancy.activate,
        tenancy.cleanup,
        tenancy.current,
        lambda slug: tenancy.downgrade(slug, "base"),
    ):
        with pytest.raises(TenantNotFound, match="Tenant slug 'nobody' not found"):
            attempt("nobody")
    assert not tenancy.exists("nobody")


def test_without_a_registry_everything_says_so_and_makes_nothing(tmp_path, postgres_url, simple) -> None:
    from tenantry import Migrations, PostgresSchemas, SqliteFiles, Tenancy

    for store in (PostgresSchemas(postgres_url, "org_{slug}"), SqliteFiles(tmp_path / "none", "{slug}.db")):
        tenancy = Tenancy(store, Migrations(simple.directory))
        for attempt in (
            tenancy.list,
            lambda: tenancy.get("acme"),  # noqa: B023
            lambda: tenancy.provision("acme"),  # noqa: B023
            lambda: tenancy.migrate("acme"),  # noqa: B023
            tenancy.cleanup,
        ):
            with pytest.raises(RegistryMissing, match="Run `db upgrade` first"):
                attempt()
        assert not store.exists("org_acme")
        tenancy.close()
    assert not (tmp_path / "none" / "registry.db").exists()


# -- activation


def failed(place, simple, slug="acme"):
    """A tenancy with a failed tenant."""

    def broken(seeding) -> None:
        raise RuntimeError("no luck")

    tenancy = place.tenancy(simple, readiness=("organization",), seeds=[broken])
    with pytest.raises(StepFailed):
        tenancy.provision(slug)
    return place.tenancy(simple, readiness=("organization",), seeds=[organization])


def test_activation_checks_and_force_says_what_it_skipped(place, simple) -> None:
    tenancy = failed(place, simple)
    with pytest.raises(StoreMissing):
        tenancy.activate("acme")
    assert tenancy.get("acme").status == "failed"
    done = tenancy.activate("acme", force=True)
    assert done.tenant.status == "active"
    location = place.location("acme")
    assert done.skipped == (f"{place.kind} {location} exists", f"table {location}.organization exists")
    assert (done.tenant.failed_step, done.tenant.error) == (None, None)
    entry = tenancy.registry.audit_entries("acme", action="tenant.activate")[0]
    assert entry.details["force"] is True
    assert entry.details["skipped"] == list(done.skipped)


def test_activation_of_a_store_that_lacks_a_table_is_refused(place, simple) -> None:
    tenancy = place.tenancy(simple, readiness=("organization",))
    tenancy.provision("acme")
    place.write("acme", "DROP TABLE note", "DROP TABLE organization")
    with pytest.raises(NotReady, match="organization was not created"):
        tenancy.activate("acme")
    assert tenancy.activate("acme", force=True).skipped


def test_activation_of_a_ready_tenant_skips_nothing(place, simple) -> None:
    tenancy = place.tenancy(simple, readiness=("organization",))
    tenancy.provision("acme")
    tenancy.registry.set_status(tenancy.get("acme"), TenantStatus.SUSPENDED)
    done = tenancy.activate("acme")
    assert (done.tenant.status, done.tenant.revision, done.skipped) == ("active", "r3", ())


def test_archived_tenant_is_not_made_active(place, simple) -> None:
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    tenancy.registry.set_status(tenancy.get("acme"), TenantStatus.ARCHIVED)
    for attempt in (
        tenancy.activate,
        lambda slug: tenancy.activate(slug, force=True),
        tenancy.migrate,
        lambda slug: tenancy.downgrade(slug, "r1"),
    ):
        with pytest.raises(StatusRefused):
            attempt("acme")
    assert tenancy.get("acme").status == "archived"
    assert [operation.status for operation in tenancy.operations("acme")] == ["done"]


def test_lost_store_is_made_again_empty_by_migrate(place, tenancy) -> None:
    made = tenancy.provision("acme", options={"title": "kept in the journal"}).tenant
    tenancy.store.remove(made)
    assert not tenancy.exists("acme")
    with pytest.raises(StoreMissing, match="tenant migrate --slug acme"):
        tenancy.current("acme")
    with pytest.raises(StoreMissing):
        tenancy.migrate("acme", to="r1")
    done = tenancy.migrate("acme")
    assert (done.tenant.status, done.tenant.revision) == ("active", "r3")
    assert done.receipts == {"password": "one-time-hunter2"}
    assert place.rows("acme", "organization") == [(1, "kept in the journal")]
    assert place.physical() == place.belongings([done.tenant])
    with tenancy.session("acme") as session:
        assert session.execute(sa.text("SELECT count(*) FROM note")).scalar() == 0
