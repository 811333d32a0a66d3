"""Every backup of a made-up tenant restores to the same schema and rows, on its own database and on the other."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tenantry import Migrations, PostgresSchemas, SqliteFiles, Tenancy
from tenantry.errors import ArchiveUnfit
from tenantry.migrations import catalog
from tenantry.stores.opening import engine_for

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
MOMENTS = st.datetimes()
# What a column may be: its source in a revision, its type, and its values.
COLUMNS = {
    "sa.Integer()": (sa.Integer(), st.integers(-(2**31), 2**31 - 1)),
    "sa.BigInteger()": (sa.BigInteger(), st.integers(-(2**63), 2**63 - 1)),
    "sa.Boolean()": (sa.Boolean(), st.booleans()),
    "sa.Float()": (sa.Float(), st.floats(allow_nan=False, allow_infinity=False)),
    "sa.Numeric(12, 3)": (sa.Numeric(12, 3), st.decimals(-(10**8), 10**8, places=3)),
    "sa.Text()": (sa.Text(), TEXT),
    "sa.String(40)": (sa.String(40), TEXT),
    "sa.DateTime()": (sa.DateTime(), MOMENTS),
    "sa.DateTime(timezone=True)": (sa.DateTime(timezone=True), MOMENTS),
    "sa.Date()": (sa.Date(), st.dates()),
    "sa.Time()": (sa.Time(), st.times()),
    "sa.LargeBinary()": (sa.LargeBinary(), st.binary(max_size=30)),
    "sa.Uuid()": (sa.Uuid(), st.uuids()),
    "sa.JSON()": (
        sa.JSON(),
        st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | TEXT, st.lists, max_leaves=4),
    ),
}


@st.composite
def applications(draw: st.DrawFn) -> tuple[list[list[str]], list[tuple[int, dict[str, object]]]]:
    """Tables as lists of column types, and rows in them."""
    shapes = draw(st.lists(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=5), min_size=1, max_size=3))
    rows = []
    for number, columns in enumerate(shapes):
        for _ in range(draw(st.integers(0, 4))):
            values = {f"c{n}": draw(st.none() | COLUMNS[kind][1]) for n, kind in enumerate(columns)}
            rows.append((number, values))
    return shapes, rows


def revision(shapes: list[list[str]]) -> str:
    lines = []
    for number, columns in enumerate(shapes):
        told = ", ".join(f'sa.Column("c{n}", {kind})' for n, kind in enumerate(columns))
        parent = f'sa.Column("up", sa.Integer(), sa.ForeignKey("t{number - 1}.id"))' if number else ""
        lines.append(f'op.create_table("t{number}", sa.Column("id", sa.Integer(), primary_key=True), {told}, {parent})')
        if columns[0] != "sa.JSON()":  # which PostgreSQL cannot put in order
            lines.append(f'op.create_index("ix_t{number}", "t{number}", ["c0", "id"])')
    return "\n".join(lines)


def contents(tenancy: Tenancy, slug: str, shapes: list[list[str]]) -> list[list[tuple[object, ...]]]:
    """Every row, as an application reads it."""
    found = []
    with tenancy.session(slug) as session:
        for number, columns in enumerate(shapes):
            table = sa.table(
                f"t{number}", sa.column("id"), *(sa.column(f"c{n}", COLUMNS[kind][0]) for n, kind in enumerate(columns))
            )
            rows = session.execute(sa.select(table).order_by(table.c.id)).all()
            found.append([tuple(map(plain, row)) for row in rows])
    return found


def plain(value: object) -> object:
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(dt.UTC).replace(tzinfo=None)
    return float(value) if isinstance(value, Decimal) else value


def digest(tenancy: Tenancy, slug: str) -> str:
    with tenancy.store.change(tenancy.get(slug)) as site:
        return catalog.read(site.connection, tenancy.get(slug).role).digest()


def check(made, chain, shared_url: str, root) -> None:
    shapes, rows = made
    mark = uuid.uuid4().hex[:8]
    chain.add("r1", revision(shapes))
    here = Tenancy(PostgresSchemas(shared_url, "org_{slug}"), Migrations(chain.directory))
    there = Tenancy(SqliteFiles(root / mark, "{slug}/data.db"), Migrations(chain.directory))
    there.initialize()
    try:
        for first, second in ((here, there), (there, here)):
            slug = f"a{mark}"
            first.provision(slug)
            with first.session(slug) as session:
                for n, (number, values) in enumerate(rows):
                    names = shapes[number]
                    table = sa.table(
                        f"t{number}",
                        sa.column("id"),
                        *(sa.column(f"c{i}", COLUMNS[kind][0]) for i, kind in enumerate(names)),
                    )
                    fitted = {
                        name: value.replace(tzinfo=dt.UTC)
                        if isinstance(value, dt.datetime) and "timezone" in names[int(name[1:])]
                        else value
                        for name, value in values.items()
                    }
                    session.execute(sa.insert(table).values(id=n + 1, **fitted))
            saved = first.archive.backup(slug, to=root / "backups")
            first.archive.restore(saved.path, slug=f"b{mark}")
            assert contents(first, f"b{mark}", shapes) == contents(first, slug, shapes)
            assert digest(first, f"b{mark}") == digest(first, slug) == saved.manifest.fingerprint
            again = first.archive.backup(f"b{mark}", to=root / "backups")
            assert [t.sha256 for t in again.manifest.tables] == [t.sha256 for t in saved.manifest.tables]
            second.archive.restore(saved.path, slug=f"x{mark}")
            assert contents(second, f"x{mark}", shapes) == contents(first, slug, shapes)
            second.provision(f"y{mark}")
            assert digest(second, f"x{mark}") == digest(second, f"y{mark}")
            with second.session(f"x{mark}") as session:  # its keys go on after the largest
                session.execute(sa.text("INSERT INTO t0 (c0) VALUES (NULL)"))
    finally:
        for tenant in here.list():  # past the engine, which would save each before: half of the time of an example
            here.store.remove(tenant)
        with here.store.control_engine().begin() as connection:
            connection.execute(sa.text("DELETE FROM tenant"))
        here.close()
        there.close()


@example(made=([["sa.JSON()"]], [(0, {"c0": -7}), (0, {"c0": 1.5}), (0, {"c0": "7"})]))
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=applications())
def test_made_up_tenant_restores_the_same_on_both_databases(
    made, chains, shared_postgres_url, tmp_path_factory
) -> None:
    check(made, chains(), shared_postgres_url, tmp_path_factory.mktemp("made"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=applications())
def test_many_made_up_tenants_restore_the_same(made, chains, shared_postgres_url, tmp_path_factory) -> None:
    check(made, chains(), shared_postgres_url, tmp_path_factory.mktemp("made"))


def test_types_that_have_no_equal_are_named_and_nothing_is_made(shared_postgres_url, chain, tmp_path) -> None:
    chain.add(
        "r1",
        """
        if op.get_bind().dialect.name == "postgresql":
            op.execute("CREATE TABLE t (id integer PRIMARY KEY, tags text[], near point)")
        else:
            op.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, tags JSON, near TEXT)")
        op.create_table("u", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("n", sa.Numeric()))
        """,
    )
    slug = f"u{uuid.uuid4().hex[:8]}"
    here = Tenancy(PostgresSchemas(shared_postgres_url, "org_{slug}"), Migrations(chain.directory))
    there = Tenancy(SqliteFiles(tmp_path / "s", "{slug}/data.db"), Migrations(chain.directory))
    there.initialize()
    try:
        here.provision(slug)
        empty = here.archive.backup(slug, to=tmp_path / "b")
        there.archive.restore(empty.path, slug="empty")  # without rows there is nothing that does not fit
        with here.session(slug) as session:
            session.execute(sa.text("INSERT INTO t (id, tags) VALUES (1, '{a}')"))
        saved = here.archive.backup(slug, to=tmp_path / "b")
        with pytest.raises(ArchiveUnfit, match=r"t\.tags \(text\[\] into JSON\); t\.near \(point into TEXT\)"):
            there.archive.restore(saved.path, slug="unfit")
        assert (there.get("unfit").status, there.exists("unfit")) == ("failed", False)
        there.cleanup("unfit")
        with engine_for(there.store.path("empty/data.db"), begin="BEGIN", foreign_keys=False).begin() as connection:
            connection.exec_driver_sql("INSERT INTO u (id, n) VALUES (1, 'many')")
        back = there.archive.backup("empty", to=tmp_path / "b")
        other = f"v{slug[1:]}"
        with pytest.raises(ArchiveUnfit, match=r"a value of u\.n: it is kept as str"):
            here.archive.restore(back.path, slug=other)
        assert not here.exists(other)
    finally:
        for tenant in here.list():
            if tenant.slug in (slug, other):
                here.store.remove(tenant)
        here.close()
        there.close()
