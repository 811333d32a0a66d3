"""The outermost layer of the platform's application: every request gets an identifier, an address and limits here.

Pure ASGI. A request whose Host is not served, or whose body is too long or too slow, is refused before any of the
application runs. Whatever goes wrong further in leaves as a problem document.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenantry.http.addresses import address_of, host_allowed
from tenantry.http.errors import BodyTooLarge, BodyTooSlow, HostRejected
from tenantry.http.problems import problem_of
from tenantry.http.settings import HttpSettings
from tenantry.registry.uids import new_uid

access = logging.getLogger("tenantry.http.access")

# On every answer: none is to be kept by a cache or to be guessed at by a browser.
HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

Observe = Callable[[Scope, int, float], None]  # called with the scope, the status and the seconds of every request


@dataclass(frozen=True)
class Facts:
    """What is known of one request before it is looked into."""

    request_id: str
    address: str


class Edge:
    """Wraps the application. ``observe`` is told of every request when its answer is out."""

    def __init__(self, app: ASGIApp, settings: HttpSettings, observe: Observe) -> None:
        self.app = app
        self.settings = settings
        self.observe = observe
        self._proxies = settings.networks()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        facts = self._facts(scope)
        scope["tenantry.request"] = facts
        started = time.perf_counter()
        answer = _Answer(send, facts.request_id, self.settings.send_timeout)
        try:
            if not host_allowed(scope["headers"], self.settings.trusted_hosts):
                raise HostRejected()
            await self.app(scope, await self._body(scope, receive), answer)
        except Exception as error:  # whatever it is, it becomes an answer here, and nowhere else
            if answer.status is not None:
                raise  # part of the answer is out, or its reader is too slow: the server closes the connection
            await self._fail(error, scope, receive, answer)
        finally:
            seconds = time.perf_counter() - started
            self.observe(scope, answer.status or 500, seconds)
            access.info(
                "%s %s %s %d %.1f ms %s",
                facts.address,
                scope["method"],
                ascii(scope["path"])[1:-1],
                answer.status or 500,
                seconds * 1000,
                facts.request_id,
            )

    async def _fail(self, error: Exception, scope: Scope, receive: Receive, answer: _Answer) -> None:
        response = problem_of(error, scope["tenantry.request"].request_id)
        if isinstance(error, BodyTooLarge | BodyTooSlow):
            response.headers["Connection"] = "close"  # what is left of the body is not waited for
        await response(scope, receive, answer)

    def _facts(self, scope: Scope) -> Facts:
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given.decode() if _REQUEST_ID.fullmatch(given) else new_uid()
        client = scope.get("client")
        return Facts(request_id, address_of(client[0] if client else None, scope["headers"], self._proxies))

    async def _body(self, scope: Scope, receive: Receive) -> Receive:
        """The body, read whole before anything is done with it: bodies here are small, and a late one costs no thread.

        :raises BodyTooLarge, BodyTooSlow: it breaks a limit.
        """
        limit = self.settings.max_body
        length = next((value for name, value in scope["headers"] if name == b"content-length"), None)
        if length is None and not any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            return receive
        if length is not None and (not length.isdigit() or int(length) > limit):
            raise BodyTooLarge(limit)
        chunks: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(self.settings.body_timeout):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return _replayed(message, receive)
                    chunk = message.get("body", b"")
                    size += len(chunk)
                    if size > limit:
                        raise BodyTooLarge(limit)
                    chunks.append(chunk)
                    more = message.get("more_body", False)
        except TimeoutError as error:
            raise BodyTooSlow(self.settings.body_timeout) from error
        return _replayed({"type": "http.request", "body": b"".join(chunks), "more_body": False}, receive)


def _replayed(message: Message, receive: Receive) -> Receive:
    """What was received already, then whatever comes."""
    messages = [message]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


class _Answer:
    """The way out: adds the headers of every answer, remembers the status, and does not wait for ever."""

    def __init__(self, send: Send, request_id: str, timeout: float) -> None:
        self._send = send
        self._request_id = request_id
        self._timeout = timeout
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers: list[Any] = [*message.get("headers", []), *HEADERS]
            headers.append((b"x-request-id", self._request_id.encode()))
            message = {**message, "headers": headers}
            await self._send(message)
            return
        async with asyncio.timeout(self._timeout):
            await self._send(message)
