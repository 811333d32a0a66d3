"""One request on its way through a door: who makes it, whether they may, and what it leaves in the audit trail.

Every question and every change runs in a lane of threads. A change is looked at in one hop (token, role, the request's
key), done in another, and its outcome is written down whichever way it ends: what the tenancy does is recorded there,
refusals are recorded here.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic_core import to_json
from starlette.responses import Response

from tenantry.errors import TenancyError, TokenRefused
from tenantry.http.edge import Facts
from tenantry.http.errors import KeyInUse, KeyReused, TooBusy, TookTooLong, ValueRejected
from tenantry.http.lanes import Lane
from tenantry.http.platform import Platform, again
from tenantry.http.problems import status_of
from tenantry.iam.iam import Principal
from tenantry.iam.matrix import Action
from tenantry.registry.requests import LEASE, Taken, Ticket
from tenantry.stores.faults import scrubbed

logger = logging.getLogger(__name__)

KEY_LENGTHS = range(16, 256)  # characters of an Idempotency-Key; an answer is sealed with it
MAX_SLUG = 128  # characters, of the audit trail's column
STRANGER = "anonymous"

Value = TypeVar("Value")

bearer = HTTPBearer(auto_error=False, description="The access_token that /auth/login gave")


@dataclass(frozen=True)
class Done:
    """What a change answers. ``body``: JSON values, with times; None is an empty body."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def dumped(self) -> bytes:
        """The answer as it is kept under its request's key."""
        text = None if self.body is None else to_json(self.body).decode()
        return json.dumps([self.status, dict(self.headers), text]).encode()

    def response(self) -> Response:
        """The answer as it is sent."""
        return answered(self.body, self.status, self.headers)


@dataclass(frozen=True)
class Change:
    """What a request wants to change, as the audit trail names it.

    ``recorded``: what is done writes itself down; without it the call does, when it is done.
    """

    name: str
    action: Action
    slug: str | None = None
    recorded: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)


