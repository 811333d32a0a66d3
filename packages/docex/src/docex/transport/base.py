"""What a kind of transport does: bring bytes there, fetch them, list and remove files.

Every method tries once and either does all it says or raises a :class:`~docex.errors.TransportError`; repeating,
permissions and records are the route's. What arrives appears under its name whole: it is written under a temporary
name and renamed, where the other side can do that.
"""

from __future__ import annotations

import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from docex.errors import RoutePathRejected
from docex.transport.transport_result import TransportResult

__all__ = ["BaseTransporter", "Outgoing", "TransportResult", "remote_path", "temporary"]

CHUNK = 1024 * 1024  # bytes
LONGEST_PART = 255  # bytes of one name, as file systems have it
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True)
class Outgoing:
    """A file to be sent. It may be opened again for a further attempt."""

    open: Callable[[], BinaryIO]
    name: str
    size: int | None = None  # bytes
    content_type: str = "application/octet-stream"
    key: str | None = None  # tells one sending from another, the same in every attempt


class BaseTransporter(ABC):
    """One kind of transport with its configuration. Making it connects to nothing."""

    @abstractmethod
    async def upload(self, outgoing: Outgoing, path: PurePosixPath) -> dict[str, Any]:
        """Bring a file there; one of that name is replaced. Returns what is worth recording."""

    @abstractmethod
    async def download(self, path: PurePosixPath, target: BinaryIO) -> int:
        """Write a file's bytes to ``target`` and return how many. :raises TransportFileMissing: there is none."""

    @abstractmethod
    async def list_files(self, path: PurePosixPath) -> list[dict[str, Any]]:
        """The files of one directory: ``name``, ``size`` in bytes and ``modified`` (UTC), as far as they are known."""

    @abstractmethod
    async def delete(self, path: PurePosixPath) -> None:
        """Remove a file. :raises TransportFileMissing: there is none."""

    @abstractmethod
    async def validate(self) -> None:
        """Try whether the other side can be reached and lets us in."""


def remote_path(given: str, *, directory: bool = False) -> PurePosixPath:
    """A path on a route, relative to where the route leads.

    ``directory``: an empty path means the route's own directory.

    :raises RoutePathRejected: it is absolute, steps up, or holds characters that no file should have.
    """
    if not given and directory:
        return PurePosixPath()
    if _FORBIDDEN.search(given):
        raise RoutePathRejected(given, "it holds a control character or a backslash.")
    if not given or given.startswith("/"):
        raise RoutePathRejected(given, "a relative path is expected, such as 'invoices/7.pdf'.")
    parts = given.rstrip("/").split("/") if directory else given.split("/")
    for part in parts:
        if part in ("", ".", ".."):
            raise RoutePathRejected(given, f"it has a part {part!r}.")
        if len(part.encode("utf-8", "surrogatepass")) > LONGEST_PART:
            raise RoutePathRejected(given, f"a part is longer than {LONGEST_PART} bytes.")
    return PurePosixPath(*parts)


def temporary(path: PurePosixPath) -> PurePosixPath:
    """A name beside the given one, for what has not arrived whole yet."""
    return path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.part")
