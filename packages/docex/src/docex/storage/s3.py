"""Contents as objects of an S3 bucket, each once, and readable copies of them.

Keys begin with A, the tenant's own: ``{tenant_id}/{path_namespace}/{prefix}/``, empty parts left out. A content is the
object ``A content/ab/abcd...``, named by its SHA-256; ``A {basket}_{id}/{name}_{id}.pdf`` is a copy for people and
other programs, made by the server (``readable_copies: false`` does without). An object appears whole or not at all;
large ones travel in parts. Nothing is connected to before the first content is written or read.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from docex.config.settings import S3Settings
from docex.errors import ConfigurationError, KeyRejected, StorageError
from docex.s3 import S3Account, S3Fault, client, encryption, s3_faults, transfer
from docex.storage.base import Staged, StoredContent, staged

CONTENT = "content"  # below A; a basket's folder ends with its id, so none is called so
FILES_AT_ONCE = 8  # when many contents are kept by one call
WINDOW = 1024 * 1024  # bytes that a reader holds
LONGEST_URL = 7 * 24 * 3600  # seconds; S3 signs for no longer

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_ALLOWED = "use A-Z, a-z, 0-9, '_', '.' and '-', not starting with a dot."
_made: set[tuple[int, str | None, str]] = set()  # buckets that were found or made by this process
_directories: dict[int, tempfile.TemporaryDirectory[str]] = {}
_guard = threading.Lock()


class S3Storage:
    """The contents of one tenant in one bucket. Making this object connects to nothing."""

    kind = "s3"

    def __init__(self, settings: S3Settings, tenant_id: str | None) -> None:
        self._settings = settings
        self.links_paths = settings.readable_copies
        self.bucket = bucket_name(settings)
        given = [*settings.path_namespace.split("/"), *settings.prefix.split("/")]
        below = "".join(f"{_part(part)}/" for part in given if part)
        self.prefix = f"{_part(tenant_id)}/{below}" if tenant_id else below
        # Without the tenant, which may be called otherwise one day: its rows go with it and stay as they are.
        self.place = f"s3:{self.bucket}/{below}"[:255]

    def __repr__(self) -> str:
        return f"S3Storage('s3://{self.bucket}/{self.prefix}')"

    def receive(self, reader: BinaryIO, name: str) -> AbstractContextManager[Staged]:
        """See :class:`~docex.storage.base.Storage`."""
        return staged(reader, name, tempfile.gettempdir(), _temporary)

    def content_key(self, checksum: str, readable: str) -> str:
        """See :class:`~docex.storage.base.Storage`."""
        return f"{CONTENT}/{checksum[:2]}/{checksum}"

    def publish(self, contents: Sequence[tuple[Staged, str]], *, durable: bool = True) -> None:
        """See :class:`~docex.storage.base.Storage`."""
        self._make_bucket()
        if len(contents) == 1:
            self._put(*contents[0])
            return
        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            for done in [pool.submit(self._put, content, key) for content, key in contents]:
                done.result()

    def exists(self, key: str) -> bool:
        """See :class:`~docex.storage.base.Storage`."""
        try:
            self._size(key)
        except FileNotFoundError:
            return False
        return True

    def secure(self, key: str, size: int) -> bool:
        """See :class:`~docex.storage.base.Storage`. What S3 has taken is safe."""
        try:
            return self._size(key) == size
        except FileNotFoundError:
            return False

    def open(self, key: str, start: int = 0, size: int | None = None) -> BinaryIO:
        """See :class:`~docex.storage.base.Storage`."""
        found = self._size(key)
        if size is not None and found != size:
            raise FileNotFoundError(key)
        return io.BufferedReader(_Object(self, key, found, start), WINDOW)

    def read(self, key: str, start: int) -> Any:
        """The bytes of an object from ``start`` on, as boto3 streams them."""
        with self._faults(key):
            return self._client.get_object(Bucket=self.bucket, Key=self._key(key), Range=f"bytes={start}-")["Body"]

    def delete(self, key: str) -> None:
        """See :class:`~docex.storage.base.Storage`."""
        with suppress(FileNotFoundError), self._faults(key):
            self._client.delete_object(Bucket=self.bucket, Key=self._key(key))

    def link(self, key: str, readable: str) -> bool:
        """See :class:`~docex.storage.base.Storage`. A copy, as S3 has no links."""
        if not self._settings.readable_copies:
            return False
        if self.exists(readable):
            raise FileExistsError(readable)
        self._copy(key, self, readable)
        return True

    def unlink(self, readable: str) -> None:
        """See :class:`~docex.storage.base.Storage`."""
        if self._settings.readable_copies:
            self.delete(readable)

    def contents(self) -> Iterator[StoredContent]:
        """See :class:`~docex.storage.base.Storage`."""
        for entry in self._entries(f"{CONTENT}/"):
            yield StoredContent(
                entry["Key"].removeprefix(self.prefix), entry["Size"], entry["LastModified"].timestamp()
            )

    def keys(self) -> Iterator[str]:
        """The keys of all contents and readable copies; not of a storage that begins deeper below this one's prefix."""
        for entry in self._entries(""):
            key = entry["Key"].removeprefix(self.prefix)
            if key.startswith(f"{CONTENT}/") or key.count("/") == 1:
                yield key

    def copy_to(self, other: S3Storage, key: str) -> None:
        """Have the server copy an object to the same key of another tenant's storage in this bucket."""
        self._copy(key, other, key)

    def _copy(self, key: str, other: S3Storage, to: str) -> None:
        with self._faults(to), s3_faults():
            self._client.copy(
                {"Bucket": self.bucket, "Key": self._key(key)},
                other.bucket,
                other._key(to),
                ExtraArgs=self._encryption,
                Config=transfer(),
            )

    def links(self, folder: str) -> Iterator[str]:
        """See :class:`~docex.storage.base.Storage`."""
        for entry in self._entries(f"{folder}/"):
            yield entry["Key"].removeprefix(self.prefix)

    def sweep(self, older_than: float) -> list[str]:
        """See :class:`~docex.storage.base.Storage`: uploads in parts that were never finished."""
        before, swept = time.time() - older_than, []
        with suppress(FileNotFoundError), self._faults(""):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=self.prefix
            )
            for upload in [upload for page in pages for upload in page.get("Uploads", ())]:
                if upload["Initiated"].timestamp() < before:
                    self._client.abort_multipart_upload(
                        Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
                    swept.append(f"s3://{self.bucket}/{upload['Key']}")
        return swept

    def location(self, folder: str) -> str:
        """See :class:`~docex.storage.base.Storage`."""
        return f"s3://{self.bucket}/{self._key(folder)}/"

    def remove_folder(self, folder: str) -> None:
        """See :class:`~docex.storage.base.Storage`. S3 has no folders."""

    def url(self, key: str, expires_in: int) -> str:
        """See :class:`~docex.storage.base.Storage`. Whoever has the address may read until it expires."""
        if not 0 < expires_in <= LONGEST_URL:
            raise StorageError(key, f"an address is good for 1 to {LONGEST_URL} seconds, not {expires_in}.")
        with self._faults(key):
            return str(
                self._client.generate_presigned_url(
                    "get_object", Params={"Bucket": self.bucket, "Key": self._key(key)}, ExpiresIn=expires_in
                )
            )

    @cached_property
    def _client(self) -> Any:
        return shared_client(account(self._settings))

    @property
    def _encryption(self) -> dict[str, str]:
        return encryption(self._settings.server_side_encryption, self._settings.kms_key_id)

    def _key(self, key: str) -> str:
        return self.prefix + "/".join(_part(part) for part in key.split("/"))

    def _size(self, key: str) -> int:
        with self._faults(key):
            return int(self._client.head_object(Bucket=self.bucket, Key=self._key(key))["ContentLength"])

    def _put(self, content: Staged, key: str) -> None:
        name = self._key(key)
        with self._faults(key), s3_faults():
            if content.data is not None:
                self._client.put_object(Bucket=self.bucket, Key=name, Body=content.data, **self._encryption)
            else:
                with content.open() as reader:
                    self._client.upload_fileobj(
                        reader, self.bucket, name, ExtraArgs=self._encryption, Config=transfer()
                    )

    def _entries(self, below: str) -> Iterator[dict[str, Any]]:
        with suppress(FileNotFoundError), self._faults(below):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix + below):
                yield from page.get("Contents", ())

    def _make_bucket(self) -> None:
        """Make the bucket if there is none, once per process."""
        which = (os.getpid(), self._settings.endpoint_url, self.bucket)
        if which in _made:
            return
        try:
            with self._faults(""):
                self._client.head_bucket(Bucket=self.bucket)
        except FileNotFoundError:
            # The one region that must not be named.
            region = self._settings.region
            where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            with self._faults("", ignoring="BucketAlreadyOwnedByYou"):
                self._client.create_bucket(Bucket=self.bucket, **where)
        with _guard:
            _made.add(which)

    @contextmanager
    def _faults(self, key: str, ignoring: str = "none") -> Iterator[None]:
        """:raises FileNotFoundError: there is no such bucket or object. :raises StorageError: anything else."""
        where = f"s3://{self.bucket}/{self.prefix}{key}"
        try:
            with s3_faults():
                yield
        except S3Fault as error:
            if error.absent:
                raise FileNotFoundError(where) from error
            if not error.reason.startswith(ignoring):
                raise StorageError(where, f"{error.reason}.") from error


