"""The steps of an operation on one tenant as they happen: told before they begin, and timed.

They are kept here only as long as the operation runs; it writes them into the journal
(:mod:`tenantry.registry.journal`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tenantry.registry.journal import StepRecord
from tenantry.stores.faults import cause
from tenantry.tracing import span

logger = logging.getLogger(__name__)

STEPS = ("reserve", "create", "migrate", "seed", "verify", "activate")

Observer = Callable[[str, str], None]  # called with the slug and the step that begins now


class Clock:
    """Called with a step, a context in which it is done. ``observers`` are told of it before.

    A step that fails is recorded as failed, and its error goes on.
    """

    def __init__(self, slug: str, observers: Sequence[Observer]) -> None:
        self.slug = slug
        self.step = STEPS[0]
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
            with span(f"tenant.{step}", self.slug):
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