class Call:
    """One request. Made by FastAPI for every route: see ``Calling``."""

    def __init__(self, platform: Platform, request: Request, token: str | None, key: str | None = None) -> None:
        facts: Facts = request.scope["tenantry.request"]
        self.platform = platform
        self.request = request
        self.request_id = facts.request_id
        self.address = facts.address
        self.token = token
        self._key = key

    # -- questions

    async def read(self, action: Action | None, work: Callable[[Principal], Value]) -> Value:
        """Ask something that the action allows; None: every platform user may.

        :raises TokenRefused, Forbidden: the caller may not. :raises the errors of the work.
        """
        return await self.platform.readers.run(lambda: again(lambda: work(self.principal(action))))

    def principal(self, action: Action | None) -> Principal:
        """Who calls, once it is sure that they may. Blocks: for a lane's thread.

        :raises TokenRefused, Forbidden: they may not.
        """
        principal = self._authenticated()
        if action is not None:
            self.platform.tenancy.iam.require(principal, action)
        return principal

    def _authenticated(self) -> Principal:
        if self.token is None:
            raise TokenRefused("there is none")
        return self.platform.tenancy.iam.authenticate(self.token)

    # -- changes

    async def change(self, change: Change, work: Callable[[Principal], Done], *, lane: Lane | None = None) -> Response:
        """Have something changed, once for every Idempotency-Key, and written down.

        ``lane``: where it is done; without one among the work on tenants.
        """
        platform = self.platform
        body = await self.request.body()
        admitted = await platform.readers.run(lambda: self._admit(change, body))
        principal, ticket, kept = admitted
        if kept is not None:
            platform.metrics.replays.inc()
            return _replayed(kept)
        chosen = lane or platform.workers
        held = None if ticket is None else asyncio.create_task(self._hold(ticket))
        try:
            done = await chosen.run(lambda: self._perform(change, principal, ticket, work))
        except TooBusy as error:
            refusal = error
            await platform.readers.run(lambda: self._turned_away(change, principal, ticket, refusal))
            raise
        except TookTooLong:
            held = None  # the work goes on and keeps its key
            raise
        finally:
            if held is not None:
                held.cancel()
        return done.response()

    def _admit(self, change: Change, body: bytes) -> tuple[Principal, Ticket | None, bytes | None]:
        principal = None
        try:
            principal = again(self._authenticated)
            self.platform.tenancy.iam.require(principal, change.action)
            if self._key is None:
                return principal, None, None
            ticket = self._ticket(principal, body)
            return principal, ticket, again(lambda: self._take(ticket))
        except TenancyError as error:
            self.note(change, error, principal)
            raise

    def _ticket(self, principal: Principal, body: bytes) -> Ticket:
        key, url = self._key or "", self.request.url
        if len(key) not in KEY_LENGTHS or not key.isascii() or not key.isprintable():
            reason = f"use {KEY_LENGTHS.start} to {KEY_LENGTHS.stop - 1} printable ASCII characters, such as a UUID."
            raise ValueRejected("Idempotency-Key", reason)
        parts = (self.request.method.encode(), url.path.encode(), url.query.encode(), body)
        return Ticket.of(principal.user.uid, key, *parts)

    def _take(self, ticket: Ticket) -> bytes | None:
        try:
            return self.platform.requests.take(ticket)
        except Taken as taken:
            raise KeyInUse(1.0) if taken.same else KeyReused() from taken

    async def _hold(self, ticket: Ticket) -> None:
        """Renew the lease of a request's key until there is an answer, or none to come."""
        kept = True
        while kept:
            await asyncio.sleep(LEASE / 3)
            try:
                kept = await self.platform.readers.run(lambda: self.platform.requests.renew(ticket))
            except TenancyError as error:
                logger.warning("lease not renewed", extra={"request": self.request_id, "reason": str(error)})

    def _perform(
        self, change: Change, principal: Principal, ticket: Ticket | None, work: Callable[[Principal], Done]
    ) -> Done:
        platform = self.platform
        try:
            with platform.tenancy.acting(principal.user.email, origin=self.address):
                done = work(principal)
                if not change.recorded:
                    details = {**change.details, "request": self.request_id}
                    platform.tenancy.registry.audit(change.name, _slug(change.slug), details=details)
        except Exception as error:  # whatever refused it is written down, and goes on
            # What the engine wrote down itself is not written twice.
            if isinstance(error, TenancyError) and not error.recorded:
                self.note(change, error, principal)
            self._give_back(ticket)
            raise
        if ticket is not None:
            try:
                again(lambda: platform.requests.answer(ticket, done.dumped()))
            except TenancyError as error:  # it is done, and the caller is told so all the same
                logger.warning("answer not kept", extra={"request": self.request_id, "reason": str(error)})
        return done

    def _turned_away(self, change: Change, principal: Principal, ticket: Ticket | None, error: TooBusy) -> None:
        self.note(change, error, principal)
        self._give_back(ticket)

    def _give_back(self, ticket: Ticket | None) -> None:
        """Let the request be made again under its key: it was refused, or failed."""
        if ticket is None:
            return
        try:
            again(lambda: self.platform.requests.give_back(ticket))
        except TenancyError as error:  # its lease ends by itself
            logger.warning("key not given back", extra={"request": self.request_id, "reason": str(error)})

    def note(self, change: Change, error: TenancyError, principal: Principal | None) -> None:
        """Write into the audit trail that a change was refused or failed; the error is on its way to the caller."""
        status = status_of(error)
        skipped = 0
        if principal is None:
            allowed = self.platform.strangers.take()
            if allowed is None:
                return
            skipped = allowed
        details: dict[str, Any] = {
            **change.details,
            "status": status,
            "error": type(error).__name__,
            "reason": scrubbed(str(error)),
            "request": self.request_id,
        }
        if skipped:
            details["left_out"] = skipped  # refusals of strangers beyond what is written down
        try:
            self.platform.tenancy.registry.audit(
                change.name,
                _slug(change.slug),
                outcome="refused" if status < 500 else "failed",
                details=details,
                actor=STRANGER if principal is None else principal.user.email,
                origin=self.address,
            )
        except TenancyError as unwritten:  # the database is gone: the caller is told of the first error
            logger.warning("refusal not recorded", extra={"request": self.request_id, "reason": str(unwritten)})


async def opening(request: Request) -> Call:
    """The call of a route that anybody may take."""
    return Call(request.app.state.platform, request, None)


async def calling(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Call:
    """The call of a route that asks."""
    return Call(request.app.state.platform, request, credentials.credentials if credentials else None)


async def changing(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    idempotency_key: Annotated[
        str | None,
        Header(
            description="The same key with the same request is done once and answered alike, for a day: send a UUID"
        ),
    ] = None,
) -> Call:
    """The call of a route that changes something."""
    token = credentials.credentials if credentials else None
    return Call(request.app.state.platform, request, token, idempotency_key)


Open = Annotated[Call, Depends(opening)]
Asking = Annotated[Call, Depends(calling)]
Changing = Annotated[Call, Depends(changing)]


def answered(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON values, with times, as an answer."""
    content = b"" if body is None else to_json(body)
    return Response(content, status, dict(headers or {}), None if body is None else "application/json")


def _replayed(kept: bytes) -> Response:
    status, headers, text = json.loads(kept)
    headers["Idempotency-Replayed"] = "true"
    return Response(text or b"", status, headers, None if text is None else "application/json")


def _slug(slug: str | None) -> str | None:
    """The slug of a record, as far as the audit trail can hold what was asked for."""
    return None if slug is None else "".join(letter if letter.isprintable() else "?" for letter in slug[:MAX_SLUG])
