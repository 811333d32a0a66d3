"""An HTTP server as the other side.

Upload: POST or PATCH of a form whose field ``file`` is the file, or PUT of the bytes. Download and list: GET; a listing
is a JSON array of names, or of objects with a ``name``. Delete: DELETE. A file arrives as the server makes it arrive;
every attempt of one sending carries the same ``Idempotency-Key``, so that a server which knows it keeps one.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from docex.errors import ExtraMissing, TransportError, TransportFileMissing, TransportUnavailable
from docex.transport.base import CHUNK, BaseTransporter, Outgoing
from docex.transport.config import HTTPTransportConfig, clear

if TYPE_CHECKING:
    import httpx

# The server was busy or its own other side was away: the same request may succeed later.
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
LARGEST_LISTING = 64 * 1024 * 1024  # bytes


class HTTPTransporter(BaseTransporter):
    """See the module."""

    def __init__(self, config: HTTPTransportConfig) -> None:
        try:
            import httpx
        except ImportError as error:
            raise ExtraMissing("A route of type http", "transport-http") from error
        self._httpx = httpx
        self._config = config

    async def upload(self, outgoing: Outgoing, path: PurePosixPath) -> dict[str, Any]:
        config, address = self._config, self._address(path)
        headers = {"Idempotency-Key": outgoing.key} if outgoing.key else {}
        with self._faults(address), outgoing.open() as reader:
            async with self._client() as client:
                if config.method == "PUT":
                    headers["Content-Type"] = outgoing.content_type
                    if outgoing.size is not None:
                        headers["Content-Length"] = str(outgoing.size)
                    response = await client.put(address, content=_chunks(reader), headers=headers)
                else:
                    form = {"file": (outgoing.name, reader, outgoing.content_type)}
                    response = await client.request(config.method, address, files=form, headers=headers)
        self._refuse(response, address)
        return {"url": address, "status_code": response.status_code}

    async def download(self, path: PurePosixPath, target: BinaryIO) -> int:
        address = self._address(path)
        with self._faults(address):
            async with self._client() as client, client.stream("GET", address) as response:
                self._refuse(response, address)
                size = 0
                async for chunk in response.aiter_bytes(CHUNK):
                    size += target.write(chunk)
        return size

    async def list_files(self, path: PurePosixPath) -> list[dict[str, Any]]:
        address = self._address(path)
        received = bytearray()
        with self._faults(address):
            async with self._client() as client, client.stream("GET", address) as response:
                self._refuse(response, address)
                async for chunk in response.aiter_bytes(CHUNK):
                    received += chunk
                    if len(received) > LARGEST_LISTING:
                        raise TransportError(address, f"its listing is larger than {LARGEST_LISTING} bytes.")
        return _listing(address, bytes(received))

    async def delete(self, path: PurePosixPath) -> None:
        address = self._address(path)
        with self._faults(address):
            async with self._client() as client:
                self._refuse(await client.delete(address), address)

    async def validate(self) -> None:
        address = self._config.endpoint
        with self._faults(address):
            async with self._client() as client:
                response = await client.head(address)
        # Whatever else it answers to a HEAD, it is there; a wrong password is the one thing to find out before use.
        if response.status_code in (401, 403) or response.status_code >= 500:
            self._refuse(response, address)

    def _client(self) -> httpx.AsyncClient:
        config = self._config
        auth = None if config.auth is None else (config.auth.username, clear(config.auth.password))
        return self._httpx.AsyncClient(
            headers={name: clear(value) for name, value in config.headers.items()},
            auth=auth,
            timeout=config.timeout,
            verify=self._trust(),
            follow_redirects=False,  # the credentials are meant for this server
        )

    def _trust(self) -> ssl.SSLContext | bool:
        config = self._config
        if not config.verify_ssl:
            return False
        if config.ca_file is None:
            return True
        try:
            return ssl.create_default_context(cafile=config.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise TransportError(config.ca_file, "it cannot be read as a file of certificates.") from error

    def _address(self, path: PurePosixPath) -> str:
        # Appended, not joined: joining would let a path name another server.
        return self._config.endpoint + "/".join(quote(part, safe="") for part in path.parts)

    def _refuse(self, response: httpx.Response, address: str) -> None:
        status = response.status_code
        if 200 <= status < 300:
            return
        said = f"the server answered {status} {_phrase(status)}."
        if status == 404:
            raise TransportFileMissing(address, said)
        if 300 <= status < 400:
            raise TransportError(address, f"{said} Redirects are not followed; correct the endpoint.")
        raise (TransportUnavailable if status in TRY_AGAIN else TransportError)(address, said)

    @contextmanager
    def _faults(self, address: str) -> Iterator[None]:
        httpx = self._httpx
        try:
            yield
        except httpx.TimeoutException as error:
            raise TransportUnavailable(address, f"no answer within {self._config.timeout:g} s.") from error
        except httpx.TransportError as error:
            if "CERTIFICATE" in str(error).upper():
                reason = f"its certificate is not trusted: {error}. Name its authority's certificate in ca_file."
                raise TransportError(address, reason) from error
            raise TransportUnavailable(address, f"it cannot be reached: {error}.") from error


async def _chunks(reader: BinaryIO) -> AsyncIterator[bytes]:
    while chunk := reader.read(CHUNK):
        yield chunk


def _listing(address: str, received: bytes) -> list[dict[str, Any]]:
    try:
        found = json.loads(received)
    except ValueError as error:
        raise TransportError(address, "its listing is not JSON.") from error
    if not isinstance(found, list):
        raise TransportError(address, "its listing is not a JSON array.")
    files = []
    for entry in found:
        if isinstance(entry, str):
            files.append({"name": entry})
        elif isinstance(entry, dict) and isinstance(entry.get("name"), str):
            files.append(entry)
        else:
            raise TransportError(address, "its listing holds something else than names and objects with a 'name'.")
    return files


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


HTTPTransport = HTTPTransporter  # the name that older scripts register it by
