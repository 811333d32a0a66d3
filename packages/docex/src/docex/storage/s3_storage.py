"""Objects of one S3 bucket, for scripts that keep something of their own beside their documents.

The bucket is made when the first object is kept, if there is none. An object appears whole or not at all.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

from pydantic import ValidationError

from docex.config.settings import S3Settings, problems
from docex.errors import ConfigurationError, FileMissing, KeyRejected, StorageError
from docex.s3 import S3Fault, client, encryption, s3_faults, transfer
from docex.storage.abstract_storage import AbstractStorage, Content, stream_of
from docex.storage.s3 import account, bucket_name

EXPIRES = 3600  # seconds that an address is good for by default


class S3Storage(AbstractStorage):
    """Contents as objects; ``config`` has the keys of ``storage.s3``, at its top or under ``s3``."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Connects to nothing yet. :raises ConfigurationError: the configuration cannot be used."""
        given = {name: value for name, value in config.items() if name not in ("type", "s3")} | config.get("s3", {})
        try:
            self._settings = S3Settings.model_validate(given)
        except ValidationError as error:
            raise ConfigurationError("storage", f"s3: {problems(error)}.") from None
        self.bucket = bucket_name(self._settings)
        parts = (self._settings.path_namespace, self._settings.prefix)
        self.prefix = "".join(f"{part.strip('/')}/" for part in parts if part.strip("/"))

    def __repr__(self) -> str:
        return f"S3Storage('s3://{self.bucket}/{self.prefix}')"

    def save(self, path: str, content: Content) -> None:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`. :raises StorageError: the server says no."""
        key = self._key(path)
        self.ensure_storage_exists()
        with self._faults(path):
            self._client.upload_fileobj(
                stream_of(content), self.bucket, key, ExtraArgs=self._encryption, Config=transfer()
            )

    def load(self, path: str) -> BinaryIO | None:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`."""
        try:
            with self._faults(path):
                body = self._client.get_object(Bucket=self.bucket, Key=self._key(path))["Body"]
                return io.BytesIO(body.read())
        except FileNotFoundError:
            return None

    def delete(self, path: str) -> bool:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`."""
        if self._head(path) is None:
            return False
        with self._faults(path):
            self._client.delete_object(Bucket=self.bucket, Key=self._key(path))
        return True

    def exists(self, path: str) -> bool:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`."""
        return self._head(path) is not None or bool(self.list_directory(path))

    def create_directory(self, path: str) -> bool:
        """Nothing is to be made: a directory is there as soon as something lies below it."""
        self._key(path)
        return True

    def list_directory(self, path: str) -> list[str]:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`. ``""`` is the storage itself."""
        below = f"{self._key(path)}/" if path else self.prefix
        found: set[str] = set()
        with suppress(FileNotFoundError), self._faults(path):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=below, Delimiter="/"):
                found |= {entry["Key"] for entry in page.get("Contents", ())}
                found |= {entry["Prefix"].rstrip("/") for entry in page.get("CommonPrefixes", ())}
        return sorted(key.removeprefix(self.prefix) for key in found)

    def get_metadata(self, path: str) -> dict[str, Any]:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`; also ``content_type``."""
        head = self._head(path)
        if head is None:
            raise FileMissing(path, "there is no such object in the storage.")
        own = {name: json.loads(unquote(value)) for name, value in head.get("Metadata", {}).items()}
        return {
            **own,
            "size": head["ContentLength"],
            "modified_at": head["LastModified"],
            "content_type": head.get("ContentType"),
        }

    def set_metadata(self, path: str, metadata: Mapping[str, Any]) -> bool:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`. Their names become small letters."""
        if self._head(path) is None:
            return False
        # As what a header can hold.
        kept = {str(name): quote(json.dumps(value)) for name, value in metadata.items()}
        with self._faults(path):
            self._client.copy_object(
                Bucket=self.bucket,
                Key=self._key(path),
                CopySource={"Bucket": self.bucket, "Key": self._key(path)},
                Metadata=kept,
                MetadataDirective="REPLACE",
                **self._encryption,
            )
        return True

    def get_url(self, path: str, expires_in: int | None = None) -> str:
        """An address from which anyone may read the content for so many seconds, by default an hour."""
        with self._faults(path):
            asked = {"Bucket": self.bucket, "Key": self._key(path)}
            return str(self._client.generate_presigned_url("get_object", Params=asked, ExpiresIn=expires_in or EXPIRES))

    def copy(self, source_path: str, dest_path: str) -> bool:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`. The server copies."""
        if self._head(source_path) is None:
            return False
        source = {"Bucket": self.bucket, "Key": self._key(source_path)}
        with self._faults(dest_path):
            self._client.copy(source, self.bucket, self._key(dest_path), ExtraArgs=self._encryption, Config=transfer())
        return True

    def move(self, source_path: str, dest_path: str) -> bool:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`."""
        if self._key(source_path) == self._key(dest_path):
            return self._head(source_path) is not None
        return self.copy(source_path, dest_path) and self.delete(source_path)

    def store(self, source_path: str, document_path: str) -> str:
        """See :class:`~docex.storage.abstract_storage.AbstractStorage`."""
        with open(source_path, "rb") as file:
            self.save(document_path, file)
        return document_path

    def ensure_storage_exists(self) -> None:
        """Make the bucket if there is none."""
        with suppress(FileNotFoundError), self._faults(""):
            self._client.head_bucket(Bucket=self.bucket)
            return
        region = self._settings.region
        # The one region that must not be named.
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with self._faults(""):
            self._client.create_bucket(Bucket=self.bucket, **where)

    @cached_property
    def _client(self) -> Any:
        return client(account(self._settings), needed_by="a storage of type 's3'")

    @property
    def _encryption(self) -> dict[str, str]:
        return encryption(self._settings.server_side_encryption, self._settings.kms_key_id)

    def _key(self, path: str) -> str:
        if not path or any(part in ("", ".", "..") or "\0" in part for part in path.split("/")):
            raise KeyRejected(path, "use names separated by '/', none of them empty, '.' or '..'.")
        return self.prefix + path

    def _head(self, path: str) -> dict[str, Any] | None:
        try:
            with self._faults(path):
                found: dict[str, Any] = self._client.head_object(Bucket=self.bucket, Key=self._key(path))
                return found
        except FileNotFoundError:
            return None

    @contextmanager
    def _faults(self, path: str) -> Iterator[None]:
        """:raises FileNotFoundError: there is no such bucket or object. :raises StorageError: anything else."""
        where = f"s3://{self.bucket}/{self.prefix}{path}"
        try:
            with s3_faults():
                yield
        except S3Fault as error:
            if error.absent:
                raise FileNotFoundError(where) from error
            raise StorageError(where, f"{error.reason}.") from error
