"""Contents on their way in and out: an upload is read as it arrives, a download may be a range of bytes."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, BinaryIO, cast
from urllib.parse import quote

import anyio.from_thread
from fastapi import Request
from starlette.responses import Response, StreamingResponse

from tenantry.http.errors import BodyTooLarge, BodyTooSlow

CHUNK = 256 * 1024  # bytes
MAX_UPLOAD = 16 * 1024**3  # bytes
PATIENCE = 30.0  # seconds that an upload may stand still
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class Arriving(io.RawIOBase):
    """A request's body for a thread that reads it; the loop waits for the thread, so nothing piles up."""

    name = None

    def __init__(self, request: Request) -> None:
        self._chunks: AsyncIterator[bytes] = request.stream().__aiter__()
        self._left = b""
        self._received = 0
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left and not self._ended:
            self._left = anyio.from_thread.run(self._next)
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size

    async def _next(self) -> bytes:
        """:raises BodyTooSlow, BodyTooLarge: it breaks a limit."""
        try:
            async with asyncio.timeout(PATIENCE):
                chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._ended = True
            return b""
        except TimeoutError as error:
            raise BodyTooSlow(PATIENCE) from error
        self._received += len(chunk)
        if self._received > MAX_UPLOAD:
            raise BodyTooLarge(MAX_UPLOAD)
        return chunk


def arriving(request: Request) -> BinaryIO:
    """The body of an upload, to be read in a worker thread."""
    return cast("BinaryIO", io.BufferedReader(Arriving(request), CHUNK))


def content_response(
    request: Request, file: BinaryIO, *, size: int, checksum: str, name: str, content_type: str | None
) -> Response:
    """The content, or the part that the request asks for. ``file`` stands at its start; it is closed at the end."""
    etag = f'"{checksum}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
    }
    asked = request.headers
    if etag in [tag.strip().removeprefix("W/") for tag in asked.get("if-none-match", "").split(",")]:
        file.close()
        return Response(status_code=304, headers=headers)
    span = None if asked.get("if-range", etag) != etag else asked_range(asked.get("range"), size)
    if span == ():
        file.close()
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    status, (start, end) = (206, span) if span else (200, (0, size))
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    kind = content_type or "application/octet-stream"
    if request.method == "HEAD":
        file.close()
        return Response(status_code=status, headers=headers, media_type=kind)
    return StreamingResponse(_parts(file, start, end), status, headers, kind)


def asked_range(header: str | None, size: int) -> tuple[int, int] | tuple[()] | None:
    """The bytes from and up to that a Range header asks for: () if there are none such, None if it asks for all.

    Several ranges at once are answered with all, as is allowed.
    """
    found = _RANGE.fullmatch(header.strip()) if header else None
    if found is None or found[1] == found[2] == "":
        return None
    if found[1] == "":
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < int(found[1]):
            return None
    return (start, end) if start < end else ()


def _parts(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    with file:
        with suppress(io.UnsupportedOperation):
            file.seek(start)
        left = end - start
        while left and (chunk := file.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk
