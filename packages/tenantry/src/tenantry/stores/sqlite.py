"""A file per tenant on SQLite.

A new file is made under a temporary name, synced, and moved into place by one rename, so a file at a tenant's path is
always whole. An LRU of open files stands in for a pool. Nothing here opens a file that it was not asked to make: a
missing one is an error, never an empty database.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

import sqlalchemy as sa

from tenantry.errors import NameRejected, StatementFailed, StoreDamaged, StoreError, StoreMissing, TenantBusy
from tenantry.names import NameTemplate, RelativePath, Slug, SlugRule
from tenantry.stores.base import Site, Statement, Store, retire
from tenantry.stores.disk import make_directories, sync
from tenantry.stores.faults import faults
from tenantry.stores.lockfile import LockFile, hold
from tenantry.stores.opening import POOL, begin, engine_for, file_url, prepare
from tenantry.tenant import Tenant

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

MAX_OPEN_FILES = 24  # tenants whose file is kept open between sessions; each takes up to 0.5 MB
CONTROL_FILE = "registry.db"
OWN_DIRECTORY = ".tenantry"  # below the root: locks and templates
COMPANIONS = ("-wal", "-shm", "-journal")  # what SQLite appends to a file's name for files of its own


@dataclass
class OpenFile:
    """One open file and the inode it was opened at: a file put in its place later must be opened anew."""

    inode: int
    engine: sa.Engine


@dataclass(frozen=True)
class TemplateFile:
    """A ready-made file as it was when its tables were read."""

    state: tuple[int, int, int]  # inode, bytes, nanoseconds of its last change
    tables: frozenset[str]


@dataclass
class AsyncOpenFile:
    """The same for asyncio."""

    inode: int
    engine: AsyncEngine


class SqliteFiles(Store):
    """Tenants as SQLite files below one root directory.

    ``root``: the directory, or a function that gives it at first use. ``name``: the path of a slug below it, such as
    ``tenant_{slug}/docex.db``. The registry is ``registry.db`` at the root.
    """

    kind = "file"
    dialect_name = "sqlite"
    exclusive = True

    def __init__(
        self,
        root: str | Path | Callable[[], str | Path],
        name: str | NameTemplate,
        *,
        slugs: SlugRule | None = None,
        max_open_files: int = MAX_OPEN_FILES,
    ) -> None:
        super().__init__(name, slugs)
        self._root = root
        self._max_open_files = max_open_files
        self._guard = threading.RLock()
        self._open: OrderedDict[tuple[str, bool], OpenFile] = OrderedDict()
        self._async_open: OrderedDict[tuple[str, bool], AsyncOpenFile] = OrderedDict()
        self._control: sa.Engine | None = None
        self._templates: dict[Path, TemplateFile] = {}

    def __repr__(self) -> str:
        return f"<SqliteFiles {self.template.template!r}>"

    # -- names

    @cached_property
    def root(self) -> Path:
        """The storage root, absolute; asked for once."""
        given = self._root() if callable(self._root) else self._root
        return Path(os.path.abspath(given))

    def locate(self, slug: Slug) -> str:
        location = self.template.path(slug).value
        first = location.partition("/")[0].lower()
        if first == OWN_DIRECTORY or first.startswith(CONTROL_FILE):
            raise NameRejected(self.kind, location, "the registry and its locks are kept there; choose another slug.")
        if location.lower().endswith(COMPANIONS):
            reason = (
                f"SQLite keeps its own files under names that end with {', '.join(COMPANIONS)}; choose another slug."
            )
            raise NameRejected(self.kind, location, reason)
        return location

    def role_for(self, slug: Slug) -> str | None:
        return None

    def path(self, location: str) -> Path:
        """The file of a location. :raises StoreError: a symbolic link on the way leads out of the root."""
        root = self.root
        path = root / RelativePath(location).value
        with faults(str(path)):
            above = os.path.join(os.path.realpath(root), "")
            if path.is_symlink() or not os.path.join(os.path.realpath(path.parent), "").startswith(above):
                raise StoreError(str(path), "a symbolic link leads out of the storage root; nothing was opened.")
        return path

    def describe(self, location: str = "") -> str:
        return str(self.root / location) if location else str(self.root)

    @property
    def control_schema(self) -> str | None:
        return None

    # -- connections

    def control_engine(self) -> sa.Engine:
        with self._guard:
            if self._control is None:
                self._control = engine_for(self.root / CONTROL_FILE, begin="BEGIN", foreign_keys=True)
            return self._control

    def engine(self, tenant: Tenant, *, write: bool = False) -> sa.Engine:
        path, inode = self._present(tenant)
        key = (tenant.location, write)
        with self._guard:
            held = self._open.get(key)
            if held is None or held.inode != inode:
                if held is not None:
                    retire(held.engine)
                    held.engine.dispose()
                held = OpenFile(inode, engine_for(path, begin=begin(write), foreign_keys=True, confined=True))
                self._open[key] = held
                self._shed()
            self._open.move_to_end(key)
            return held.engine

    def _shed(self) -> None:
        """Close the files least lately used, passing over those that a session holds now."""
        for key in list(self._open):
            if len(self._open) <= self._max_open_files:
                return
            pool = self._open[key].engine.pool
            if isinstance(pool, sa.QueuePool) and pool.checkedout() == 0 and key != next(reversed(self._open)):
                engine = self._open.pop(key).engine
                retire(engine)
                engine.dispose()

    async def async_engine(self, tenant: Tenant, *, write: bool = False) -> AsyncEngine:
        import asyncio

        from sqlalchemy.ext.asyncio import create_async_engine

        from tenantry.stores import interruptible

        path, inode = self._present(tenant)
        key = (tenant.location, write)
        stale: list[AsyncEngine] = []
        with self._guard:
            held = self._async_open.get(key)
            if held is None or held.inode != inode:
                if held is not None:
                    stale.append(held.engine)
                engine = create_async_engine(
                    file_url(path, "sqlite+aiosqlite"),
                    connect_args={"async_creator_fn": interruptible.connect},
                    hide_parameters=True,
                    **POOL,
                )
                prepare(engine.sync_engine, begin=begin(write), foreign_keys=True, confined=True)
                held = self._async_open[key] = AsyncOpenFile(inode, engine)
            self._async_open.move_to_end(key)
            for other in list(self._async_open)[:-1]:
                if len(self._async_open) <= self._max_open_files:
                    break
                pool = self._async_open[other].engine.pool
                if isinstance(pool, sa.AsyncAdaptedQueuePool) and pool.checkedout() == 0:
                    stale.append(self._async_open.pop(other).engine)
            for engine in stale:
                retire(engine.sync_engine)
        if stale:  # to its end, even when the task is cancelled: nobody else knows these engines
            await asyncio.shield(asyncio.gather(*(engine.dispose() for engine in stale)))
        return held.engine

    def _present(self, tenant: Tenant) -> tuple[Path, int]:
        path = self.path(tenant.location)
        try:
            found = path.stat()
        except FileNotFoundError as error:
            raise StoreMissing(tenant.slug, self.kind, path) from error
        except OSError as error:
            raise StoreError(path, f"{error.strerror}.") from error
        if found.st_size == 0:  # SQLite would take it for a new database, and the tenant's data for none
            raise StoreDamaged(str(path), "it is empty")
        return path, found.st_ino

    def close(self) -> None:
        with self._guard:
            engines = [held.engine for held in self._open.values()]
            self._open.clear()
            if self._control is not None:
                engines.append(self._control)
                self._control = None
        for engine in engines:
            retire(engine)
            engine.dispose()

    async def aclose(self) -> None:
        with self._guard:
            engines = [held.engine for held in self._async_open.values()]
            self._async_open.clear()
        for engine in engines:
            retire(engine.sync_engine)
            await engine.dispose()

    # -- places

    @contextmanager
    def control(self) -> Iterator[sa.Connection]:
        root = self.root
        with faults(str(root)):
            (root / OWN_DIRECTORY).mkdir(parents=True, exist_ok=True)
            with hold(self._lock_path("registry")):
                path = root / CONTROL_FILE
                if not path.exists():
                    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
                engine = engine_for(path, begin="BEGIN IMMEDIATE", foreign_keys=False)
                try:
                    with engine.begin() as connection:
                        yield connection
                finally:
                    engine.dispose()

    @contextmanager
    def lock(self, slug: str, *, wait: bool) -> Iterator[None]:
        with faults(str(self.root)):
            (self.root / OWN_DIRECTORY).mkdir(parents=True, exist_ok=True)
            lock = LockFile(self._lock_path(f"tenant-{slug.lower()}"))
            if not lock.take(wait=wait):
                raise TenantBusy(slug)
        try:
            yield
        finally:
            lock.release()

    def _lock_path(self, name: str) -> Path:
        return self.root / OWN_DIRECTORY / f"{name}.lock"

    def exists(self, location: str) -> bool:
        path = self.path(location)
        with faults(str(path)):
            return path.is_file()

    def reclaim(self, location: str) -> bool:
        path = self.path(location)
        with faults(str(path)):
            draft = draft_of(path)
            if not draft.exists() or not draft.samefile(path):
                return False
            path.unlink()  # first: what is left of a draft alone is swept
        return True

    @contextmanager
    def construct(self, tenant: Tenant, *, at_once: bool = False) -> Iterator[Site]:
        path = self.path(tenant.location)
        draft = draft_of(path)
        linked = False
        with faults(str(path)):
            made = make_directories(path.parent)
            if not made:
                self._sweep(path)
            site = FileSite(self, draft, new=True)
            try:
                yield site
                site.finish()
                if not made:
                    for suffix in ("-wal", "-shm"):  # SQLite may replay one that was left into the next of this name
                        path.with_name(path.name + suffix).unlink(missing_ok=True)
                if at_once:
                    # Under both names until the record is written, so that `reclaim` knows it. Before it is synced: the
                    # file system then writes the content and the name in one go.
                    os.link(draft, path)
                    linked = True
                    site.sync()
                else:
                    site.sync()
                    os.rename(draft, path)
                sync(path.parent)
                if at_once:
                    self._write_records(site)
            except BaseException:
                site.abandon()
                if linked:
                    path.unlink()
                for suffix in ("", *COMPANIONS):
                    draft.with_name(draft.name + suffix).unlink(missing_ok=True)
                for directory in made:
                    with suppress(OSError):
                        directory.rmdir()
                raise
            if at_once:
                draft.unlink()
            else:
                self._write_records(site)

    @contextmanager
    def change(self, tenant: Tenant) -> Iterator[Site]:
        path, _ = self._present(tenant)
        with faults(str(path)):
            site = FileSite(self, path, new=False)
            try:
                yield site
                site.finish()
            except BaseException:
                site.abandon()
                raise
            self._write_records(site)

    def _write_records(self, site: FileSite) -> None:
        if site.records:
            with self.control_engine().begin() as control:
                for write in site.records:
                    write(control)

    def _sweep(self, path: Path) -> None:
        """Remove what killed provisionings of this tenant left; the caller holds its lock."""
        for why in ("making", "renaming"):
            draft = draft_of(path, why)
            for suffix in ("", *COMPANIONS):
                draft.with_name(draft.name + suffix).unlink(missing_ok=True)

    def remove(self, tenant: Tenant, *, claim: Callable[[sa.Connection], object] | None = None) -> None:
        path = self.path(tenant.location)
        with self._guard:
            for key in [key for key in self._open if key[0] == tenant.location]:
                self._open.pop(key).engine.dispose()
        with faults(str(path)):
            # The database goes first: a -wal without its database is harmless, a database without its -wal has lost
            # commits.
            for suffix in ("", *COMPANIONS):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            if path.parent.is_dir():
                self._sweep(path)
                root = self.root
                for directory in path.parents:
                    if directory == root:
                        break
                    try:
                        directory.rmdir()
                    except OSError:  # it holds other files, which are not the engine's to remove
                        break

    @contextmanager
    def online(self, tenant: Tenant) -> Iterator[sa.Connection]:
        path, _ = self._present(tenant)
        engine = engine_for(path, begin="BEGIN IMMEDIATE", foreign_keys=False)
        try:
            with faults(str(path)), engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()

    @contextmanager
    def scratch(self) -> Iterator[sa.Connection]:
        # Without the statement cache, so that SQLite's authorizer is asked about every statement anew.
        engine = sa.create_engine("sqlite://", connect_args={"cached_statements": 0})
        prepare(engine, begin="BEGIN", foreign_keys=False)
        try:
            with engine.connect() as connection:
                connection.begin()
                try:
                    yield connection
                finally:
                    connection.rollback()
        finally:
            engine.dispose()

    def send(self, connection: sa.Connection, statements: Sequence[Statement], location: str) -> None:
        driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        for index, (text, parameters) in enumerate(statements):
            try:
                driver.execute(text, parameters)
            except sqlite3.Error as error:
                raise StatementFailed(location, index, f"{error}.") from error

    def template_path(self, digest: str) -> Path:
        """Where the ready-made file of a baseline is kept."""
        return self.root / OWN_DIRECTORY / f"template-{digest}.db"

    def template_file(self, path: Path) -> TemplateFile:
        """What a template holds; its schema is read once a process and again when it was replaced."""
        found = path.stat()
        state = (found.st_ino, found.st_size, found.st_mtime_ns)
        known = self._templates.get(path)
        if known is None or known.state != state:
            # No one writes to it, so it is read without joining its -shm.
            with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as reader:
                rows = reader.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            known = self._templates[path] = TemplateFile(state, frozenset(name for (name,) in rows))
        return known

    @contextmanager
    def making_templates(self) -> Iterator[None]:
        """One process at a time; what a killed one left is removed."""
        (self.root / OWN_DIRECTORY).mkdir(parents=True, exist_ok=True)
        with hold(self._lock_path("template")):
            for left in (self.root / OWN_DIRECTORY).glob("template-*.tmp*"):
                left.unlink(missing_ok=True)
            yield


class FileSite(Site):
    """One tenant's file while it is built under a temporary name, or changed in place inside one transaction."""

    def __init__(self, store: SqliteFiles, file: Path, *, new: bool) -> None:
        self.file = file
        self.records: list[Callable[[sa.Connection], None]] = []
        self._store = store
        self._new = new
        self._tenants = False  # whether the connection follows the rules of the tenant's own sessions
        self._before = (0, 0)
        self._synced = False  # whether the disk has all of the file
        self._laid: TemplateFile | None = None  # whose copy the file is, until a connection opens it
        self._engine: sa.Engine | None = None
        self._connection: sa.Connection | None = None

    @property
    def connection(self) -> sa.Connection:
        if self._connection is None:
            self._laid, self._synced = None, False
            if self._new and not self.file.exists():
                os.close(os.open(self.file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644))
            # A new file is thrown away unless it is finished and synced, so it needs no journal of its own.
            self._engine = engine_for(
                self.file,
                begin="BEGIN IMMEDIATE",
                foreign_keys=self._tenants,
                confined=self._tenants,
                journal="MEMORY" if self._new else "WAL",
            )
            self._connection = self._engine.connect()
            self._connection.begin()
            self._before = self._changes(self._connection)
        return self._connection

    @staticmethod
    def _changes(connection: sa.Connection) -> tuple[int, int]:
        """What grows with every change of the schema, and with every change of a row by this connection."""
        driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        return driver.execute("PRAGMA schema_version").fetchone()[0], driver.total_changes

    def create(self) -> bool:
        """The file itself comes with its first statement or its template."""
        return self._new

    def lay(self, digest: str, statements: Sequence[Statement]) -> None:
        template = self._store.template_path(digest)
        while True:
            if not template.exists():
                with self._store.making_templates():
                    if not template.exists():
                        self._make_template(template, statements)
            try:
                laid = self._store.template_file(template)
                shutil.copyfile(template, self.file)
                break
            except FileNotFoundError:
                if template.exists():
                    raise  # what is not there is the new place's directory; else another build removed the template
        size = self.file.stat().st_size
        if size != laid.state[1]:
            raise StoreError(str(self.file), f"{size} bytes were written where {laid.state[1]} were expected.")
        self._laid = laid

    def adopt(self, file: Path, digest: str) -> bool:
        """Make a file that was brought to this baseline before, and synced, the new place; false when it is not there
        any more.
        """
        template = self._store.template_path(digest)
        try:
            os.rename(file, self.file)
        except FileNotFoundError:
            return False
        self._synced = True
        with suppress(FileNotFoundError):  # without its template, the file itself is asked what it holds
            self._laid = self._store.template_file(template)
        return True

    def _make_template(self, template: Path, statements: Sequence[Statement]) -> None:
        draft = FileSite(self._store, template.with_name(f"{template.name}.{secrets.token_hex(6)}.tmp"), new=True)
        try:
            draft.send(statements)
            draft.finish()
            sync(draft.file)
            os.rename(draft.file, template)
        except BaseException:
            draft.abandon()
            draft.file.unlink(missing_ok=True)
            raise

    def send(self, statements: Sequence[Statement]) -> None:
        self._store.send(self.connection, statements, str(self.file))

    def has_table(self, name: str) -> bool:
        if self._laid is not None:
            return name in self._laid.tables
        query = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?"
        return bool(self.connection.exec_driver_sql(query, (name,)).scalar_one())

    def protect(self, table: str) -> None:
        """Nothing to do: SQLite has no rights per table."""

    def rest(self) -> None:
        """Nothing to do: the file's lock is taken by the first statement, and there was none."""

    @contextmanager
    def as_tenant(self) -> Iterator[None]:
        if not self._tenants:
            if self._new:
                self._settle()  # the file is still under its temporary name: nothing is given away
            if self._connection is None:
                self._tenants = True
        confined = cast("sqlite3.Connection", self.connection.connection.driver_connection)
        allowed = confined.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        yield
        confined.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, allowed)

    def record(self, write: Callable[[sa.Connection], None]) -> None:
        self.records.append(write)

    def sync(self) -> None:
        """Have the disk hold all of the file, unless it does."""
        if not self._synced:
            sync(self.file)

    def finish(self) -> None:
        """Keep the change. :raises StoreError: rows point at rows that are not there."""
        self._settle()

    def _settle(self) -> None:
        if self._connection is None:
            return
        if not self._tenants and self._changes(self._connection) != self._before:
            # Foreign keys are off while tables are rebuilt: dropping the old table would delete every row that points
            # at it.
            broken = self._connection.exec_driver_sql("PRAGMA foreign_key_check").first()
            if broken is not None:
                reason = f"rows of {broken[0]!r} would point at no row of {broken[2]!r}; the change was undone."
                raise StoreError(str(self.file), reason)
        self._connection.commit()
        if self._new:
            driver = cast("sqlite3.Connection", self._connection.connection.driver_connection)
            # Kept in the file, so that no session has to change it under others.
            driver.execute("PRAGMA journal_mode = WAL")
        self._close()

    def abandon(self) -> None:
        """Undo the change."""
        if self._connection is not None:
            self._connection.rollback()
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._engine is not None:
            self._engine.dispose()
        self._connection = self._engine = None


def draft_of(path: Path, why: str = "making") -> Path:
    """The name under which a tenant's file is written before it stands at its own; nobody else works on it, because the
    tenant's lock is held. ``why``: also "renaming".
    """
    return path.with_name(f".{path.name}.{why}.tmp")
