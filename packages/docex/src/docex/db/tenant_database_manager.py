"""Tenants' connections by name, as the public package manages them.

Here connections are managed by themselves: on PostgreSQL all tenants share one pool, on SQLite the files least lately
used are closed. So nothing has to be called; what is offered does what its name says.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import sqlalchemy as sa
from sqlalchemy.orm import Session

from docex.database import close_connections
from docex.db import opened
from docex.db.connection import Database


class TenantDatabaseManager:
    """Any number of these may be made; they manage the same connections, those of this process."""

    def get_tenant_engine(self, tenant_id: str, read_only: bool = False) -> sa.Engine:
        """The engine of a tenant; the arguments are those of :class:`~docex.db.connection.Database`."""
        return Database(tenant_id=tenant_id, read_only=read_only).get_engine()

    def get_tenant_session(self, tenant_id: str) -> Session:
        """A session on a tenant that the caller commits and closes."""
        return Database(tenant_id=tenant_id).get_session()

    def tenant_transaction(self, tenant_id: str) -> AbstractContextManager[Session]:
        """A session on a tenant that commits at the end of the block."""
        return Database(tenant_id=tenant_id).transaction()

    def list_tenant_databases(self) -> list[str]:
        """The tenants that this process has opened. For all there are: ``docex tenant list``."""
        return opened.tenants()

    def close_tenant_connection(self, tenant_id: str) -> None:
        """Close the connections that are the tenant's own; work on it later opens them again.

        On PostgreSQL none is: they serve all tenants.
        """
        if tenant_id not in opened.tenants():
            return
        database = Database(tenant_id=tenant_id, read_only=True)
        for write in (False, True):
            with database.session(write=write) as session:
                engine = session.get_bind().engine
            if engine.dialect.name == "sqlite":
                engine.dispose()
        opened.forget(tenant_id)

    def close_all_connections(self) -> None:
        """Close every connection of this process; later work opens them again."""
        close_connections()
        opened.forget()
