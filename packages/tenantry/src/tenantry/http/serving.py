"""Serve an application with uvicorn, as a platform should be served: no banner, no patience with slow clients.

The application is named as ``module:function``, for every worker process makes its own. SIGTERM and Ctrl-C stop taking
requests, let those at work finish for a while, and end the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from tenantry.errors import DeclarationError
from tenantry.http.metrics import SHARED

HEAD_TIMEOUT = 10.0  # seconds from the beginning of a request, or of a connection, until its headers are whole
MAX_HEAD = 32 * 1024  # bytes of a request line with its headers
DRAIN_TIMEOUT = 60.0  # seconds for a client to read an answer that is out
KEEP_ALIVE = 5  # seconds a connection may be idle between two requests
GRACE = 30  # seconds that requests at work are given when the server stops
MAX_CONNECTIONS = 1000  # of one worker
BACKLOG = 1024
COLLECT = (50_000, 20, 20)  # objects more than went until the young are looked through; how often the older ones
LOG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "uvicorn": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "tenantry": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
    },
}
MALFORMED = (
    b'{"type":"about:blank","title":"Bad Request","status":400,'
    b'"detail":"This is no HTTP request that is understood here.","request_id":""}'
)


class HeadTooLarge(Exception):
    """The parser calls back with more than is taken; it turns this into its own error."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with the limits it lacks: the time and the size of the headers, and the time to read an
    answer.
    """

    _timer: asyncio.TimerHandle | None = None
    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = 0
        if self._timer is None:
            self._await_head()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        head = (
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n" % len(MALFORMED)
        )
        self.transport.write(head + MALFORMED)
        self.transport.close()

    def timeout_keep_alive_handler(self) -> None:
        """The client sent nothing more. What it did not read by then it is given a while to read."""
        if self.transport.get_write_buffer_size():
            self._timer = self.loop.call_later(DRAIN_TIMEOUT, self.transport.abort)
        super().timeout_keep_alive_handler()

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_TIMEOUT, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > MAX_HEAD:
            raise HeadTooLarge(self._head)


class _Config(uvicorn.Config):
    """Loads an application, in the process that serves it."""

    def load(self) -> None:
        super().load()
        # What is loaded by now stays, so no collection need look at it; and one request makes so many objects that
        # Python would look for garbage among them some hundred times, and through all that the process holds every
        # few requests.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT)


def serve(factory: str, *, host: str, port: int, workers: int = 1) -> None:
    """Serve until told to stop. ``factory``: ``module:function`` that returns the application.

    :raises DeclarationError: the address cannot be listened on.
    """
    config = _Config(
        factory,
        factory=True,
        host=host,
        port=port,
        workers=workers,
        http=GuardedProtocol,
        ws="none",
        lifespan="on",
        log_config=LOG,
        access_log=False,  # the application writes its own, with the client's address and the request's identifier
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )
    listener = _listen(host, port)
    with contextlib.closing(listener), contextlib.suppress(KeyboardInterrupt):
        if workers == 1:
            uvicorn.Server(config).run(sockets=[listener])
            return
        with _shared_metrics():
            Multiprocess(config, sockets=[listener]).run()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=False)
    except OSError as error:
        raise DeclarationError(f"{host}:{port}", f"cannot listen there ({error.strerror or error}).") from error
    listener.set_inheritable(True)
    return listener


@contextlib.contextmanager
def _shared_metrics() -> Iterator[None]:
    """A directory in which the worker processes count together, unless the environment names one."""
    if os.environ.get(SHARED):
        yield
        return
    directory = tempfile.mkdtemp(prefix="tenantry-metrics-")
    os.environ[SHARED] = directory
    try:
        yield
    finally:
        os.environ.pop(SHARED)
        shutil.rmtree(directory, ignore_errors=True)
