"""A bucket of S3 as the other side. An object appears whole by nature; large ones travel in parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, BinaryIO, TypeVar

from docex.errors import TransportError, TransportFileMissing, TransportUnavailable
from docex.s3 import S3Account, S3Fault, client, encryption, s3_faults, transfer
from docex.transport.base import CHUNK, BaseTransporter, Outgoing
from docex.transport.config import S3TransportConfig, clear

Result = TypeVar("Result")


class S3Transporter(BaseTransporter):
    """See the module."""

    def __init__(self, config: S3TransportConfig) -> None:
        self._config = config
        self._prefix = PurePosixPath(config.prefix.strip("/"))

    async def upload(self, outgoing: Outgoing, path: PurePosixPath) -> dict[str, Any]:
        key = self._key(path)
        extra = {
            "ContentType": outgoing.content_type,
            **encryption(self._config.server_side_encryption, self._config.kms_key_id),
        }

        def send(s3: Any) -> dict[str, Any]:
            with outgoing.open() as reader:
                s3.upload_fileobj(reader, self._config.bucket, key, ExtraArgs=extra, Config=transfer())
            return {"bucket": self._config.bucket, "key": key}

        return await self._with_client(send, key)

    async def download(self, path: PurePosixPath, target: BinaryIO) -> int:
        key = self._key(path)

        def fetch(s3: Any) -> int:
            body, size = s3.get_object(Bucket=self._config.bucket, Key=key)["Body"], 0
            for chunk in body.iter_chunks(CHUNK):
                size += target.write(chunk)
            return size

        return await self._with_client(fetch, key)

    async def list_files(self, path: PurePosixPath) -> list[dict[str, Any]]:
        folder = self._key(path).removeprefix(".")
        prefix = f"{folder}/" if folder else ""

        def look(s3: Any) -> list[dict[str, Any]]:
            pages = s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._config.bucket, Prefix=prefix, Delimiter="/"
            )
            return [
                {
                    "name": str(path / entry["Key"].removeprefix(prefix)),
                    "size": entry["Size"],
                    "modified": entry["LastModified"].isoformat(),
                }
                for page in pages
                for entry in page.get("Contents", ())
                if entry["Key"] != prefix
            ]

        return await self._with_client(look, prefix)

    async def delete(self, path: PurePosixPath) -> None:
        key = self._key(path)

        def remove(s3: Any) -> None:
            s3.head_object(Bucket=self._config.bucket, Key=key)  # deleting alone says yes to what is not there
            s3.delete_object(Bucket=self._config.bucket, Key=key)

        await self._with_client(remove, key)

    async def validate(self) -> None:
        await self._with_client(lambda s3: s3.head_bucket(Bucket=self._config.bucket), "")

    def _key(self, path: PurePosixPath) -> str:
        return str(self._prefix / path)

    async def _with_client(self, work: Callable[[Any], Result], key: str) -> Result:
        def run() -> Result:
            config = self._config
            account = S3Account(
                region=config.region,
                endpoint_url=config.endpoint_url,
                access_key=config.access_key,
                secret_key=None if config.secret_key is None else clear(config.secret_key),
                session_token=None if config.session_token is None else clear(config.session_token),
                attempts=1,  # the route repeats
                connect_timeout=config.timeout,
                read_timeout=config.timeout,
            )
            with self._faults(key), s3_faults():
                return work(client(account, needed_by="A route of type s3"))

        return await asyncio.to_thread(run)

    @contextmanager
    def _faults(self, key: str) -> Iterator[None]:
        where = f"s3://{self._config.bucket}/{key}"
        try:
            yield
        except S3Fault as error:
            if error.absent:
                reason = f"{error.reason}." if key else "there is no such bucket, or it is another's."
                raise TransportFileMissing(where, reason) from error
            raise (TransportUnavailable if error.passing else TransportError)(where, f"{error.reason}.") from error