class _Object(io.RawIOBase):
    """An object being read; a connection that breaks is opened again where it stopped."""

    def __init__(self, storage: S3Storage, key: str, size: int, start: int) -> None:
        self._storage = storage
        self._key = key
        self._size = size
        self._at = start
        self._body: Any = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        self._drop()
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._size:
            return 0
        block = self._block(len(buffer))
        buffer[: len(block)] = block
        self._at += len(block)
        return len(block)

    def close(self) -> None:
        self._drop()
        super().close()

    def _block(self, size: int) -> bytes:
        for last in (False, False, True):
            if self._body is None:
                self._body = self._storage.read(self._key, self._at)
            try:
                with s3_faults():
                    found: bytes = self._body.read(size)
                if found:
                    return found
                reason = "the object ended early"
            except (S3Fault, OSError) as error:
                reason = str(error)
            self._drop()
            if last:
                raise StorageError(f"s3://{self._storage.bucket}/{self._key}", f"reading broke off: {reason}.")
        return b""

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None


def account(settings: S3Settings) -> S3Account:
    """The server that is configured, and who we are to it."""
    secret, token = settings.secret_key, settings.session_token
    return S3Account(
        region=settings.region,
        endpoint_url=settings.endpoint_url,
        access_key=settings.access_key,
        secret_key=None if secret is None else secret.get_secret_value(),
        session_token=None if token is None else token.get_secret_value(),
        attempts=settings.max_retries + 1,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
    )


