"""What the doors of one application share: its tenancy, the lanes of threads, and what is counted.

Built once an application and process. Nothing connects before the first request.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from tenantry.errors import StoreUnavailable
from tenantry.http.bodies import Details
from tenantry.http.lanes import Lane
from tenantry.http.metrics import Metrics
from tenantry.http.settings import HttpSettings
from tenantry.registry.listing import Listing
from tenantry.registry.requests import Requests

if TYPE_CHECKING:
    from tenantry.tenancy import Tenancy

logger = logging.getLogger(__name__)

LOGIN_THREADS = 2  # a password costs tens of milliseconds of a processor, wrong ones too
STRANGERS_NOTED = 60  # refusals of callers without a valid token that are put into the audit trail a minute
PROBE_TIMEOUT = 3.0  # seconds a health check waits for the database
PROBE_KEPT = 1.0  # seconds that a good outcome of it stands

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Provisioning:
    """What ``POST /tenants`` takes: the model of its body, and what of it ``Tenancy.provision`` is given by name."""

    body: type[BaseModel]
    details: Callable[[Any], Mapping[str, Any]]


@dataclass(frozen=True)
class Summary:
    """What ``GET /tenants`` tells of each: the model, and what of it the application reads off the slug and the
    attributes that it keeps with a tenant.
    """

    body: type[BaseModel]
    details: Details


class Platform:
    """The shared parts of one platform."""

    def __init__(self, tenancy: Tenancy, settings: HttpSettings) -> None:
        self.tenancy = tenancy
        self.settings = settings
        reading, working, waiting = settings.read_timeout, settings.work_timeout, settings.waiting
        self.readers = Lane("read", threads=settings.readers, waiting=waiting, timeout=reading, retry_after=1)
        self.workers = Lane("work", threads=settings.workers, waiting=waiting, timeout=working, retry_after=10)
        self.logins = Lane("login", threads=LOGIN_THREADS, waiting=waiting // 4, timeout=reading, retry_after=5)
        self.exports = Lane("export", threads=settings.exports, waiting=waiting // 4, timeout=reading, retry_after=10)
        self.probes = Lane("probe", threads=1, waiting=8, timeout=PROBE_TIMEOUT, retry_after=1)
        self.strangers = Allowance(STRANGERS_NOTED, 60.0)
        self.metrics = Metrics([self.readers, self.workers, self.logins, self.exports])
        self._well_until = 0.0

    # Built at first use: they ask the store for its URL, which may start a server.

    @cached_property
    def listing(self) -> Listing:
        """The pages of tenants."""
        store = self.tenancy.store
        return Listing(store.control_engine, store.control_schema, store.describe())

    @cached_property
    def requests(self) -> Requests:
        """The keys of requests."""
        store = self.tenancy.store
        kept = self.settings.idempotency_kept
        return Requests(store.control_engine, store.control_schema, store.describe(), kept=kept)

    def probe(self) -> None:
        """Whether the control plane can be read and is this build's. That it is stands for a second, however often it
        is asked for; that it is not is looked at anew.

        :raises TenancyError: it is not.
        """
        if self._well_until < time.monotonic():
            again(self._look)
            self._well_until = time.monotonic() + PROBE_KEPT

    def _look(self) -> None:
        self.tenancy.registry.check()  # asks no more once it was so
        self.tenancy.registry.current()

    def close(self) -> bool:
        """Take no more work; tells whether some is still running."""
        lanes = (self.readers, self.workers, self.logins, self.exports, self.probes)
        running = [lane.close() for lane in lanes]  # all of them, whatever the first says
        return any(running)


def again(work: Callable[[], Answer]) -> Answer:
    """Do work that may be done twice; once more when the connection it was given turned out to be dead.

    One dead connection tells the pool that the others are too, so the second attempt gets a new one.
    """
    try:
        return work()
    except StoreUnavailable:
        return work()


class Allowance:
    """So many in so many seconds; what is above is counted and left out."""

    def __init__(self, number: int, seconds: float) -> None:
        self._number = number
        self._seconds = seconds
        self._guard = threading.Lock()
        self._until = 0.0
        self._left = 0
        self._skipped = 0

    def take(self) -> int | None:
        """How many were left out before this one, or None if this one is to be left out too."""
        with self._guard:
            now = time.monotonic()
            if now >= self._until:
                self._until, self._left = now + self._seconds, self._number
            if self._left == 0:
                self._skipped += 1
                return None
            self._left -= 1
            skipped, self._skipped = self._skipped, 0
            return skipped
