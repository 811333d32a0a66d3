"""A row read by key in a tenant's transaction, another tenant every time, beside the same transaction without tenancy.

The floor names each tenant's table by its schema on a plain SQLAlchemy engine: what an application would write that
routes by hand. The compared statement is the same for every tenant.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from benchmarks.timing import Figure, paired
from tenantry import Migrations, PostgresSchemas, Seeding, Tenancy
from tenantry.stores.base import Store

ROWS = 1_000  # per tenant
BATCH = 50  # transactions in one timed round


def table(schema: str | None = None) -> sa.Table:
    """The table that is read."""
    columns = (sa.Column("id", sa.Integer, primary_key=True), sa.Column("body", sa.Text))
    return sa.Table("bench_row", sa.MetaData(), *columns, schema=schema)


def rows(seeding: Seeding) -> None:
    """Fill a new tenant's table."""
    seeding.session.execute(sa.insert(table()), [{"id": number, "body": str(number)} for number in range(ROWS)])


def declare(store: Store, directory: Path) -> Tenancy:
    """An application of one table on this store; ``directory`` will hold its revision."""
    versions = directory / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    (versions / "0001_row.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n\nrevision = '0001'\ndown_revision = None\n\n\n"
        "def upgrade():\n    op.create_table('bench_row', sa.Column('id', sa.Integer, primary_key=True),"
        " sa.Column('body', sa.Text))\n"
    )
    return Tenancy(store, Migrations(directory), seeds=[rows])


def tenants(store: Store, directory: Path, count: int) -> Tenancy:
    """The same, with so many tenants."""
    tenancy = declare(store, directory)
    tenancy.initialize()
    for number in range(count):
        tenancy.provision(f"t{number}")
    tenancy.watch()  # as a server does: what is known of tenants stays known until the registry tells of a change
    return tenancy


def reading(url: str, *, count: int, rounds: int) -> list[Figure]:
    """The figures of a sync session; the first is the floor."""
    with tempfile.TemporaryDirectory() as directory:
        tenancy = tenants(PostgresSchemas(url, "org_{slug}", pool_size=2), Path(directory), count)
        plain_url = sa.make_url(url).set(drivername="postgresql+psycopg")
        plain, translating = sa.create_engine(plain_url, pool_size=2), sa.create_engine(plain_url, pool_size=2)
        named = [by_key(table(f"org_t{number}")) for number in range(count)]
        unnamed, translated = by_key(table()), by_key(table("tenant"))
        turn = Turn(count)

        def floor(_: int) -> None:
            for tenant, key in turn.batch():
                with Session(plain) as session, session.begin():
                    session.execute(named[tenant], {"key": key}).scalar_one()

        def ours(_: int) -> None:
            for tenant, key in turn.batch():
                with tenancy.session(f"t{tenant}") as session:
                    session.execute(unnamed, {"key": key}).scalar_one()

        def schema_translate_map(_: int) -> None:
            for tenant, key in turn.batch():
                engine = translating.execution_options(schema_translate_map={"tenant": f"org_t{tenant}"})
                with Session(engine) as session, session.begin():
                    session.execute(translated, {"key": key}).scalar_one()

        try:
            variants = {
                "plain engine, schema by hand (floor)": floor,
                "tenancy.session": ours,
                "schema_translate_map": schema_translate_map,
            }
            return [each(figure) for figure in paired(variants, rounds=rounds, warmup=3)]
        finally:
            tenancy.close()
            plain.dispose()
            translating.dispose()


def reading_async(url: str, *, count: int, rounds: int) -> list[Figure]:
    """The same for asyncio."""
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner() as runner:
        tenancy = tenants(PostgresSchemas(url, "org_{slug}", pool_size=2), Path(directory), count)
        plain_url = sa.make_url(url).set(drivername="postgresql+psycopg")
        plain, translating = create_async_engine(plain_url, pool_size=2), create_async_engine(plain_url, pool_size=2)
        named = [by_key(table(f"org_t{number}")) for number in range(count)]
        unnamed, translated = by_key(table()), by_key(table("tenant"))
        turn = Turn(count)

        async def floor() -> None:
            for tenant, key in turn.batch():
                async with AsyncSession(plain) as session, session.begin():
                    (await session.execute(named[tenant], {"key": key})).scalar_one()

        async def ours() -> None:
            for tenant, key in turn.batch():
                async with tenancy.async_session(f"t{tenant}") as session:
                    (await session.execute(unnamed, {"key": key})).scalar_one()

        async def schema_translate_map() -> None:
            for tenant, key in turn.batch():
                engine = translating.execution_options(schema_translate_map={"tenant": f"org_t{tenant}"})
                async with AsyncSession(engine) as session, session.begin():
                    (await session.execute(translated, {"key": key})).scalar_one()

        async def close() -> None:
            await tenancy.aclose()
            await plain.dispose()
            await translating.dispose()

        try:
            variants = {
                "plain engine, schema by hand (floor)": lambda _: runner.run(floor()),
                "tenancy.async_session": lambda _: runner.run(ours()),
                "schema_translate_map": lambda _: runner.run(schema_translate_map()),
            }
            return [each(figure) for figure in paired(variants, rounds=rounds, warmup=3)]
        finally:
            runner.run(close())


def by_key(source: sa.Table) -> sa.Select[Any]:
    """One row by its primary key."""
    return sa.select(source.c.body).where(source.c.id == sa.bindparam("key"))


def each(figure: Figure) -> Figure:
    """The figure of one transaction, from that of a batch."""
    return Figure(figure.name, figure.median / BATCH, figure.ratio, figure.rounds)


class Turn:
    """Tenants in turn, and keys that do not follow them."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._next = 0

    def batch(self) -> list[tuple[int, int]]:
        """The tenants and keys of one round."""
        start, self._next = self._next, self._next + BATCH
        return [(number % self._count, number * 7 % ROWS) for number in range(start, start + BATCH)]
