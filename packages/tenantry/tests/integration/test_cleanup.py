"""Only what failed is removed, all of it, and a removal that was killed can be run again."""

from __future__ import annotations

import signal

import pytest

from tenantry.errors import StatusRefused, StepFailed, StoreExists, TenantNotFailed
from tenantry.tenant import TenantStatus


def broken(seeding) -> None:
    raise RuntimeError("no luck")


@pytest.fixture
def fail(place, simple):
    """Make failed tenants whose schema or file is there all the same."""

    def make(*slugs: str):
        tenancy = place.tenancy(simple, seeds=[broken])
        for slug in slugs:
            with pytest.raises(StepFailed):
                tenancy.provision(slug)
            forced = tenancy.get(slug)
            with tenancy.store.construct(forced) as site:
                site.create()
                site.send([("CREATE TABLE left_over (id integer)", ())])
        return place.tenancy(simple)

    return make


def test_failed_tenant_is_removed_with_all_that_was_made(place, fail) -> None:
    tenancy = fail("acme", "bravo")
    kept = tenancy.provision("kept").tenant
    assert place.has("acme")
    assert [tenant.slug for tenant in tenancy.cleanup("acme")] == ["acme"]
    assert [tenant.slug for tenant in tenancy.list()] == ["bravo", "kept"]
    assert [tenant.slug for tenant in tenancy.cleanup()] == ["bravo"]
    assert [tenant.slug for tenant in tenancy.list()] == ["kept"]
    assert place.physical() == place.belongings([kept])
    assert tenancy.cleanup() == []
    assert tenancy.operations("acme")[0].kind == "cleanup"  # the journal outlives the tenant
    assert tenancy.provision("acme").tenant.status == "active"


@pytest.mark.parametrize(
    "status", [TenantStatus.ACTIVE, TenantStatus.SUSPENDED, TenantStatus.ARCHIVED, TenantStatus.PROVISIONING]
)
def test_tenant_that_is_not_failed_is_never_removed(place, simple, status) -> None:
    tenancy = place.tenancy(simple)
    tenant = tenancy.provision("acme").tenant
    if status is TenantStatus.PROVISIONING:
        place_status(tenancy, tenant, status)
    elif status is not TenantStatus.ACTIVE:
        tenancy.registry.set_status(tenant, status)
    before = place.everything("acme")
    with pytest.raises(TenantNotFailed, match=rf"Tenant 'acme' is not failed \(status={status.value}\)"):
        tenancy.cleanup("acme")
    assert tenancy.cleanup() == []
    assert tenancy.get("acme").status == status
    assert place.everything("acme") == before


def place_status(tenancy, tenant, status) -> None:
    """Set a status that no rule would allow."""
    import sqlalchemy as sa

    from tenantry.registry.tables import tables

    table = tables(tenancy.store.control_schema).tenant
    with tenancy.store.control_engine().begin() as connection:
        connection.execute(sa.update(table).values(status=status.value))


def test_kept_store_is_left_as_it_is_and_not_adopted_later(place, fail) -> None:
    tenancy = fail("acme")
    before, physical = place.shape("acme"), place.physical()
    tenancy.cleanup("acme", drop=False)
    assert tenancy.list() == []
    assert place.shape("acme") == before
    assert place.physical() == physical
    with pytest.raises(StoreExists):
        tenancy.provision("acme")
    assert place.shape("acme") == before


KILL = """
import psycopg
def work(tenancy, where):
    die = lambda *_, **__: os.kill(os.getpid(), 9)
    if where == "before":
        tenancy.store.remove = die
    elif where == "after":
        tenancy.registry.delete = die
    else:
        from tenantry.stores import postgres, sqlite
        if kind == "file":
            sqlite.SqliteFiles._sweep = die
        else:
            execute, postgres.DROP_BATCH = postgres.execute, 1
            def once(connection, statement):
                execute(connection, statement)
                connection.commit()
                die()
            postgres.execute = once
    tenancy.cleanup("acme")
"""


@pytest.mark.parametrize("where", ["before", "within", "after"])
def test_killed_removal_is_shown_and_can_be_run_again(place, simple, fail, where) -> None:
    tenancy = fail("acme")
    assert place.children(simple, KILL, [where])[0][0] == signal.SIGKILL
    assert tenancy.get("acme").status == "deleting"
    for attempt in (tenancy.migrate, tenancy.activate, lambda slug: tenancy.downgrade(slug, "base")):
        with pytest.raises(StatusRefused):
            attempt("acme")
    assert tenancy.get("acme").status == "deleting"
    assert [tenant.slug for tenant in tenancy.cleanup()] == ["acme"]
    assert tenancy.list() == []
    assert place.physical() == set()


def test_tenant_of_an_interrupted_provisioning_goes_by_way_of_failed(place, simple) -> None:
    """What ``migrate`` cannot finish becomes failed, and is then cleaned up."""
    source = """
    def work(tenancy, case):
        tenancy.observe(lambda slug, step: os.kill(os.getpid(), 9) if step == "activate" else None)
        tenancy.provision("acme")
    """
    assert place.children(simple, source, ["x"])[0][0] == signal.SIGKILL
    tenancy = place.tenancy(simple, seeds=[broken])
    with pytest.raises(TenantNotFailed):
        tenancy.cleanup("acme")
    with pytest.raises(StepFailed):
        tenancy.migrate("acme")
    assert [tenant.slug for tenant in tenancy.cleanup("acme")] == ["acme"]
    assert place.physical() == set()
