"""One tenant up, down and stuck: after every failure the store stands where it stood, and mending finishes it."""

from __future__ import annotations

import sqlite3

import pytest
import sqlalchemy as sa

from tenantry.errors import (
    MigrationFailed,
    RevisionsRejected,
    StoreError,
    TenantBusy,
    UnknownRevision,
)

NOTE = """
op.create_table(
    "note",
    sa.Column("id", sa.Integer(), primary_key=True),
    sa.Column("body", sa.Text()),
    sa.Column("rank", sa.Integer()),
)
"""


@pytest.fixture
def state(place):
    """Everything of a tenant that a failure must not change."""
    return lambda slug: (place.shape(slug), place.everything(slug))


def stands(tenancy, slug) -> tuple[str | None, str | None]:
    """The revision by the store, and by the ledger."""
    return tenancy.current(slug), tenancy.get(slug).revision


def test_down_to_a_revision_to_base_and_up_again(place, simple) -> None:
    tenancy = place.tenancy(simple, readiness=("organization",))
    tenancy.provision("acme")
    new = place.shape("acme")
    place.write("acme", "INSERT INTO organization VALUES (1, 'Acme')")
    assert tenancy.downgrade("acme", "r1").revision == "r1"
    assert stands(tenancy, "acme") == ("r1", "r1")
    assert place.rows("acme", "organization") == [(1, "Acme")]
    assert tenancy.downgrade("acme", "base").revision is None
    assert stands(tenancy, "acme") == (None, None)
    done = tenancy.migrate("acme")
    assert (done.before, done.tenant.revision, done.tenant.status) == (None, "r3", "active")
    assert stands(tenancy, "acme") == ("r3", "r3")
    assert set(place.everything("acme")) == {"organization", "note", "alembic_version"}
    if place.on_postgres:
        assert place.shape("acme") == new


def test_migration_to_a_given_revision_and_one_that_has_nothing_to_do(place, simple) -> None:
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    tenancy.downgrade("acme", "r1")
    assert tenancy.migrate("acme", to="r2").tenant.revision == "r2"
    assert stands(tenancy, "acme") == ("r2", "r2")
    before = place.shape("acme")
    again = tenancy.migrate("acme", to="r2")
    assert (again.before, again.tenant.revision) == ("r2", "r2")
    assert place.shape("acme") == before
    assert [operation.status for operation in tenancy.operations("acme")] == ["done"] * 4


@pytest.mark.parametrize("wanted", ["r9", "nonsense", "", "r1; DROP", "+1", "-1"])
def test_revision_that_is_not_one_is_refused_and_nothing_touched(place, simple, state, wanted) -> None:
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    before = state("acme")
    for attempt in (lambda: tenancy.migrate("acme", to=wanted), lambda: tenancy.downgrade("acme", wanted)):
        with pytest.raises(RevisionsRejected) as raised:
            attempt()
        assert "\n" not in str(raised.value)
        assert "db history" in str(raised.value)
    assert state("acme") == before
    assert len(tenancy.operations("acme")) == 1


@pytest.mark.parametrize("how", ["raises", "sql"])
def test_revision_that_raises_half_way_leaves_the_state_as_before_and_runs_after_mending(
    place, simple, state, how
) -> None:
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    place.write("acme", "INSERT INTO note (id, body) VALUES (1, 'kept')")
    before, physical = state("acme"), place.physical()
    good = 'op.create_table("half", sa.Column("id", sa.Integer(), primary_key=True))\nop.execute("DELETE FROM note")\n'
    fault = 'raise ValueError("half-way")' if how == "raises" else 'op.execute("INSERT INTO nowhere VALUES (1)")'
    simple.add("r4", 'op.add_column("note", sa.Column("x", sa.Integer()))').add("r5", good + fault)
    broken = place.tenancy(simple)
    with pytest.raises(MigrationFailed, match="r5") as raised:
        broken.migrate("acme")
    assert "\n" not in str(raised.value)
    assert state("acme") == before
    assert place.physical() == physical
    assert stands(broken, "acme") == ("r3", "r3")
    assert broken.get("acme").status == "active"
    assert broken.operations("acme")[0].status == "failed"
    with pytest.raises(MigrationFailed):
        broken.provision("other")
    assert broken.get("other").status == "failed"
    assert place.physical() == physical
    simple.add("r5", good, down="r4")
    mended = place.tenancy(simple)
    assert mended.migrate("acme").tenant.revision == "r5"
    assert mended.migrate("other").tenant.status == "active"
    assert place.rows("acme", "note") == []
    assert place.shape("acme") == place.shape("other")


