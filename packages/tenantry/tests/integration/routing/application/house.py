"""The application on one store, and what a test needs to look behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import psycopg
import sqlalchemy as sa
from canaries import open_tenancy

from tenantry import Tenancy


@dataclass
class House:
    """One store with its control plane; every tenancy opened on it is closed with it."""

    kind: str
    where: str  # the URL or the root
    _opened: list[Tenancy] = field(default_factory=list)

    def open(self, **settings: Any) -> Tenancy:
        """Another tenancy on the same store."""
        tenancy = open_tenancy(self.kind, self.where, **settings)
        self._opened.append(tenancy)
        return tenancy

    @property
    def tenancy(self) -> Tenancy:
        """The one that the fixture opened."""
        return self._opened[0]

    def provision(self, *slugs: str) -> None:
        """Make tenants."""
        for slug in slugs:
            self.tenancy.provision(slug)

    def close(self) -> None:
        """Close what was opened."""
        for tenancy in self._opened:
            tenancy.close()

    async def aclose(self) -> None:
        """Close what was opened, for asyncio too."""
        for tenancy in self._opened:
            await tenancy.aclose()

    def admin(self) -> psycopg.Connection[Any]:
        """A connection of the owner's that is none of the engine's."""
        url = sa.make_url(self.where).set(drivername="postgresql")
        return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)

    def kill_backends(self) -> int:
        """End every other connection to the database, as an administrator or a crash would."""
        with self.admin() as connection:
            row = connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchone()
        assert row is not None
        return int(row[0])

    def bodies(self, slug: str) -> list[str]:
        """What stands in a tenant's items, in order."""
        with self.tenancy.session(slug) as session:
            return list(session.scalars(sa.text("SELECT body FROM item ORDER BY id")))