_clients: dict[tuple[int, S3Account], Any] = {}


def shared_client(whose: S3Account) -> Any:
    """One client per process and account: making one takes longer than using it, and threads may share it."""
    key = (os.getpid(), whose)
    with _guard:
        if key not in _clients:
            try:
                _clients[key] = client(whose, needed_by="A storage of type s3")
            except S3Fault as error:
                raise StorageError(whose.endpoint_url or "s3", f"{error.reason}.") from error
        return _clients[key]


def bucket_name(settings: S3Settings) -> str:
    """The bucket that is configured, in the letters that S3 takes. :raises ConfigurationError: none is."""
    given = settings.bucket
    if not given and settings.bucket_application:
        given = f"{settings.bucket_application}-documents-bucket"
    if not given:
        raise ConfigurationError("storage.s3", "name a 'bucket', or a 'bucket_application' that one is named for.")
    name = re.sub(r"-+", "-", re.sub(r"[^a-z0-9.-]", "-", given.lower())).strip("-.")[:63].rstrip("-.")
    if len(name) < 3:
        raise ConfigurationError("storage.s3", f"bucket {given!r}: a name of 3 to 63 letters, digits, '.' and '-'.")
    return name


def basket_settings(settings: S3Settings, given: Mapping[str, Any]) -> S3Settings:
    """The settings of one basket: its own over the configured ones. The credentials are always the configured ones."""
    own = {name: value for name, value in given.items() if name in BASKET_KEYS}
    return S3Settings.model_validate({**settings.model_dump(), **own})


# What a basket may say for itself, and records. No credential, which would lie in the database in clear, and no server,
# to which the configured credentials are shown.
BASKET_KEYS = (
    "bucket",
    "bucket_application",
    "region",
    "path_namespace",
    "prefix",
    "server_side_encryption",
    "kms_key_id",
    "readable_copies",
)


def _part(part: str) -> str:
    if not _KEY.fullmatch(part):
        raise KeyRejected(part, _ALLOWED)
    return part


def _temporary() -> Path:
    """A name for a file on its way, in a directory of this process that no other user can read."""
    with _guard:
        directory = _directories.get(os.getpid())
        if directory is None:
            directory = _directories[os.getpid()] = tempfile.TemporaryDirectory(prefix="docex-")
    return Path(directory.name, secrets.token_hex(8))
