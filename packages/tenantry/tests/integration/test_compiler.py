"""What the compiler makes of a revision: which can be replayed, which must run as Python, and when a plan is new."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tenantry.errors import MigrationFailed, RevisionsRejected
from tenantry.migrations import compiler
from tenantry.migrations.plan import Kind
from tenantry.registry.tables import tables

NOTE = """
op.create_table(
    "note",
    sa.Column("id", sa.Integer(), primary_key=True),
    sa.Column("body", sa.Text()),
    sa.Column("rank", sa.Integer()),
)
"""
READS = """
bind = op.get_bind()
for row in bind.execute(sa.text("SELECT id, body FROM note")).all():
    bind.execute(sa.text("UPDATE note SET rank = :rank WHERE id = :id"), {"rank": len(row.body), "id": row.id})
"""
KINDS = {
    "ddl": ('op.add_column("note", sa.Column("x", sa.Integer()))', Kind.REPLAY),
    "inspector": ('assert sa.inspect(op.get_bind()).has_table("note")', Kind.REPLAY),
    "write without reading": ('op.execute("UPDATE note SET rank = 1")', Kind.REPLAY),
    "insert from a query": (
        'op.execute("INSERT INTO note (id, body) SELECT id + 100, body FROM note")',
        Kind.REPLAY,
    ),
    "version of the server": (
        "op.get_bind().exec_driver_sql("
        "'SELECT sqlite_version()' if op.get_bind().dialect.name == 'sqlite' else 'SHOW server_version').scalar()",
        Kind.REPLAY,
    ),
    "rows": (READS, Kind.PYTHON),
    "count of rows": ('op.get_bind().execute(sa.text("SELECT count(*) FROM note")).scalar()', Kind.PYTHON),
    "rows in a subquery": (
        'op.get_bind().execute(sa.text("SELECT 1 WHERE EXISTS (SELECT 1 FROM note)")).scalar()',
        Kind.PYTHON,
    ),
    "rows behind a WITH": (
        'op.get_bind().execute(sa.text("WITH n AS (SELECT id FROM note) SELECT id FROM n")).all()',
        Kind.PYTHON,
    ),
    "rows and the catalog": (
        'op.get_bind().execute(sa.text("SELECT note.id FROM note, "'
        ' + ("sqlite_schema" if op.get_bind().dialect.name == "sqlite" else "pg_class"))).all()',
        Kind.PYTHON,
    ),
    "returning": (
        "op.get_bind().execute(sa.text(\"INSERT INTO note (id, body) VALUES (5, 'x') RETURNING id\")).scalar()",
        Kind.PYTHON,
    ),
    "autocommit": (
        "with op.get_context().autocommit_block():\n"
        '    op.create_index("ix", "note", ["rank"], postgresql_concurrently=True)',
        Kind.AUTOCOMMIT,
    ),
}  # fmt: skip


def planner(tenancy):
    return tenancy._provisioner.planner


def kinds(plan) -> list[Kind]:
    return [step.kind for step in plan.steps]


def shape_of_cache(tenancy) -> set[str]:
    plan = tables(tenancy.store.control_schema).plan
    with tenancy.store.control_engine().connect() as connection:
        return set(connection.execute(sa.select(plan.c.digest)).scalars())


@pytest.mark.parametrize("case", KINDS)
def test_revision_is_told_by_what_it_reads(place, chain, case) -> None:
    body, expected = KINDS[case]
    chain.add("r1", NOTE).add("r2", body)
    tenancy = place.tenancy(chain)
    assert kinds(planner(tenancy).plan("r1", "r2")) == [expected]
    # On an empty place whatever it reads is the same for every new tenant.
    assert kinds(planner(tenancy).plan(None, "r2")) == [Kind.REPLAY, Kind.REPLAY]


def test_revision_that_reads_rows_runs_on_each_tenants_own(place, chain) -> None:
    chain.add("r1", NOTE)
    tenancy = place.tenancy(chain)
    for slug, body in (("acme", "four"), ("other", "nine char")):
        tenancy.provision(slug)
        place.write(slug, f"INSERT INTO note (id, body) VALUES (1, '{body}'), (2, '')")
    chain.add("r2", 'op.add_column("note", sa.Column("x", sa.Integer()))').add("r3", READS)
    chain.add("r4", 'op.add_column("note", sa.Column("y", sa.Integer()))')
    later = place.tenancy(chain)
    for slug, length in (("acme", 4), ("other", 9)):
        assert later.migrate(slug).tenant.revision == "r4"
        assert place.rows(slug, "note", "rank") == [(0,), (length,)]
    assert kinds(planner(later).plan("r1", "r4")) == [Kind.REPLAY, Kind.PYTHON, Kind.REPLAY]


def test_revision_that_makes_up_values_gives_every_tenant_the_same(place, chain) -> None:
    """The documented limit of a plan: what Python made up while it was compiled is in it."""
    chain.add("r1", NOTE)
    chain.add(
        "r2", "op.get_bind().execute(sa.text(\"INSERT INTO note (id, body) VALUES (1, :u)\"), {'u': str(uuid.uuid4())})"
    )
    tenancy = place.tenancy(chain)
    tenancy.provision("acme")
    tenancy.provision("other")
    assert place.rows("acme", "note") == place.rows("other", "note")


def test_second_process_compiles_nothing(place, simple, monkeypatch) -> None:
    first = place.tenancy(simple)
    first.provision("acme")
    first.downgrade("acme", "r1")
    first.migrate("acme")
    cached = shape_of_cache(first)

    def refuse(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr("tenantry.migrations.planner.compile_plan", refuse)
    second = place.tenancy(simple)
    second.provision("other")
    second.downgrade("acme", "r1")
    second.migrate("acme")
    assert shape_of_cache(second) == cached


@pytest.mark.parametrize("what", ["revision", "file beside it"])
def test_edited_revision_gives_another_plan(place, simple, what) -> None:
    digest = compiler.plan_digest(place.store(), simple.migrations, None, "r3")
    assert compiler.plan_digest(place.store(), simple.migrations, None, "r3") == digest
    assert compiler.plan_digest(place.store(), simple.migrations, None, "r2") != digest
    assert compiler.plan_digest(place.store(), simple.migrations, "r1", "r3") != digest
    if what == "revision":
        simple.add("r3", 'op.add_column("note", sa.Column("colour", sa.String(9)))', down="r2")
    else:
        (simple.directory / "versions" / "data.sql").write_text("INSERT INTO note VALUES (1)")
    assert compiler.plan_digest(place.store(), simple.migrations, None, "r3") != digest


def test_edited_revision_is_used_by_the_next_process(place, simple) -> None:
    place.tenancy(simple).provision("acme")
    simple.add("r3", 'op.add_column("note", sa.Column("colour", sa.String(9)))', down="r2")
    place.tenancy(simple).provision("other")
    with place.raw("other") as connection:
        assert "colour" in {column["name"] for column in sa.inspect(connection).get_columns("note")}


def test_loaded_bytecode_is_no_part_of_the_digest(place, simple) -> None:
    digest = simple.migrations.digest
    tenancy = place.tenancy(simple)
    tenancy.history()
    tenancy.provision("acme")
    assert simple.migrations.digest == digest


def test_plan_that_cannot_be_moved_runs_as_python(place, chain) -> None:
    """A revision that writes the name of the place into its statements would write the scratch place's."""
    chain.add("r1", NOTE)
    chain.add(
        "r2",
        """
        bind = op.get_bind()
        if bind.dialect.name == "postgresql":
            schema = bind.exec_driver_sql("SELECT current_schema()").scalar()
            bind.exec_driver_sql(f'CREATE INDEX ix_rank ON "{schema}".note (rank)')
            bind.exec_driver_sql(f'CREATE TABLE "{schema}".named (id integer)')
        else:
            op.create_table("named", sa.Column("id", sa.Integer()))
        """,
    )
    chain.add("r3", 'op.add_column("named", sa.Column("x", sa.Integer()))')
    tenancy = place.tenancy(chain)
    tenancy.provision("acme")
    plan = planner(tenancy).plan(None, "r3")
    assert plan.replayable is not place.on_postgres
    with place.raw("acme") as connection:
        assert {"note", "named"} <= set(sa.inspect(connection).get_table_names())
    place.replay(chain.directory, "plain")
    assert place.shape("acme") == place.shape("plain")


