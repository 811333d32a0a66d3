"""A small application for the tests of routing: the one row of a tenant's canary table is the tenant's own slug.

Child processes import it too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tenantry import Migrations, PostgresSchemas, Seeding, SqliteFiles, Tenancy

MIGRATIONS = Path(__file__).parent / "migrations"
canary = sa.table("canary", sa.column("owner", sa.Text))
item = sa.table("item", sa.column("id", sa.Integer), sa.column("body", sa.Text))
owner = sa.select(canary.c.owner)


def mark(seeding: Seeding) -> None:
    """Every tenant begins with its canary."""
    if seeding.session.scalar(owner) is None:
        seeding.session.execute(sa.insert(canary).values(owner=seeding.tenant.slug))


def open_tenancy(
    kind: str, where: str, *, migrations: str | Path = MIGRATIONS, remembered: float = 5.0, **settings: Any
) -> Tenancy:
    """The application on one of the stores."""
    if kind == "schema":
        store: PostgresSchemas | SqliteFiles = PostgresSchemas(where, name="org_{slug}", **settings)
    else:
        store = SqliteFiles(where, name="tenant_{slug}/data.db", **settings)
    return Tenancy(store, Migrations(migrations), readiness=("canary", "item"), seeds=[mark], remembered=remembered)
