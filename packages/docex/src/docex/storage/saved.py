"""The contents of a tenant's documents as files that are saved, restored, moved and removed together with the tenant.

Of the configured directory and of the configured bucket. Contents in a directory or a bucket that a basket names for
itself follow a tenant that is called otherwise, and otherwise stay where they are: they are not in a backup, and not
removed with the tenant; while it is archived they cannot be found, and keep its old name. Readable paths are links to
contents, or copies of them, and are not saved; ``docex fsck --mend`` makes those that are missing.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from sqlalchemy import select

from docex.errors import StorageError
from docex.models.tables import BasketRow
from docex.storage import storage_for
from docex.storage.filesystem import FilesystemStorage
from tenantry.archive import FolderFiles, Kept
from tenantry.errors import StoreError
from tenantry.tenant import Tenant

if TYPE_CHECKING:
    from docex.config.settings import S3Settings, Settings
    from docex.storage.base import Storage
    from docex.storage.s3 import S3Storage
    from tenantry.stores.base import Store

AT_ONCE = 8  # objects that are moved or removed


class DocumentContents(FolderFiles):
    """Contents below ``base``, in a folder per tenant."""

    def __init__(self, base: Path) -> None:
        super().__init__("documents", lambda tenant: base / tenant.slug)
        self._base = base

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


class OwnPlaces:
    """Contents in directories and buckets that baskets name for themselves. They are only moved."""

    name = "own-places"

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store

    def list(self, tenant: Tenant) -> Iterator[Kept]:
        """None."""
        return iter(())

    def open(self, tenant: Tenant, path: str) -> IO[bytes]:
        """:raises StoreError: there is none."""
        raise StoreError(path, "contents in a place of a basket's own are not saved with their tenant.")

    def write(self, tenant: Tenant, path: str, content: IO[bytes]) -> None:
        """:raises StoreError: nothing was saved, so nothing can come back."""
        raise StoreError(path, "contents in a place of a basket's own are not saved with their tenant.")

    def move(self, tenant: Tenant, to: Tenant) -> None:
        """Move what the tenant's baskets have elsewhere to the tenant's new name there."""
        if not self._store.exists(to.location):
            return
        with self._store.engine(to).connect() as connection:
            configs = connection.execute(select(BasketRow.storage_config)).scalars().all()
        places: dict[str, tuple[Storage, Storage]] = {}
        for config in configs:
            source = storage_for(self._settings, tenant.slug, config)
            places.setdefault(source.place, (source, storage_for(self._settings, to.slug, config)))
        with _as_store_error():
            for source, target in places.values():
                _moved(source, target)

    def remove(self, tenant: Tenant) -> None:
        """Nothing: they stay where they are."""


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
