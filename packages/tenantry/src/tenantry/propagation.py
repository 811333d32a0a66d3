"""The current tenant in threads, processes and Celery jobs: carried there on purpose, absent otherwise.

asyncio needs none of this: a task begins with the tenant of the code that made it, and ``asyncio.to_thread`` takes it
along. Plain threads, executors and jobs begin with no tenant. Only the tenant is carried, no session and no
transaction; whether it is still served is asked when the work opens a session.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from tenantry import scope

HEADER = "tenantry_tenant"  # of a Celery message
_BEGUN = "_tenantry_begun"

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def detached() -> Iterator[None]:
    """Inside, there is no current tenant: for starting what outlives the present work, such as a task of the server's
    own.
    """
    begun = scope.begin(None)
    try:
        yield
    finally:
        scope.end(begun)


def carry(function: Callable[P, T]) -> Callable[P, T]:
    """The same function, which runs for the tenant that is current now, or for none, wherever it is called.

    An ``async def`` function stays one.
    """
    slug = scope.open_tenant()
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def work(*args: Any, **named: Any) -> Any:
            begun = scope.begin(slug)
            try:
                return await function(*args, **named)
            finally:
                scope.end(begun)

        return work  # type: ignore[return-value]  # a coroutine function again
    return functools.partial(_run, slug, function)


def _run(slug: str | None, function: Callable[..., T], *args: Any, **named: Any) -> T:
    begun = scope.begin(slug)
    try:
        return function(*args, **named)
    finally:
        scope.end(begun)


class CarryingExecutor(Executor):
    """An executor whose work runs for the tenant that was current when it was submitted, or for none.

    Wraps one of threads or of processes, which it shuts down with itself.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As the executor's."""
        return self._executor.submit(functools.partial(_run, scope.open_tenant(), fn, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As the executor's."""
        self._executor.shutdown(wait, cancel_futures=cancel_futures)


def connect_celery() -> None:
    """Have Celery jobs run for the tenant that was current where they were sent.

    Call it where the Celery application is made, so that both who sends jobs and who runs them do. A job that was sent
    without a tenant runs without one. What a job sends itself - a retry, the next link of a chain, the callback of a
    chord - goes out for its tenant. A job run in place (``task_always_eager``, ``apply()``) is part of the code that
    calls it. Calling this again changes nothing.
    """
    from celery import signals  # type: ignore[import-untyped]  # it has no types

    for signal, receiver in (
        (signals.before_task_publish, _put),
        (signals.task_prerun, _begin),
        (signals.task_postrun, _end),
    ):
        signal.connect(receiver, weak=False, dispatch_uid=f"tenantry{receiver.__name__}")


def _put(headers: dict[str, Any] | None = None, **_: Any) -> None:
    slug = scope.open_tenant()
    if headers is not None and slug is not None:
        headers[HEADER] = slug


def _begin(task: Any = None, **_: Any) -> None:
    request = task.request
    if not (request.is_eager or request.called_directly):
        slug = request.get(HEADER)
        setattr(request, _BEGUN, scope.begin(slug if isinstance(slug, str) else None))


def _end(task: Any = None, **_: Any) -> None:
    begun = task.request.__dict__.pop(_BEGUN, None)
    if begun is not None:
        scope.end(begun)
