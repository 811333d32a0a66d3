"""Where every store stands by its own version table, read in batches.

Reads only. What other processes change meanwhile may or may not be seen.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from urllib.parse import quote

import sqlalchemy as sa
from psycopg import sql

from tenantry.fleet.files import standing
from tenantry.stores.base import Store
from tenantry.stores.faults import faults
from tenantry.stores.sqlite import SqliteFiles
from tenantry.tenant import Tenant

BATCH = 100  # version tables in one query; the time of a query grows faster than their number

Found = tuple[dict[str, str | None], list[Tenant]]  # revisions by uid, and tenants whose place is missing


def read(store: Store, tenants: Sequence[Tenant], version_table: str) -> Found:
    """Where these tenants' stores stand: None for base; several heads are joined by ","."""
    if isinstance(store, SqliteFiles):
        return _files(store, tenants, version_table)
    return _schemas(store, tenants, version_table)


def _schemas(store: Store, tenants: Sequence[Tenant], version_table: str) -> Found:
    found: dict[str, str | None] = {}
    schemas = sa.text("SELECT nspname FROM pg_namespace")
    tables = sa.text(
        "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relname = :version_table AND c.relkind = 'r'"
    )
    with faults(store.describe()), store.control_engine().connect() as connection:
        there = set(connection.execute(schemas).scalars())
        versioned = set(connection.execute(tables, {"version_table": version_table}).scalars())
        connection.rollback()
        missing = [tenant for tenant in tenants if tenant.location not in there]
        for tenant in tenants:
            if tenant.location in there and tenant.location not in versioned:
                found[tenant.uid] = None
        readable = [tenant for tenant in tenants if tenant.location in versioned]
        for batch in _batches(readable):
            # A transaction each, so that none holds the locks of more tables than one batch has.
            with connection.begin():
                seen: dict[str, list[str]] = {tenant.uid: [] for tenant in batch}
                query = sql.SQL(" UNION ALL ").join(
                    sql.SQL("SELECT {}, version_num FROM {}").format(
                        sql.Literal(tenant.uid), sql.Identifier(tenant.location, version_table)
                    )
                    for tenant in batch
                )
                rows = connection.exec_driver_sql(query.as_string(None), execution_options={"no_parameters": True})
                for uid, revision in rows:
                    seen[uid].append(revision)
            found |= {uid: ",".join(sorted(revisions)) or None for uid, revisions in seen.items()}
    return found, missing


def _batches(tenants: Sequence[Tenant]) -> Iterator[Sequence[Tenant]]:
    for start in range(0, len(tenants), BATCH):
        yield tenants[start : start + BATCH]


def _files(store: SqliteFiles, tenants: Sequence[Tenant], version_table: str) -> Found:
    found: dict[str, str | None] = {}
    missing: list[Tenant] = []
    quoted = '"' + version_table.replace('"', '""') + '"'
    for tenant in tenants:
        path = store.path(tenant.location)
        if not path.is_file():
            missing.append(tenant)
            continue
        with (
            faults(str(path)),
            closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as driver,
        ):
            found[tenant.uid] = standing(driver, version_table, quoted)
    return found, missing
