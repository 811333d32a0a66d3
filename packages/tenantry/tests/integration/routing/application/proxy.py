"""A relay in front of PostgreSQL that writes down what a client sends, and how often it waits for an answer."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL

PORT = 5432


@dataclass
class Relay:
    """Listens on a Unix socket in ``directory``; one client at a time is enough."""

    directory: Path
    server: URL
    sent: list[tuple[str, bytes]] = field(default_factory=list)  # type and content of each message of the client
    waits: int = 0  # how often the client fell silent until the server had answered
    _threads: list[threading.Thread] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Relay:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.directory / f".s.PGSQL.{PORT}"))
        self._listener.listen()
        self._listener.settimeout(0.05)
        self._start(self._accept)
        return self

    def __exit__(self, *raised: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    @property
    def url(self) -> str:
        """The server's URL by way of the relay."""
        query = {"host": str(self.directory), "port": str(PORT), "sslmode": "disable", "gssencmode": "disable"}
        return self.server.set(host=None, port=None, query=query).render_as_string(hide_password=False)

    def clear(self) -> None:
        """Forget what was written down."""
        self.sent.clear()
        self.waits = 0

    def _start(self, work: object, *given: object) -> None:
        thread = threading.Thread(target=work, args=given, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                self._start(self._relay, client)

    def _connect(self) -> socket.socket:
        host = str(self.server.query.get("host") or self.server.host or "localhost")
        port = int(str(self.server.query.get("port") or self.server.port or PORT))
        if host.startswith("/"):
            connected = socket.socket(socket.AF_UNIX)
            connected.connect(f"{host}/.s.PGSQL.{port}")
            return connected
        return socket.create_connection((host, port))

    def _relay(self, client: socket.socket) -> None:
        waiting, begun, buffer = True, False, b""
        with client, self._connect() as server, selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ)
            ready.register(server, selectors.EVENT_READ)
            while not self._stopping.is_set():
                for key, _ in ready.select(0.05):
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not data:
                        return
                    if key.fileobj is server:
                        waiting = True
                        client.sendall(data)
                        continue
                    self.waits += waiting
                    waiting = False
                    buffer += data
                    while True:
                        head = 1 if begun else 0  # the first message has no type
                        if len(buffer) < head + 4:
                            break
                        (size,) = struct.unpack_from("!I", buffer, head)
                        if len(buffer) < head + size:
                            break
                        self.sent.append((buffer[:head].decode(), buffer[head + 4 : head + size].rstrip(b"\0")))
                        buffer, begun = buffer[head + size :], True
                    server.sendall(data)


def relay(directory: Path, url: str) -> Relay:
    """A relay in front of the server of this URL."""
    return Relay(directory, sa.make_url(url))
