"""SQLite's files below the storage root examined: those of nobody, those that are no databases, the room that is left.

A file is opened only to read its first bytes.
"""

from __future__ import annotations

import glob
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence

from tenantry.fleet.finding import Finding
from tenantry.stores.faults import faults
from tenantry.stores.sqlite import CONTROL_FILE, OWN_DIRECTORY, SqliteFiles
from tenantry.tenant import Tenant

MAGIC = b"SQLite format 3\0"
LARGE_WAL = 256 << 20  # bytes; one that grows so far is held open by a reader that never ends
LITTLE = 0.05  # of the disk
_LEFT = re.compile(r"\.(?:tmp|partial)(?:-wal|-shm|-journal)?$")


def reality(store: SqliteFiles, tenants: Sequence[Tenant]) -> frozenset[str]:
    """Every file that is where a tenant's would be, by its path below the root. What else lies there is not read."""
    root = store.root
    there = {tenant.location for tenant in tenants if store.exists(tenant.location)}
    with faults(str(root)):
        for path in root.glob(_everyone(store)):
            name = path.relative_to(root).as_posix()
            if not name.startswith((OWN_DIRECTORY, CONTROL_FILE)) and path.is_file():
                there.add(name)
    return frozenset(there)


def _everyone(store: SqliteFiles) -> str:
    """The template of names as a pattern."""
    before, _, after = store.template.template.partition("{" + store.template.placeholder + "}")
    return f"{glob.escape(before)}*{glob.escape(after)}"


def strays(store: SqliteFiles, files: frozenset[str], known: set[str]) -> Iterator[Finding]:
    """What looks like a tenant's and is no tenant's, and what killed processes left."""
    root = store.root
    for name in sorted(files - known):
        text = "this file is named like a tenant's, and no tenant is registered for it"
        yield Finding("stray", name, text, f"look into it, then: rm {shlex.quote(str(root / name))}")
    directory, _, _ = _everyone(store).rpartition("/")
    with faults(str(root)):
        for path in sorted({*root.glob(f"{directory}/.*" if directory else ".*"), *root.glob(f"{OWN_DIRECTORY}/*")}):
            if path.is_file() and _LEFT.search(path.name):
                text = "this file was left by a process that was killed"
                yield Finding("stray", path.relative_to(root).as_posix(), text, f"rm {shlex.quote(str(path))}")


def condition(store: SqliteFiles, tenants: Sequence[Tenant]) -> Iterator[Finding]:
    """Files that are no databases, logs that grow, and a disk that is filling up."""
    for tenant in tenants:
        path = store.path(tenant.location)
        with faults(str(path)):
            with path.open("rb") as file:
                begins = file.read(len(MAGIC))
            if begins != MAGIC:
                text = f"{path} is no database" if begins else f"{path} is empty"
                yield Finding(
                    "unreadable", tenant.slug, text, f"rm the file, then: tenant restore FILE --as {tenant.slug}"
                )
            log = path.with_name(f"{path.name}-wal")
            if log.exists() and log.stat().st_size > LARGE_WAL:
                text = f"{log} is {log.stat().st_size >> 20} MB: a reader that never ends keeps it from being merged"
                yield Finding("space", tenant.slug, text, "end the session that has been reading longest")
    root = store.root
    with faults(str(root)):
        disk = shutil.disk_usage(root)
    if disk.free < LITTLE * disk.total:
        text = f"{disk.free >> 20} MB of {disk.total >> 20} MB are free"
        yield Finding("space", str(root), text, "tenant archive moves a tenant that is not used to another disk")
