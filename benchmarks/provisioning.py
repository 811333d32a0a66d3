"""How long one new tenant takes, beside the same DDL sent by the driver alone.

The floor: psycopg (sqlite3) sending that DDL statement by statement in one transaction into a new schema (file).
A round makes several tenants one after the other, as an installation does that takes customers in.
"""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from benchmarks.fleet import MIGRATIONS
from benchmarks.timing import Figure, paired
from tenantry import Migrations, PostgresSchemas, SqliteFiles, Tenancy
from tenantry.migrations import online
from tenantry.migrations.compiler import compile_plan
from tenantry.stores.base import Statement, Store

BATCH = 5  # tenants in a row


def statements(store: Store) -> list[Statement]:
    """The DDL of a whole tenant, as the revisions send it."""
    migrations = Migrations(MIGRATIONS)
    return list(compile_plan(store, migrations, None, migrations.head()).statements)


def on_postgres(url: str, rounds: int) -> list[Figure]:
    """The figures on PostgreSQL; the first is the floor."""
    store = PostgresSchemas(url, "org_{slug}")
    tenancy = Tenancy(store, Migrations(MIGRATIONS), readiness=["account"])
    tenancy.initialize()
    ddl = [text for text, _ in statements(store)]
    driver = psycopg.connect(sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))
    loop_engine = store.control_engine()

    def floor(number: int) -> None:
        enter(driver, f"floor_{number}")
        for text in ddl:
            driver.execute(text.encode())
        driver.commit()

    def one_message(number: int) -> None:
        enter(driver, f"message_{number}")
        driver.execute("\n;\n".join(ddl).encode(), prepare=False)
        driver.commit()

    def alembic_loop(number: int) -> None:
        schema = f"loop_{number}"
        with loop_engine.connect() as connection, connection.begin():
            connection.execute(sa.schema.CreateSchema(schema))
            connection.execute(sa.text("SELECT set_config('search_path', :schema, true)"), {"schema": schema})
            online.run(connection, tenancy.migrations, tenancy.head())

    try:
        return paired(
            {
                "driver, statement by statement (floor)": floor,
                "driver, one message": one_message,
                "tenancy.provision": provisioner(tenancy),
                "Alembic loop": alembic_loop,
            },
            rounds=rounds,
            batch=BATCH,
        )
    finally:
        driver.close()
        tenancy.close()


def enter(driver: psycopg.Connection[Any], schema: str) -> None:
    """Make a schema and work in it until the transaction ends."""
    driver.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    driver.execute(sql.SQL("SET LOCAL search_path TO {}").format(sql.Identifier(schema)))


def on_sqlite(rounds: int) -> list[Figure]:
    """The figures on SQLite; the first is the floor."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        root = Path(directory)
        store = SqliteFiles(root / "storage", "tenant_{slug}/app.db")
        tenancy = Tenancy(store, Migrations(MIGRATIONS), readiness=["account"])
        tenancy.initialize()
        ddl = statements(store)

        def floor(number: int) -> None:
            connection = sqlite3.connect(root / f"floor_{number}.db", isolation_level=None)
            connection.execute("BEGIN")
            for text, values in ddl:
                connection.execute(text, values)
            connection.execute("COMMIT")
            connection.close()

        try:
            return paired(
                {"sqlite3, statement by statement (floor)": floor, "tenancy.provision": provisioner(tenancy)},
                rounds=rounds,
                batch=BATCH,
            )
        finally:
            tenancy.close()


def provisioner(tenancy: Tenancy) -> Callable[[int], object]:
    """Provision another tenant every time."""
    numbers = itertools.count()
    return lambda _: tenancy.provision(f"tenant{next(numbers)}")
