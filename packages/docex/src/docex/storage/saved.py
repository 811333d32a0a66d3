"""The contents of a tenant's documents as files that are saved, restored, moved and removed together with the tenant.

Of the configured directory, of the configured bucket, and of every directory and bucket that a basket names for
itself. Those stand in the tenant's record, for its rows are gone before its files are, and come back after them.
Readable paths are links to contents, or copies of them, and are not saved; ``docex fsck --mend`` makes those that are
missing.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from sqlalchemy import func, inspect, select

from docex.errors import StorageError
from docex.models.holdings import ContentRow
from docex.models.tables import table_of
from docex.storage import storage_for
from docex.storage.filesystem import CONTENT, FilesystemStorage
from tenantry.archive import FolderFiles, Kept
from tenantry.errors import StoreError
from tenantry.tenant import Tenant

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from docex.config.settings import S3Settings, Settings
    from docex.storage.base import Storage
    from docex.storage.s3 import S3Storage

AT_ONCE = 8  # objects that are moved or removed
PLACES = "storage_places"  # the attribute of a tenant that names where its baskets keep contents

_content = table_of(ContentRow)


class DocumentContents(FolderFiles):
    """Contents below ``base``, in a folder per tenant."""

    def __init__(self, base: Path) -> None:
        super().__init__("documents", lambda tenant: base / tenant.slug)
        self._base = base

    def check(self, tenant: Tenant, connection: Connection) -> None:
        """See :class:`~tenantry.archive.TenantFiles`."""
        _check(FilesystemStorage(self._base, tenant.slug), connection)

    def list(self, tenant: Tenant) -> Iterator[Kept]:
        """Every content once."""
        contents = FilesystemStorage(self._base, tenant.slug).contents()
        for content in sorted(contents, key=lambda content: content.key):
            yield Kept(content.key, content.size)


class BucketContents:
    """Contents in the bucket of these settings, below the tenant's own prefix."""

    name = "bucket"

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings

    def check(self, tenant: Tenant, connection: Connection) -> None:
        """Nothing: a bucket that cannot be reached is an error of whatever is done with it."""

    def list(self, tenant: Tenant) -> Iterator[Kept]:
        """Every content once. S3 lists keys in their order."""
        with _as_store_error():
            for content in self._storage(tenant).contents():
                yield Kept(content.key, content.size)

    def open(self, tenant: Tenant, path: str) -> IO[bytes]:
        """One of them, as it comes over the network."""
        with _as_store_error():
            return cast(IO[bytes], _Coming(self._storage(tenant).open(path)))

    def write(self, tenant: Tenant, path: str, content: IO[bytes]) -> None:
        """Keep a content; it is there whole or not at all."""
        with _as_store_error():
            storage = self._storage(tenant)
            with storage.receive(cast(BinaryIO, content), path) as received:
                storage.publish([(received, path)])

    def move(self, tenant: Tenant, to: Tenant) -> None:
        """Copy everything to the other's prefix, then remove it here."""
        with _as_store_error():
            _moved(self._storage(tenant), self._storage(to))

    def remove(self, tenant: Tenant) -> None:
        """Remove the contents and their readable copies."""
        storage = self._storage(tenant)
        with _as_store_error(), ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(storage.delete, storage.keys()))

    def _storage(self, tenant: Tenant) -> S3Storage:
        from docex.storage.s3 import S3Storage  # S3's library is loaded where it is used

        return S3Storage(self._settings, tenant.slug)