@pytest.mark.parametrize("python", [False, True])
def test_revision_that_only_this_tenants_rows_stop_is_named_and_undone(place, chain, state, python) -> None:
    chain.add("r1", NOTE)
    tenancy = place.tenancy(chain)
    for slug in ("acme", "other"):
        tenancy.provision(slug)
    place.write("acme", "INSERT INTO note (id, body) VALUES (1, 'twice'), (2, 'twice')")
    before = state("acme")
    chain.add("r2", 'op.add_column("note", sa.Column("x", sa.Integer()))')
    read = 'op.get_bind().execute(sa.text("SELECT count(*) FROM note")).scalar()\n' if python else ""
    chain.add("r3", read + 'op.create_index("ix_note_body", "note", ["body"], unique=True)')
    chain.add("r4", 'op.create_table("after", sa.Column("id", sa.Integer(), primary_key=True))')
    later = place.tenancy(chain)
    with pytest.raises(MigrationFailed, match=r"Revision r3 failed on .*acme"):
        later.migrate("acme")
    assert state("acme") == before
    assert stands(later, "acme") == ("r1", "r1")
    assert later.migrate("other").tenant.revision == "r4"
    place.write("acme", "DELETE FROM note WHERE id = 2")
    assert later.migrate("acme").tenant.revision == "r4"
    assert place.shape("acme") == place.shape("other")


def test_failure_without_a_position_is_attributed_past_statements_of_several_commands(place, chain) -> None:
    if not place.on_postgres:
        pytest.skip("SQLite's driver takes one command at a time")
    chain.add("r1", NOTE)
    tenancy = place.tenancy(chain)
    tenancy.provision("acme")
    place.write("acme", "INSERT INTO note (id, body) VALUES (1, 'twice'), (2, 'twice')")
    chain.add("r2", """op.execute("UPDATE note SET rank = 1; UPDATE note SET rank = 2; -- a;b\\n/* c;d */")""")
    chain.add("r3", """op.execute("DO $x$ BEGIN PERFORM 1; PERFORM 2; END $x$; UPDATE note SET body = 'twice;'")""")
    chain.add("r4", 'op.create_index("ix_note_body", "note", ["body"], unique=True)')
    chain.add("r5", 'op.execute("UPDATE note SET rank = 4")')
    with pytest.raises(MigrationFailed, match=r"Revision r4 failed on org_acme: could not create unique index"):
        place.tenancy(chain).migrate("acme")


def test_store_of_a_newer_build_is_left_alone(place, simple, state) -> None:
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    place.write("acme", "UPDATE alembic_version SET version_num = '9f2c'")
    before = state("acme")
    for attempt in (tenancy.migrate, tenancy.current, tenancy.activate, lambda slug: tenancy.downgrade(slug, "r1")):
        with pytest.raises(UnknownRevision, match=r"is at revision 9f2c, which this build does not know .*head is r3"):
            attempt("acme")
    assert state("acme") == before
    assert tenancy.get("acme").status == "active"


def test_store_at_several_heads_is_a_clear_error(place, simple, state) -> None:
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    place.write("acme", "INSERT INTO alembic_version VALUES ('r1')")
    before = state("acme")
    with pytest.raises(RevisionsRejected, match="several revisions"):
        tenancy.migrate("acme")
    assert state("acme") == before


@pytest.fixture
def branched(chain):
    """r1, from there a branch of one and one of two revisions, and their merge."""
    chain.add("r1", NOTE, 'op.drop_table("note")')
    for name, down in (("a1", "r1"), ("b1", "r1"), ("b2", "b1")):
        chain.add(
            name,
            f'op.create_table("{name}", sa.Column("id", sa.Integer(), primary_key=True))',
            f'op.drop_table("{name}")',
            down=down,
        )
    return chain


def test_several_heads_are_refused_with_what_to_do(place, branched) -> None:
    tenancy = place.tenancy(branched)
    with pytest.raises(RevisionsRejected, match=r"several heads \(a1, b2\); join them with `alembic merge`"):
        tenancy.provision("acme")
    with pytest.raises(RevisionsRejected, match="several heads"):
        tenancy.head()
    assert place.physical() == set()