@pytest.mark.parametrize("base", [None, "r1"])
@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('raise KeyError("boom")', "KeyError: 'boom'."),
        ('op.execute("INSERT INTO nowhere VALUES (1)")', "nowhere"),
        ('op.add_column("note", sa.Column("rank", sa.Integer()))', "rank"),
    ],
)
def test_revision_that_fails_on_the_scratch_place_is_named(place, chain, body, says, base) -> None:
    chain.add("r1", NOTE).add("r2", 'op.add_column("note", sa.Column("x", sa.Integer()))').add("r3", body)
    chain.add("r4", 'op.add_column("note", sa.Column("y", sa.Integer()))')
    tenancy = place.tenancy(chain)
    with pytest.raises(MigrationFailed) as raised:
        planner(tenancy).plan(base, "r4")
    assert raised.value.args[1] == "r3"
    assert says in str(raised.value)
    assert place.physical() == set()


def test_failing_downgrade_is_named(place, chain) -> None:
    chain.add("r1", NOTE).add("r2", "pass", 'raise ValueError("no way back")').add("r3", "pass")
    tenancy = place.tenancy(chain)
    with pytest.raises(MigrationFailed) as raised:
        planner(tenancy).plan("r3", "r1")
    assert raised.value.args[1:] == ("r2", "ValueError: no way back.")


