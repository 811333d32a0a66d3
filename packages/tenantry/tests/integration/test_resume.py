"""Killed anywhere, a provisioning leaves nothing half-made that ``migrate`` or ``cleanup`` does not take care of."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from tenantry.errors import StepFailed, StoreExists, TenantExists
from tenantry.tenant import TenantStatus

STEPS = ("reserve", "create", "migrate", "seed", "verify", "activate")
SEED = """
def baseline(seeding):
    session = seeding.session
    if not session.execute(sa.text("SELECT count(*) FROM organization")).scalar():
        session.execute(sa.text("INSERT INTO organization (id, name) VALUES (1, :n)"), {"n": seeding.options["title"]})
    seeding.receipts["password"] = "secret"
seeds = [baseline]
"""
KILL = """
def kill_at(tenancy, step):
    tenancy.observe(lambda slug, now: os.kill(os.getpid(), 9) if now == step else None)
"""
PROVISION = (
    SEED
    + KILL
    + """
def work(tenancy, step):
    kill_at(tenancy, step)
    tenancy.provision("t-" + step, name=step, options={"title": "kept for " + step})
"""
)


def seeds():
    names = {"sa": sa}
    exec(SEED, names)
    return names["seeds"]


def killed(place, outcomes) -> bool:
    return [signal_ for signal_, _ in outcomes] == [signal.SIGKILL] * len(outcomes)


def check_whole(place, tenancy, slug, title) -> None:
    tenant = tenancy.get(slug)
    assert (tenant.status, tenant.revision, tenant.error) == ("active", "r3", None)
    assert place.rows(slug, "organization") == [(1, title)]
    with tenancy.session(slug) as session:
        session.execute(sa.text("INSERT INTO note (id, organization_id) VALUES (1, 1)"))
        assert session.execute(sa.text("SELECT count(*) FROM note")).scalar() == 1


def test_killed_at_the_beginning_of_each_step_and_finished_by_migrate(place, simple) -> None:
    assert killed(place, place.children(simple, PROVISION, STEPS, readiness=["organization"]))
    tenancy = place.tenancy(simple, readiness=("organization",), seeds=seeds())
    there = {tenant.slug: tenant for tenant in tenancy.list()}
    assert set(there) == {f"t-{step}" for step in STEPS[1:]}  # killed before it was reserved there is no record
    assert {tenant.status for tenant in there.values()} == {TenantStatus.PROVISIONING}
    if place.on_postgres:
        assert place.physical() == set()  # all of it was one transaction
    for slug in there:
        assert place.has(slug) == tenancy.exists(slug)
        done = tenancy.migrate(slug)
        assert done.receipts == {"password": "secret"}
        check_whole(place, tenancy, slug, f"kept for {slug[2:]}")
        kinds = [(operation.kind, operation.status) for operation in tenancy.operations(slug)]
        assert kinds == [("migrate", "done"), ("provision", "failed")]
    tenancy.provision("t-reserve", options={"title": "again"})
    check_whole(place, tenancy, "t-reserve", "again")
    assert place.physical() == place.belongings(tenancy.list())


def test_killed_tenant_is_finished_by_ensure(place, simple) -> None:
    assert killed(place, place.children(simple, PROVISION, ["seed", "activate"], readiness=["organization"]))
    tenancy = place.tenancy(simple, readiness=("organization",), seeds=seeds())
    for step in ("seed", "activate"):
        tenancy.ensure(f"t-{step}", options={"title": "of the second call"})
        check_whole(place, tenancy, f"t-{step}", f"kept for {step}")


@pytest.mark.parametrize("ahead", [0, 3600])
def test_a_tenant_killed_this_moment_is_told_as_interrupted(place, simple, ahead) -> None:
    """Not as busy, which says to wait; also where the clock of the machine that made it is an hour ahead."""
    assert killed(place, place.children(simple, PROVISION, ["create"], readiness=["organization"]))
    tenancy = place.tenancy(simple, readiness=("organization",), seeds=seeds())
    with tenancy.store.control_engine().begin() as connection:
        written = datetime.now(UTC) + timedelta(seconds=ahead)
        connection.execute(sa.update(tenancy.registry._tables.tenant).values(updated_at=written))
    with pytest.raises(TenantExists, match="It was interrupted"):
        tenancy.provision("t-create", options={"title": "of the second call"})
    assert tenancy.get("t-create").status == "provisioning"
    tenancy.migrate("t-create")
    check_whole(place, tenancy, "t-create", "kept for create")


def test_killed_again_while_it_is_finished(place, simple) -> None:
    assert killed(place, place.children(simple, PROVISION, ["activate"], readiness=["organization"]))
    again = SEED + KILL + "def work(tenancy, step):\n    kill_at(tenancy, step)\n    tenancy.migrate('t-activate')\n"
    steps = ["create", "migrate", "seed", "verify", "activate"]
    assert killed(place, place.children(simple, again, steps, readiness=["organization"]))
    tenancy = place.tenancy(simple, readiness=("organization",), seeds=seeds())
    assert tenancy.get("t-activate").status == "provisioning"
    tenancy.migrate("t-activate")
    check_whole(place, tenancy, "t-activate", "kept for activate")
    assert place.physical() == place.belongings(tenancy.list())


def test_killed_in_the_middle_of_its_work(place, simple) -> None:
    """Between the statements, not between the steps: in the seed, and while the file is moved or committed."""
    source = """
    from tenantry.stores import sqlite
    def die(*_, **__): os.kill(os.getpid(), 9)
    def work(tenancy, where):
        if where == "seed":
            tenancy._provisioner.seeds = (die,)
        elif where == "record":
            tenancy.registry.activate = die
        elif where == "sync":
            sqlite.sync = die
        elif where == "rename":
            sqlite.os.rename = die
        elif where == "renamed":
            rename = sqlite.os.rename
            sqlite.os.rename = lambda a, b: (rename(a, b), b.name == "data.db" and die())
        tenancy.observe(lambda slug, step: None)  # step by step, each for others to see
        tenancy.provision("t-" + where)
    """
    cases = ["seed", "record"] if place.on_postgres else ["sync", "rename", "seed", "record", "renamed"]
    assert killed(place, place.children(simple, source, cases))
    tenancy = place.tenancy(simple)
    assert {tenant.status for tenant in tenancy.list()} == {TenantStatus.PROVISIONING}
    for case in cases:
        assert tenancy.migrate(f"t-{case}").tenant.status == "active"
    assert place.physical() == place.belongings(tenancy.list())


def test_killed_while_a_file_is_made_with_its_record_nothing_is_in_the_way(place, simple) -> None:
    """A file without seeds is written together with its record: killed anywhere there are both or neither."""
    if place.on_postgres:
        pytest.skip("a schema is made in steps")
    place.tenancy(simple).provision("first")  # makes the template, with the same calls
    source = """
    from tenantry import provisioning
    from tenantry.stores import sqlite
    def die(*_, **__): os.kill(os.getpid(), 9)
    def after(module, name):
        call = getattr(module, name)
        setattr(module, name, lambda *given, **more: (call(*given, **more), die()))
    def work(tenancy, where):
        if where == "laid":
            sqlite.FileSite.finish = die
        elif where == "synced":
            after(sqlite, "sync")
        elif where == "linked":
            after(sqlite.os, "link")
        elif where == "enlisted":
            after(provisioning, "enlist")
        elif where == "committed":
            after(sqlite.SqliteFiles, "_write_records")
        tenancy.provision(where)
    """
    cases = ["laid", "synced", "linked", "enlisted", "committed"]
    assert killed(place, place.children(simple, source, cases))
    tenancy = place.tenancy(simple)
    assert {tenant.slug: tenant.status for tenant in tenancy.list()} == {"first": "active", "committed": "active"}
    for case in cases[:-1]:
        assert tenancy.provision(case).tenant.status == "active"
    for case in cases:
        with tenancy.session(case) as session:
            session.execute(sa.text("INSERT INTO note (id) VALUES (1)"))
    whole = tenancy.get("committed")
    tenancy.store.remove(whole)  # with its second name
    assert place.physical() == place.belongings(tenant for tenant in tenancy.list() if tenant != whole)


def test_file_of_no_tenant_is_not_taken_for_one_that_was_being_made(place, simple) -> None:
    if place.on_postgres:
        pytest.skip("a schema is made in steps")
    tenancy = place.tenancy(simple)
    tenancy.provision("first")
    stranger = tenancy.store.path(place.location("acme"))
    stranger.parent.mkdir()
    stranger.write_bytes(b"somebody's")
    stranger.with_name(f".{stranger.name}.making.tmp").write_bytes(b"a draft of it")
    with pytest.raises(StoreExists):
        tenancy.provision("acme")
    assert stranger.read_bytes() == b"somebody's"
    assert [tenant.slug for tenant in tenancy.list()] == ["first"]


def test_failed_tenant_is_resumed_with_its_options_and_once_only(place, simple) -> None:
    def broken(seeding) -> None:
        raise RuntimeError("no luck")

    tenancy = place.tenancy(simple, seeds=[*seeds(), broken])
    with pytest.raises(StepFailed):
        tenancy.provision("acme", options={"title": "first"})
    assert tenancy.get("acme").status == "failed"
    with pytest.raises(StepFailed):
        tenancy.migrate("acme")
    failed = tenancy.get("acme")
    assert (failed.status, failed.failed_step) == ("failed", "seed")
    assert place.physical() == set()
    mended = place.tenancy(simple, seeds=seeds())
    assert mended.migrate("acme").receipts == {"password": "secret"}
    check_whole(place, mended, "acme", "first")
    assert mended.migrate("acme").receipts == {}  # seeds belong to provisioning: an active tenant is only migrated
    assert [operation.status for operation in mended.operations("acme")] == ["done", "done", "failed", "failed"]


def test_killed_migration_of_a_tenant_with_rows_changes_nothing(place, simple) -> None:
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    place.write("acme", "INSERT INTO note (id, body) VALUES (1, 'kept')")
    before = place.shape("acme"), place.everything("acme")
    simple.add("r4", 'op.add_column("note", sa.Column("x", sa.Integer()))\nop.execute("DELETE FROM note")')
    simple.add("r5", 'op.create_table("more", sa.Column("id", sa.Integer(), primary_key=True))')
    source = """
    from tenantry.migrations import apply
    def work(tenancy, case):
        carry = apply._carry_out
        def die(*given):
            if case == "after":
                carry(*given)
            os.kill(os.getpid(), 9)
        apply._carry_out = die
        tenancy.migrate("acme")
    """
    assert killed(place, place.children(simple, source, ["before", "after"]))
    assert (place.shape("acme"), place.everything("acme")) == before
    later = place.tenancy(simple)
    assert later.get("acme").status == "active"
    assert later.current("acme") == "r3"
    assert later.migrate("acme").tenant.revision == "r5"
    assert place.rows("acme", "note") == []


def test_kill_between_the_store_and_the_ledger_is_mended(place, simple) -> None:
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    simple.add("r4", 'op.add_column("note", sa.Column("x", sa.Integer()))')
    source = """
    def work(tenancy, case):
        tenancy.registry.set_revision = lambda *_, **__: os.kill(os.getpid(), 9)
        tenancy.migrate("acme")
    """
    assert killed(place, place.children(simple, source, ["x"]))
    later = place.tenancy(simple)
    assert later.get("acme").revision == "r3"
    assert later.current("acme") == ("r3" if place.on_postgres else "r4")
    assert later.migrate("acme").tenant.revision == "r4"
    assert later.current("acme") == "r4"


def test_temporary_files_of_killed_work_are_swept(place, simple) -> None:
    if place.on_postgres:
        pytest.skip("schemas have none")
    source = """
    from tenantry.stores import sqlite
    def work(tenancy, case):
        sqlite.sync = lambda path: os.kill(os.getpid(), 9)
        tenancy.observe(lambda slug, step: None)
        tenancy.provision(case)
    """
    assert killed(place, place.children(simple, source, ["acme"]))  # in the template
    left = place.physical()
    assert len(left) == 1
    tenancy = place.tenancy(simple)
    tenancy.migrate("acme")
    assert place.physical() == {place.location("acme")}
    assert killed(place, place.children(simple, source, ["other"]))  # in the tenant's own file
    tenancy.migrate("other")
    assert place.physical() == {place.location("acme"), place.location("other")}