@pytest.mark.parametrize("python", [(), ("a1",), ("b2",), ("a1", "b1", "b2"), ("m1",)])
def test_branches_and_their_merge_go_up_and_down(place, branched, python) -> None:
    read = 'op.get_bind().execute(sa.text("SELECT count(*) FROM note")).scalar()\n'
    for name in python:
        down = {"a1": "r1", "b1": "r1", "b2": "b1"}.get(name)
        if down:
            table = f'op.create_table("{name}", sa.Column("id", sa.Integer(), primary_key=True))'
            branched.add(name, read + table, f'{read}op.drop_table("{name}")', down=down)
    branched.add("m1", read if "m1" in python else "pass", down=("a1", "b2"))
    branched.add("r9", 'op.add_column("note", sa.Column("x", sa.Integer()))', _drop("x"))
    tenancy = place.tenancy(branched)
    tenancy.provision("acme")
    place.write("acme", "INSERT INTO note (id) VALUES (1)")
    assert set(place.everything("acme")) == {"note", "a1", "b1", "b2", "alembic_version"}
    tenancy.downgrade("acme", "r1")
    assert stands(tenancy, "acme") == ("r1", "r1")
    assert set(place.everything("acme")) == {"note", "alembic_version"}
    tenancy.migrate("acme", to="b1")
    assert stands(tenancy, "acme") == ("b1", "b1")
    tenancy.migrate("acme")
    assert stands(tenancy, "acme") == ("r9", "r9")
    assert set(place.everything("acme")) == {"note", "a1", "b1", "b2", "alembic_version"}
    tenancy.downgrade("acme", "base")
    assert set(place.everything("acme")) == {"alembic_version"}


def _drop(column: str) -> str:
    return f'with op.batch_alter_table("note") as table:\n    table.drop_column("{column}")'


def test_revision_on_another_branch_is_no_way(place, branched) -> None:
    branched.add("m1", "pass", down=("a1", "b2"))
    tenancy = place.tenancy(branched)
    tenancy.provision("acme")
    tenancy.downgrade("acme", "r1")
    tenancy.migrate("acme", to="a1")
    with pytest.raises(RevisionsRejected):
        tenancy.migrate("acme", to="b1")
    assert stands(tenancy, "acme") == ("a1", "a1")


CONCURRENTLY = """
with op.get_context().autocommit_block():
    op.create_index("ix_note_body", "note", ["body"], postgresql_concurrently=True, unique=True)
"""


def test_index_built_concurrently_on_a_tenant_with_rows(place, chain) -> None:
    chain.add("r1", NOTE)
    tenancy = place.tenancy(chain)
    tenancy.provision("acme")
    place.write("acme", "INSERT INTO note (id, body) VALUES (1, 'a'), (2, 'b')")
    chain.add("r2", 'op.add_column("note", sa.Column("x", sa.Integer()))').add("r3", CONCURRENTLY)
    chain.add("r4", 'op.add_column("note", sa.Column("y", sa.Integer()))')
    later = place.tenancy(chain)
    assert later.migrate("acme").tenant.revision == "r4"
    later.provision("other")
    assert place.shape("acme") == place.shape("other")
    with later.session("acme") as session:
        assert session.execute(sa.text("SELECT count(*) FROM note")).scalar() == 2


def test_failed_index_built_concurrently_says_what_may_have_been_kept(place, chain) -> None:
    chain.add("r1", NOTE)
    tenancy = place.tenancy(chain)
    tenancy.provision("acme")
    place.write("acme", "INSERT INTO note (id, body) VALUES (1, 'twice'), (2, 'twice')")
    chain.add("r2", 'op.add_column("note", sa.Column("x", sa.Integer()))').add("r3", CONCURRENTLY)
    later = place.tenancy(chain)
    with pytest.raises(MigrationFailed, match=r"Revision r3 .*may have been kept"):
        later.migrate("acme")
    assert stands(later, "acme") == ("r2", "r2")  # the leg before it stands
    assert later.get("acme").status == "active"
    place.write("acme", "DELETE FROM note WHERE id = 2", "DROP INDEX IF EXISTS ix_note_body")
    assert later.migrate("acme").tenant.revision == "r3"


def test_tenant_is_busy_while_an_index_is_built_outside_the_transaction(place, chain) -> None:
    chain.add("r1", NOTE)
    tenancy = place.tenancy(chain)
    tenancy.provision("acme")
    chain.add("r2", CONCURRENTLY)
    later, rival = place.tenancy(chain), place.tenancy(chain)
    busy: list[str] = []

    def attempt(connection, cursor, statement, *rest) -> None:
        if "CREATE UNIQUE INDEX" in statement:
            try:
                rival.downgrade("acme", "base")
            except TenantBusy:
                busy.append(statement)

    planner = later._provisioner.planner
    planner.plan("r1", "r2")
    rival._provisioner.planner.plan("r1", None)
    sa.event.listen(sa.Engine, "before_cursor_execute", attempt)
    try:
        later.migrate("acme")
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", attempt)
    assert len(busy) == 1
    assert stands(later, "acme") == ("r2", "r2")


@pytest.fixture
def family(chain):
    """A parent with children, and a revision that alters the parent in batch."""
    chain.add(
        "r1",
        """
        op.create_table("parent", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("name", sa.String(20)))
        op.create_table(
            "child",
            sa.Column("id", sa.Integer(), primary_key=True),
            sa.Column("parent_id", sa.Integer(), sa.ForeignKey("parent.id", name="fk_child", ondelete="CASCADE")),
        )
        """,
    )
    return chain


