"""What an application keeps beside a tenant's tables (documents, attachments), saved and restored with them.

An application hands one provider per kind of file to ``Tenancy(files=[...])``. A provider knows where a tenant's files
lie; when and in which order they are read, written, moved and removed is decided by the operations on the tenant. Every
method may be run again after a kill.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, cast
from uuid import uuid4

from tenantry.errors import ArchiveForeign, NameRejected
from tenantry.names import RelativePath
from tenantry.stores.disk import sync
from tenantry.tenant import Tenant

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantry.archive.container import Member


@dataclass(frozen=True)
class Kept:
    """One file of a tenant: its path, by which the provider knows it, and its bytes."""

    path: str
    size: int


class TenantFiles(Protocol):
    """One kind of file that an application keeps for each tenant."""

    name: str  # a word of a-z, 0-9 and "-", which stays the same from release to release

    def check(self, tenant: Tenant, connection: Connection) -> None:
        """Look whether the tenant's files are where its rows, which the connection reads, say: before the tenant is
        saved or renamed.

        :raises StoreError: they are not, as where a disk is not mounted; nothing is done then.
        """

    def list(self, tenant: Tenant) -> Iterable[Kept]:
        """The tenant's files, in an order that stays the same. None when it has none."""

    def open(self, tenant: Tenant, path: str) -> IO[bytes]:
        """One of them, for reading."""

    def write(self, tenant: Tenant, path: str, content: IO[bytes]) -> None:
        """Keep a file under that path, in place of one that is there."""

    def move(self, tenant: Tenant, to: Tenant) -> None:
        """The tenant is called otherwise from now on: keep its files as that one's. Done already: do nothing."""

    def remove(self, tenant: Tenant) -> None:
        """Remove all of the tenant's files. None there: do nothing."""


class FolderFiles:
    """Files below one directory per tenant, which ``folder`` names."""

    def __init__(self, name: str, folder: Callable[[Tenant], Path]) -> None:
        self.name = name
        self._folder = folder

    def check(self, tenant: Tenant, connection: Connection) -> None:
        """Nothing: which files there should be is not known here."""

    def list(self, tenant: Tenant) -> Iterator[Kept]:
        """Every file below the directory; symbolic links are passed over."""
        root = self._folder(tenant)
        for directory, below, names in os.walk(root):
            below.sort()
            for name in sorted(names):
                path = Path(directory, name)
                if not path.is_symlink():
                    yield Kept(path.relative_to(root).as_posix(), path.stat().st_size)

    def open(self, tenant: Tenant, path: str) -> IO[bytes]:
        """One of them, for reading."""
        return (self._folder(tenant) / RelativePath(path).value).open("rb")

    def write(self, tenant: Tenant, path: str, content: IO[bytes]) -> None:
        """Keep a file; it is there whole or not at all."""
        target = self._folder(tenant) / RelativePath(path).value
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{uuid4().hex}.partial")
        try:
            with draft.open("xb") as file:
                shutil.copyfileobj(content, file)
            sync(draft)
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)

    def move(self, tenant: Tenant, to: Tenant) -> None:
        """Rename the directory."""
        source, target = self._folder(tenant), self._folder(to)
        if source != target and source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(source, target)

    def remove(self, tenant: Tenant) -> None:
        """Remove the directory."""
        shutil.rmtree(self._folder(tenant), ignore_errors=not self._folder(tenant).exists())


def pack(provider: TenantFiles, tenant: Tenant, member: Member) -> int:
    """Write all of a tenant's files into a member as a tar; returns how many there were."""
    count = 0
    with tarfile.open(fileobj=cast("IO[bytes]", member), mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for kept in provider.list(tenant):
            info = tarfile.TarInfo(RelativePath(kept.path).value)
            info.size, info.mode = kept.size, 0o600
            with provider.open(tenant, kept.path) as content:
                tar.addfile(info, content)
            tar.members.clear()  # type: ignore[attr-defined]  # else every file's header stays in memory
            count += 1
    return count


def unpack(provider: TenantFiles, tenant: Tenant, chunks: Iterator[bytes], path: str) -> None:
    """Hand every file of such a tar to the provider. :raises ArchiveForeign: it names a file outside of its place."""
    with tarfile.open(fileobj=cast("IO[bytes]", _Pieces(chunks)), mode="r|") as tar:
        for info in tar:
            content = tar.extractfile(info) if info.isreg() else None
            if content is None:
                raise ArchiveForeign(path)
            try:
                name = RelativePath(info.name).value
            except NameRejected as error:
                raise ArchiveForeign(path) from error
            provider.write(tenant, name, content)
            tar.members.clear()  # type: ignore[attr-defined]  # the same


class _Pieces:
    """Pieces of bytes as a file to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = b""

    def read(self, size: int) -> bytes:
        """As many bytes as wanted, fewer only at the end."""
        parts, length = [self._held], len(self._held)
        while length < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            parts.append(piece)
            length += len(piece)
        whole = b"".join(parts)
        self._held = whole[size:]
        return whole[:size]