def place_of(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a basket's ``storage_config`` says about where its contents are; None: where the configuration says."""
    named = {key: config[key] for key in ("type", "path", "s3") if key in config}
    return named if len(named) > 1 else None


def with_place(attributes: Mapping[str, Any], place: Mapping[str, Any]) -> Mapping[str, Any]:
    """The attributes of a tenant one of whose baskets keeps its contents in that place."""
    known = attributes.get(PLACES, [])
    return attributes if place in known else {**attributes, PLACES: [*known, place]}


class OwnPlaces:
    """Contents in directories and buckets that baskets name for themselves, and the tenant's record with them.

    A path begins with a word for the place, which is the same whatever the tenant is called.
    """

    name = "own-places"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(self, tenant: Tenant, connection: Connection) -> None:
        """See :class:`~tenantry.archive.TenantFiles`."""
        for storage in self._storages(tenant).values():
            _check(storage, connection)

    def list(self, tenant: Tenant) -> Iterator[Kept]:
        """Every content once."""
        for word, storage in self._storages(tenant).items():
            with _as_store_error():
                for content in sorted(storage.contents(), key=lambda content: content.key):
                    yield Kept(f"{word}/{content.key}", content.size)

    def open(self, tenant: Tenant, path: str) -> IO[bytes]:
        """One of them."""
        storage, key = self._found(tenant, path)
        with _as_store_error():
            return cast(IO[bytes], _Coming(storage.open(key)))

    def write(self, tenant: Tenant, path: str, content: IO[bytes]) -> None:
        """Keep a content; it is there whole or not at all."""
        storage, key = self._found(tenant, path)
        with _as_store_error(), storage.receive(cast(BinaryIO, content), path) as received:
            storage.publish([(received, key)])

    def move(self, tenant: Tenant, to: Tenant) -> None:
        """Move what the tenant's baskets have elsewhere to the tenant's new name there."""
        targets = self._storages(to)
        with _as_store_error():
            for word, storage in self._storages(tenant).items():
                _moved(storage, targets[word])

    def remove(self, tenant: Tenant) -> None:
        """Remove the contents and the readable paths to them; what others put into a directory stays."""
        with _as_store_error():
            for storage in self._storages(tenant).values():
                _removed(storage)

    def _storages(self, tenant: Tenant) -> dict[str, Storage]:
        default = self._default(tenant)
        found: dict[str, Storage] = {}
        for place in tenant.attributes.get(PLACES, ()):
            storage = storage_for(self._settings, tenant.slug, place)
            if storage.place not in default:
                found[hashlib.sha256(storage.place.encode()).hexdigest()[:16]] = storage
        return found

    def _default(self, tenant: Tenant) -> set[str]:
        """The places that are configured, whose contents are saved by themselves."""
        found = {"filesystem"}
        s3 = self._settings.storage.s3
        if s3.bucket or s3.bucket_application:
            found.add(storage_for(self._settings, tenant.slug, {"type": "s3"}).place)
        return found

    def _found(self, tenant: Tenant, path: str) -> tuple[Storage, str]:
        word, _, key = path.partition("/")
        storage = self._storages(tenant).get(word)
        if storage is None:
            raise StoreError(path, "it is of a place that the tenant's record does not name.")
        return storage, key


def _check(storage: Storage, connection: Connection) -> None:
    """Once made, the directory stays even if the last content in it is removed."""
    if not isinstance(storage, FilesystemStorage) or (storage.root / CONTENT).is_dir():
        return
    if not inspect(connection).has_table("content"):  # a tenant at revision 0001
        return
    counted = select(func.count()).where(_content.c.place == storage.place, _content.c.refs > 0)
    contents = connection.execute(counted).scalar_one()
    if contents:
        reason = (
            f"the directory is not there, and {contents} contents of documents should be in it. Mount its disk, or put"
            " the files back; documents whose files are lost for good are removed by `docex document rm`."
        )
        raise StoreError(str(storage.root / CONTENT), reason)


def _moved(source: Storage, target: Storage) -> None:
    """Move everything from one tenant's part of a place to another's. Done already: do nothing."""
    if isinstance(source, FilesystemStorage) and isinstance(target, FilesystemStorage):
        if source.root != target.root and source.root.exists():
            try:
                os.rename(source.root, target.root)
            except OSError as error:
                reason = f"it cannot be moved to {target.root}: {error.strerror}. Clear the way and rename again."
                raise StorageError(source.root, reason) from error
        return
    one, other = cast("S3Storage", source), cast("S3Storage", target)
    if one.prefix != other.prefix:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            keys = list(one.keys())
            list(pool.map(lambda key: one.copy_to(other, key), keys))
            list(pool.map(one.delete, keys))


def _removed(storage: Storage) -> None:
    """Remove the contents of one tenant's part of a place, and the readable paths to them."""
    if not isinstance(storage, FilesystemStorage):
        bucket = cast("S3Storage", storage)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(bucket.delete, bucket.keys()))
        return
    storage.sweep(0)
    keys = {_inode(storage.root / content.key): content.key for content in storage.contents()}
    # First the paths that lead to contents: after a kill, a path alone would not be known for one.
    for directory, _, names in os.walk(storage.root):
        for path in (Path(directory, name) for name in names):
            found = keys.get(_inode(path))
            if found is not None and path != storage.root / found:
                path.unlink()
    for key in keys.values():
        storage.delete(key)
    for directory, _, _ in os.walk(storage.root, topdown=False):
        with suppress(OSError):  # it holds what is not ours
            os.rmdir(directory)


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat(follow_symlinks=False)
    return found.st_dev, found.st_ino


class _Coming(io.RawIOBase):
    """An object as it comes; that it breaks off is an error of the operation too."""

    def __init__(self, content: BinaryIO) -> None:
        self._content = content

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        with _as_store_error():
            return self._content.read(size)

    def close(self) -> None:
        self._content.close()
        super().close()


@contextmanager
def _as_store_error() -> Iterator[None]:
    """Errors of the storage as the engine's, whose operation is going on."""
    try:
        yield
    except StorageError as error:
        raise StoreError(*error.args) from error
    except FileNotFoundError as error:
        raise StoreError(str(error), "it was removed while it was read.") from error
    except OSError as error:
        raise StoreError(str(error.filename), f"{error.strerror}.") from error
