"""What all routes of the laboratory share: the tenancy, the users' identity, and lanes of threads.

Built once an application and process. Nothing connects before the first request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastapi import Response
from pydantic import TypeAdapter

from beak_lims.api.problems import constraints
from beak_lims.identity.identity import Identity
from tenantry.http.lanes import Lane
from tenantry.stores.faults import faults

if TYPE_CHECKING:
    from beak_lims.api.doors import Work
    from tenantry.http.settings import HttpSettings
    from tenantry.tenancy import Tenancy

THREADS = 4  # at work on requests of laboratories, each with a connection; more would wait for the interpreter
LONG_THREADS = 2  # at work on what takes longer than a reader waits, such as files
LOGIN_THREADS = 2  # a password costs tens of milliseconds of a processor, wrong ones too


class Served:
    """The shared parts of one application."""

    def __init__(self, tenancy: Tenancy, settings: HttpSettings) -> None:
        self.tenancy = tenancy
        self.identity = Identity(tenancy)
        waiting, timeout = settings.waiting, settings.read_timeout
        self.work = Lane("laboratory", threads=THREADS, waiting=waiting, timeout=timeout, retry_after=1)
        self.long = Lane(
            "laboratory-long",
            threads=LONG_THREADS,
            waiting=waiting // 4,
            timeout=settings.work_timeout,
            retry_after=10,
        )
        self.logins = Lane("identity", threads=LOGIN_THREADS, waiting=waiting // 4, timeout=timeout, retry_after=5)

    async def run(self, work: Work, call: Callable[[], Any], answer: TypeAdapter[Any] | None, status: int) -> Response:
        """Do the work of one route: in its tenant's transaction, committed before the answer is sent."""
        lane = self.long if work.long_running else self.work
        return await lane.run(lambda: self._run(work, call, answer, status))

    def _run(self, work: Work, call: Callable[[], Any], answer: TypeAdapter[Any] | None, status: int) -> Response:
        tenancy = self.tenancy
        with (
            faults(tenancy.store.describe(work.tenant.location)),
            constraints(),
            tenancy.session(work.tenant.slug) as session,
        ):
            work.enter(session)
            answered = None if work.once is None else work.once.take(session, work.context)
            if answered is not None:
                return answered
            made = call()
            if isinstance(made, Response):
                response = made
            elif answer is None:
                response = Response(None, status)
            else:
                session.flush()  # what the database gives, such as times, is in the answer too
                told = answer.dump_json(answer.validate_python(made, from_attributes=True))
                response = Response(told, status, media_type="application/json")
                if work.once is not None:
                    work.once.answer(session, work.context, status, told)
        response.headers.update(work.headers)
        return response

    async def log_in(self, call: Callable[[], Any]) -> Any:
        """Do work that verifies a password; it opens sessions of its own."""
        return await self.logins.run(call)

    def close(self) -> None:
        """Take no more work."""
        self.work.close()
        self.long.close()
        self.logins.close()
