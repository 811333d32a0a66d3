"""Threads for work that blocks, each kind in a lane of its own with a bound on what may wait.

A lane that is full refuses at once, so one kind of work never takes the threads or the memory of another, and the event
loop never waits. What has begun cannot be stopped: a caller who waited too long is told so, and the work goes on.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tenantry.http.errors import TooBusy, TookTooLong

Answer = TypeVar("Answer")


class Lane:
    """``threads`` at work and ``waiting`` more in a queue. ``retry_after``: seconds that a refused caller is told."""

    def __init__(self, name: str, *, threads: int, waiting: int, timeout: float, retry_after: float) -> None:
        self.name = name
        self.threads = threads
        self.timeout = timeout
        self._bound = threads + waiting
        self._retry_after = retry_after
        self._taken = 0
        self._guard = threading.Lock()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"tenantry-{name}")

    @property
    def taken(self) -> int:
        """How many are at work or wait."""
        return self._taken

    def submit(self, work: Callable[[], Answer]) -> Future[Answer]:
        """Have the work done in a thread, with the caller's context variables.

        :raises TooBusy: the lane is full.
        """
        with self._guard:
            if self._taken >= self._bound:
                raise TooBusy(self._retry_after)
            self._taken += 1
        try:
            future = self._executor.submit(contextvars.copy_context().run, work)
        except BaseException:
            self._leave(None)
            raise
        future.add_done_callback(self._leave)
        return future

    def _leave(self, _: Future[Answer] | None) -> None:
        with self._guard:
            self._taken -= 1

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Have the work done and wait for it.

        :raises TooBusy: the lane is full, or the work waited for a thread all its time; nothing was done.
        :raises TookTooLong: it began and did not end in its time; it goes on.
        """
        future = self.submit(work)
        waiter = asyncio.wrap_future(future)
        done, _ = await asyncio.wait({waiter}, timeout=self.timeout)
        if done:
            return waiter.result()
        if future.cancel():
            raise TooBusy(self._retry_after)
        waiter.add_done_callback(_unheard)
        raise TookTooLong(self.timeout)

    def close(self) -> bool:
        """Take no more work and drop what waits; tells whether some of it is still running."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        return self._taken > 0


def _unheard(waiter: asyncio.Future[Answer]) -> None:
    """Take the outcome of work that nobody waits for any more, so that the loop does not report it as lost."""
    if not waiter.cancelled():
        waiter.exception()
