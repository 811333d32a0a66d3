"""An operation on one tenant that is in the journal from its beginning: its steps, its failure, its end.

The end is written together with the change that it is about, in one transaction of the registry, and only while the
tenant is still this operation's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa

from tenantry.errors import TenancyError, TenantBusy
from tenantry.registry import audit, journal
from tenantry.registry.journal import StepRecord
from tenantry.registry.registry import Registry
from tenantry.registry.tables import tables
from tenantry.stores.faults import cause
from tenantry.tenant import Tenant
from tenantry.tracing import span

logger = logging.getLogger(__name__)

Observer = Callable[[str, str], None]  # called with the slug and the step that begins now


class Work:
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
        self.registry = registry
        self.tenant = tenant
        self.operation = operation
        self.kind = kind
        self.step = "reserve"
        self.records: list[StepRecord] = []
        self._tables = tables(schema)
        self._observers = observers

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """One step, timed; observers are told before it begins."""
        self.step = step
        for observe in self._observers:
            observe(self.tenant.slug, step)
        start = time.perf_counter()
        try:
            with span(f"{self.kind}.{step}", self.tenant.slug):
                yield
        except BaseException as error:
            self.records.append(StepRecord(step, time.perf_counter() - start, "failed", cause(error)))
            raise
        self.records.append(StepRecord(step, time.perf_counter() - start))
        logger.debug("step done", extra={"tenant": self.tenant.slug, "step": step})

    @contextmanager
    def outcome(self, action: str) -> Iterator[None]:
        """Write a failure into the journal and the audit trail; the error goes on."""
        try:
            yield
        except TenantBusy:
            raise  # another operation took the tenant over; its record is no longer ours to write
        except BaseException as error:
            text = str(error) if isinstance(error, TenancyError) else cause(error)
            with suppress(TenancyError):  # the database may be what failed
                self.registry.fail(
                    self.tenant,
                    self.operation,
                    step=self.step,
                    error=text or type(error).__name__,
                    steps=self.records,
                    action=action,
                )
                if isinstance(error, TenancyError):
                    error.recorded = True
            raise

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
