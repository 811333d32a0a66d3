"""An operation on one tenant that is in the journal from its beginning: its steps, its failure, its end.

The end is written together with the change that it is about, in one transaction of the registry, and only while the
tenant is still this operation's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa

from tenantry.errors import TenantBusy
from tenantry.registry import audit, journal
from tenantry.registry.registry import Registry
from tenantry.registry.tables import tables
from tenantry.steps import Clock, Observer, outcome
from tenantry.tenant import Tenant


class Work(Clock):
    """One operation, opened already: the token of its tenant is ours until another operation takes it."""

    def __init__(
        self,
        registry: Registry,
        schema: str | None,
        tenant: Tenant,
        kind: str,
        operation: str,
        observers: Sequence[Observer],
    ) -> None:
        super().__init__(tenant.slug, observers, kind)
        self.registry = registry
        self.tenant = tenant
        self.operation = operation
        self._tables = tables(schema)

    def outcome(self, action: str) -> AbstractContextManager[None]:
        """Write a failure into the journal and the audit trail; the error goes on."""
        return outcome(self.registry, self.tenant, self.operation, self, action)

    def claim(self, connection: sa.Connection) -> None:
        """Hold the tenant's row in this transaction. :raises TenantBusy: it is no longer ours."""
        self.registry.lock_row(self.tenant, self.operation, connection=connection)

    def mark(self, connection: sa.Connection, **changes: Any) -> None:
        """Change the tenant's record in the middle of the work. :raises TenantBusy: it is no longer ours."""
        table = self._tables.tenant
        ours = (table.c.uid == self.tenant.uid) & (table.c.operation_uid == self.operation)
        if connection.execute(sa.update(table).where(ours).values(updated_at=journal.now(), **changes)).rowcount != 1:
            raise TenantBusy(self.tenant.slug)

    def settle(
        self, connection: sa.Connection, action: str, details: Mapping[str, Any] | None = None, **changes: Any
    ) -> None:
        """Change the tenant's record, end the operation and write both down. :raises TenantBusy: it is not ours."""
        self.mark(connection, operation_uid=None, **changes)
        at = journal.now()
        journal.close_operation(connection, self._tables, self.operation, steps=self.records, error=None, at=at)
        audit.append(connection, self._tables, audit.Record(at, action, self.tenant.slug, details, None, None))
