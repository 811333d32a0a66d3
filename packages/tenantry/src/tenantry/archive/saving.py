"""One tenant saved to a file, and a file proved to be whole.

Memory stays flat whatever the tenant's size: rows and files go through in pieces. A tenant that holds something that
could not be made anew is refused before anything is written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tenantry.archive.container import Reader, Writer, writing
from tenantry.archive.files import TenantFiles, pack
from tenantry.archive.manifest import FilesEntry, Manifest, TableEntry
from tenantry.archive.sources import Source, reading
from tenantry.errors import ArchiveDamaged, ArchiveError, ArchiveForeign, ArchiveMissing, ArchiveUnfit
from tenantry.migrations.catalog import Table
from tenantry.stores.base import Store
from tenantry.stores.faults import faults
from tenantry.tenant import Tenant

SUFFIX = ".tenantry"
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True)
class Saved:
    """A saved tenant: its file and what that says."""

    path: Path
    size: int  # bytes
    manifest: Manifest


def save(
    store: Store, tenant: Tenant, path: Path, *, version_table: str, providers: Sequence[TenantFiles] = ()
) -> Saved:
    """Write the tenant into a new file at that path, which is there whole or not at all.

    :raises StoreMissing: the tenant's place is not there. :raises ArchiveUnfit: it holds what cannot be made anew.
    :raises ArchiveError: there is a file of that name. :raises StoreError: its files are not where its rows say.
    """
    with reading(store, tenant, version_table) as source:
        if source.shape.foreign:
            raise ArchiveUnfit(store.describe(tenant.location), list(source.shape.foreign))
        for provider in providers:
            provider.check(tenant, source.connection)
        with faults(str(path)):
            try:
                with writing(path) as writer:
                    manifest = _write(source, writer, tenant, version_table, providers)
            except FileExistsError as error:
                raise ArchiveError(str(path), "there is a file of that name; it was not written over.") from error
    return Saved(path, path.stat().st_size, manifest)


def _write(
    source: Source, writer: Writer, tenant: Tenant, version_table: str, providers: Sequence[TenantFiles]
) -> Manifest:
    shape = source.shape
    tables = tuple(_table(source, writer, table, number) for number, table in enumerate(shape.tables, start=1))
    sequences = tuple(source.sequences())  # after the rows, so that no key they hold is given out again
    files = tuple(_files(provider, writer, tenant) for provider in providers)
    manifest = Manifest(
        slug=tenant.slug,
        name=tenant.name,
        status=tenant.status.value,
        admin_email=tenant.admin_email,
        attributes=dict(tenant.attributes),
        dialect=shape.dialect,
        server=source.server,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        made_by=f"tenantry {version('tenantry')}",
        revision=source.revision,
        version_table=version_table,
        fingerprint=shape.digest(),
        objects=shape.outline(),
        before_rows=tuple(shape.creating(rows_loaded=False)),
        after_rows=tuple(shape.creating(rows_loaded=True)),
        tables=tables,
        sequences=sequences,
        files=files,
    )
    writer.finish(manifest.to_bytes())
    return manifest


def _table(source: Source, writer: Writer, table: Table, number: int) -> TableEntry:
    name = f"tables/{number:04d}-{_UNSAFE.sub('_', table.name)[:60]}.zst"
    rows = 0
    with writer.member(name) as member:
        for piece in source.rows(table):
            rows += piece.count(b"\n")
            member.write(piece)
    columns = tuple((column.name, column.type, column.base) for column in table.columns)
    return TableEntry(table.name, name, columns, rows, member.size, member.sha256, table.shadow)


def _files(provider: TenantFiles, writer: Writer, tenant: Tenant) -> FilesEntry:
    name = f"files/{_UNSAFE.sub('_', provider.name)}.tar.zst"
    with writer.member(name) as member:
        count = pack(provider, tenant, member)
    return FilesEntry(provider.name, name, count, member.size, member.sha256)


@contextmanager
def opened(path: Path) -> Iterator[tuple[Reader, Manifest]]:
    """A saved tenant's file and its manifest.

    :raises ArchiveMissing: there is no file. :raises ArchiveForeign, ArchiveDamaged: see :func:`verify`.
    """
    with faults(str(path)):
        try:
            reader = Reader(path)
        except FileNotFoundError as error:
            raise ArchiveMissing(str(path)) from error
        try:
            yield reader, Manifest.from_bytes(reader.manifest, str(path))
        finally:
            reader.close()


def verify(path: Path) -> Saved:
    """Read the whole file and prove it to be what was written. Writes nothing, and needs no database.

    :raises ArchiveMissing: there is no file. :raises ArchiveForeign: it is no saved tenant.
    :raises ArchiveDamaged: it is not as it was written.
    """
    with opened(path) as (reader, manifest):
        entries: tuple[TableEntry | FilesEntry, ...] = (*manifest.tables, *manifest.files)
        if {entry.member for entry in entries} != reader.names or len(entries) != len(reader.names):
            raise ArchiveForeign(str(path))
        for entry in entries:
            digest, size, rows = hashlib.sha256(), 0, 0
            for piece in reader.chunks(entry.member):
                digest.update(piece)
                size += len(piece)
                rows += piece.count(b"\n")
            if (digest.hexdigest(), size) != (entry.sha256, entry.size):
                raise ArchiveDamaged(str(path), f"{entry.member} is not what was written")
            if isinstance(entry, TableEntry) and rows != entry.rows:
                raise ArchiveDamaged(str(path), f"{entry.member} holds {rows} rows, expected {entry.rows}")
    return Saved(path, path.stat().st_size, manifest)


def new_path(directory: Path, slug: str) -> Path:
    """Where a tenant that is saved now goes: its slug and the time, and a number where that name is taken."""
    stem = f"{slug}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    path, number = directory / f"{stem}{SUFFIX}", 1
    while path.exists():
        number += 1
        path = directory / f"{stem}-{number}{SUFFIX}"
    return path
