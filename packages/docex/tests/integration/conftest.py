"""Real servers on this machine for routes and storages: SFTP, HTTP with and without TLS, S3."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "partner", "geheim-9f3"


@dataclass
class SftpServer:
    """An SFTP server whose files lie in ``root``."""

    root: Path
    port: int
    host_key: str
    fingerprint: str
    key_file: Path  # of a user who may come in without a password
    plain_rename_only: bool = False
    cut_after: int | None = None  # bytes of one file, after which the connection is broken
    logins: int = 0


@dataclass
class HttpServer:
    """An HTTP server that keeps what it is given in ``files``."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)  # statuses of the next requests; then it works
    ca_file: Path | None = None


@pytest.fixture(scope="module")
def sftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    root, keys = tmp_path_factory.mktemp("sftp"), tmp_path_factory.mktemp("keys")
    host_key, user_key = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    user_key.write_private_key(str(keys / "id"))
    user_key.write_public_key(str(keys / "id.pub"))
    server = SftpServer(root, 0, host_key.export_public_key().decode().strip(), host_key.get_fingerprint(), keys / "id")

    class Door(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            server.logins += 1
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == (USER, PASSWORD)

    class Files(asyncssh.SFTPServer):
        def __init__(self, channel: asyncssh.SSHServerChannel) -> None:
            super().__init__(channel, chroot=str(root))
            self._connection = channel.get_connection()

        def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
            if server.plain_rename_only:
                raise asyncssh.SFTPOpUnsupported("not here")
            super().posix_rename(oldpath, newpath)

        def write(self, file_obj: object, offset: int, data: bytes) -> int:
            if server.cut_after is not None and offset + len(data) > server.cut_after:
                self._connection.abort()
            return super().write(file_obj, offset, data)

    async def start() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[host_key],
            server_factory=Door,
            sftp_factory=Files,
            authorized_client_keys=str(keys / "id.pub"),
        )

    with _loop() as loop:
        acceptor = asyncio.run_coroutine_threadsafe(start(), loop).result(20)
        server.port = acceptor.get_port()
        yield server

        async def stop() -> None:
            acceptor.close()
            await acceptor.wait_closed()

        asyncio.run_coroutine_threadsafe(stop(), loop).result(20)


class _loop:
    """An event loop in a thread of its own."""

    def __enter__(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self._loop

    def __exit__(self, *exc: object) -> None:
        async def settle() -> None:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(settle(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()


def _handler(state: HttpServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                if len(body) < length:
                    raise ConnectionResetError
                return body
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _one(self) -> None:
            body = self._body()
            name = self.path.removeprefix("/inbox/")
            state.requests.append((self.command, self.path, dict(self.headers)))
            if state.answers:
                status = state.answers.pop(0)
                if status == 302:
                    return self._answer(302, Location="/elsewhere")
                return self._answer(status)
            if self.headers.get("X-Api-Key") == "wrong":
                return self._answer(401)
            if self.command in ("POST", "PATCH"):
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                form = email.message_from_bytes(head + body, policy=email.policy.HTTP)
                [part] = [part for part in form.iter_parts() if part.get_param("name", header="content-disposition")]
                assert part.get_param("name", header="content-disposition") == "file"
                state.files[name] = part.get_payload(decode=True)
                return self._answer(201)
            if self.command == "PUT":
                state.files[name] = body
                return self._answer(201)
            if name == "":
                return self._answer(200, json.dumps(sorted(state.files)).encode())
            if name not in state.files:
                return self._answer(404)
            if self.command == "DELETE":
                del state.files[name]
                return self._answer(204)
            return self._answer(200, state.files[name])

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _one

    return Handler


def _serve(state: HttpServer, context: ssl.SSLContext | None = None) -> Iterator[HttpServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    server.daemon_threads = True
    scheme = "http"
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    state.url = f"{scheme}://127.0.0.1:{server.server_address[1]}/inbox"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join(20)


@pytest.fixture
def http_server() -> Iterator[HttpServer]:
    yield from _serve(HttpServer(""))


@pytest.fixture
def https_server(tmp_path: Path) -> Iterator[HttpServer]:
    """With a certificate that no one has signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    moment = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (tmp_path / "ca.pem").write_bytes(pem)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "server.pem").write_bytes(secret + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    yield from _serve(HttpServer("", ca_file=tmp_path / "ca.pem"), context)


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """A server that speaks S3, without a bucket; it takes any key."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