@pytest.mark.parametrize(
    "how",
    ["op.execute('COMMIT')", "op.get_bind().commit()", "op.execute('SELECT 1; COMMIT')", "op.get_bind().rollback()"],
)
def test_revision_that_commits_is_refused_and_leaves_nothing(place, chain, how) -> None:
    if not place.on_postgres and ";" in how:
        pytest.skip("SQLite's driver takes one command at a time")
    chain.add("r1", NOTE).add("r2", f'{how}\nop.add_column("note", sa.Column("x", sa.Integer()))')
    tenancy = place.tenancy(chain)
    with pytest.raises((RevisionsRejected, MigrationFailed)) as raised:
        tenancy.provision("acme")
    assert "\n" not in str(raised.value)
    assert "r2" in str(raised.value)
    if ";" not in how:
        assert "autocommit_block" in str(raised.value)
    assert place.physical() == set()
    assert tenancy.get("acme").status == "failed"


def test_error_of_a_revision_hides_secrets_and_is_one_line(place, chain) -> None:
    chain.add("r1", 'raise RuntimeError("cannot reach postgresql://ann:hunter2@db/x\\n\\nsecond line")')
    with pytest.raises(MigrationFailed) as raised:
        planner(place.tenancy(chain)).plan(None, "r1")
    assert "hunter2" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_proof_catches_a_revision_that_acts_differently_each_time(place, chain, tmp_path) -> None:
    """Its table has another name on every run, so that what was recorded is no proof of what will be."""
    chain.add("r1", NOTE)
    chain.add("r2", 'op.create_table("t" + uuid.uuid4().hex[:8], sa.Column("id", sa.Integer(), primary_key=True))')
    tenancy = place.tenancy(chain)
    tenancy.provision("acme")
    tenancy.provision("other")
    assert place.shape("acme") == place.shape("other")  # recorded once, the same for all
