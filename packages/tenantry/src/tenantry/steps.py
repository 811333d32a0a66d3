"""The steps of an operation on one tenant as they happen: told before they begin, timed, and a failure written down.

They are kept here only as long as the operation runs; what ends it well writes them into the journal
(:mod:`tenantry.registry.journal`) together with the change that it is about.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from tenantry.errors import TenancyError, TenantBusy
from tenantry.registry.journal import StepRecord
from tenantry.registry.registry import Registry
from tenantry.stores.faults import cause
from tenantry.tenant import Tenant
from tenantry.tracing import span

logger = logging.getLogger(__name__)

Observer = Callable[[str, str], None]  # called with the slug and the step that begins now


class Clock:
    """Called with a step, a context in which it is done. ``observers`` are told of it before.

    A step that fails is recorded as failed, and its error goes on. ``kind`` begins the names of the steps' spans.
    """

    def __init__(self, slug: str, observers: Sequence[Observer], kind: str = "tenant") -> None:
        self.slug = slug
        self.kind = kind
        self.step = "reserve"  # the first of every operation: its record is written
        self.records: list[StepRecord] = []
        self._observers = observers
        self._started: float | None = None

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        self.step = step
        for observe in self._observers:
            observe(self.slug, step)
        start = self._started = time.perf_counter()
        try:
            with span(f"{self.kind}.{step}", self.slug):
                yield
        except BaseException as error:
            self.records.append(StepRecord(step, time.perf_counter() - start, "failed", cause(error)))
            raise
        finally:
            self._started = None
        self.records.append(StepRecord(step, time.perf_counter() - start))
        logger.debug("step done", extra={"tenant": self.slug, "step": step, "seconds": self.records[-1].seconds})

    def so_far(self) -> list[StepRecord]:
        """The steps that are done, and the one that is done once this is written."""
        if self._started is None:
            return self.records
        return [*self.records, StepRecord(self.step, time.perf_counter() - self._started)]


@contextmanager
def outcome(registry: Registry, tenant: Tenant, operation: str, clock: Clock, action: str) -> Iterator[None]:
    """Write a failure of the operation on the tenant's record, into the journal and the audit trail; the error goes on.

    When the database is gone it cannot be written; the tenant stays in its operation, which can be resumed.
    """
    try:
        yield
    except TenantBusy:
        raise  # another operation took the tenant over; its record is no longer ours to write
    except BaseException as error:
        text = str(error) if isinstance(error, TenancyError) else cause(error)
        logger.warning("operation failed", extra={"tenant": tenant.slug, "step": clock.step, "action": action})
        with suppress(TenancyError):  # the database may be what failed
            registry.fail(
                tenant,
                operation,
                step=clock.step,
                error=text or type(error).__name__,
                steps=clock.records,
                action=action,
            )
            if isinstance(error, TenancyError):
                error.recorded = True
        raise