@pytest.mark.parametrize("python", [False, True])
def test_table_that_is_rebuilt_keeps_the_rows_that_point_at_it(place, family, python) -> None:
    tenancy = place.tenancy(family)
    tenancy.provision("acme")
    place.write("acme", "INSERT INTO parent VALUES (1, 'one')", "INSERT INTO child VALUES (10, 1), (11, 1)")
    read = 'op.get_bind().execute(sa.text("SELECT count(*) FROM child")).scalar()\n' if python else ""
    family.add(
        "r2",
        read + 'with op.batch_alter_table("parent") as table:\n    table.alter_column("name", type_=sa.String(99))',
    )
    place.tenancy(family).migrate("acme")
    assert place.rows("acme", "child", "id", "parent_id") == [(10, 1), (11, 1)]
    with place.tenancy(family).session("acme") as session:
        session.execute(sa.text("DELETE FROM parent"))
        assert session.execute(sa.text("SELECT count(*) FROM child")).scalar() == 0


@pytest.mark.parametrize("python", [False, True])
def test_migration_that_would_leave_dangling_rows_is_undone(place, family, state, python) -> None:
    tenancy = place.tenancy(family)
    tenancy.provision("acme")
    place.write("acme", "INSERT INTO parent VALUES (1, 'one')", "INSERT INTO child VALUES (10, 1)")
    before = state("acme")
    read = 'op.get_bind().execute(sa.text("SELECT count(*) FROM child")).scalar()\n' if python else ""
    family.add("r2", read + 'op.execute("UPDATE child SET parent_id = 99")')
    later = place.tenancy(family)
    with pytest.raises((StoreError, MigrationFailed), match=r"would point at no row|foreign key"):
        later.migrate("acme")
    assert state("acme") == before
    assert stands(later, "acme") == ("r1", "r1")


def test_readiness_is_checked_after_a_migration(place, simple) -> None:
    from tenantry.errors import NotReady

    tenancy = place.tenancy(simple, readiness=("organization",))
    tenancy.provision("acme")
    simple.add("r4", 'op.drop_table("note")\nop.drop_table("organization")')
    later = place.tenancy(simple, readiness=("organization",))
    with pytest.raises(NotReady):
        later.migrate("acme")
    assert later.get("acme").status == "active"


def test_ledger_follows_a_store_that_was_moved_behind_it(place, simple) -> None:
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    place.write("acme", "DROP TABLE note", "UPDATE alembic_version SET version_num = 'r1'")
    assert stands(tenancy, "acme") == ("r1", "r3")
    tenancy.migrate("acme", to="r1")
    assert stands(tenancy, "acme") == ("r1", "r1")


def test_current_waits_for_nobody_and_writes_nothing(place, simple) -> None:
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    if place.on_postgres:
        with place.raw("acme") as connection:
            connection.execute(sa.text("LOCK TABLE note IN ACCESS EXCLUSIVE MODE"))
            assert tenancy.current("acme") == "r3"
    else:
        writer = sqlite3.connect(f"{place.where}/{place.location('acme')}", isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        assert tenancy.current("acme") == "r3"
        writer.execute("ROLLBACK")
        writer.close()


def test_empty_directory_gives_an_active_tenant_without_a_revision(place, chain) -> None:
    tenancy = place.tenancy(chain)
    made = tenancy.provision("acme").tenant
    assert (made.status, made.revision, tenancy.current("acme")) == ("active", None, None)
    chain.add("r1", NOTE)
    assert place.tenancy(chain).migrate("acme").tenant.revision == "r1"
    with place.tenancy(chain).session("acme") as session:
        assert session.execute(sa.text("SELECT count(*) FROM note")).scalar() == 0


def test_version_table_is_the_tenants_to_read_and_not_to_write(place, simple) -> None:
    if not place.on_postgres:
        pytest.skip("SQLite has no rights per table")
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    tenancy.downgrade("acme", "base")
    tenancy.migrate("acme")
    with tenancy.session("acme") as session:
        assert session.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == "r3"
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"), session.begin_nested():
            session.execute(sa.text("UPDATE alembic_version SET version_num = 'x'"))


def test_history_is_newest_first(place, branched) -> None:
    branched.add("m1", "pass", down=("a1", "b2"))
    tenancy = place.tenancy(branched)
    history = tenancy.history()
    assert [history[0].revision, history[0].down_revision, history[0].message] == ["m1", "a1, b2", "m1"]
    assert [history[-1].revision, history[-1].down_revision] == ["r1", None]
    assert tenancy.head() == "m1"
