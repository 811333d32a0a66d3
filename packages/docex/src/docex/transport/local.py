"""A directory of this machine as the other side. Symbolic links in it are not followed out of it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from docex.errors import DocexError, RoutePathRejected, TransportError, TransportFileMissing
from docex.transport.base import CHUNK, BaseTransporter, Outgoing, temporary
from docex.transport.config import LocalTransportConfig, directory_of


class LocalTransporter(BaseTransporter):
    """See the module."""

    def __init__(self, config: LocalTransportConfig) -> None:
        self._base = Path(directory_of(config))
        self._create = config.create_dirs

    async def upload(self, outgoing: Outgoing, path: PurePosixPath) -> dict[str, Any]:
        return await asyncio.to_thread(self._upload, outgoing, path)

    async def download(self, path: PurePosixPath, target: BinaryIO) -> int:
        return await asyncio.to_thread(self._download, path, target)

    async def list_files(self, path: PurePosixPath) -> list[dict[str, Any]]:
        return await asyncio.to_thread(self._list, path)

    async def delete(self, path: PurePosixPath) -> None:
        await asyncio.to_thread(self._delete, path)

    async def validate(self) -> None:
        with self._faults(PurePosixPath()):
            if self._create:
                self._base.mkdir(parents=True, exist_ok=True)
            if not os.access(self._base, os.R_OK | os.W_OK | os.X_OK) or not self._base.is_dir():
                raise TransportError(str(self._base), "it is not a directory that can be read and written.")

    def _upload(self, outgoing: Outgoing, path: PurePosixPath) -> dict[str, Any]:
        with self._faults(path):
            target = self._inside(path)
            if self._create:
                target.parent.mkdir(parents=True, exist_ok=True)
            arriving = self._inside(temporary(path))
            try:
                with outgoing.open() as reader, open(arriving, "xb") as writer:
                    shutil.copyfileobj(reader, writer, CHUNK)
                    writer.flush()
                    os.fsync(writer.fileno())
                    size = writer.tell()
                os.replace(arriving, target)
            except BaseException:
                with suppress(OSError):
                    arriving.unlink()
                raise
        return {"path": str(target), "bytes": size}

    def _download(self, path: PurePosixPath, target: BinaryIO) -> int:
        with self._faults(path):
            source = self._inside(path)
            if not source.is_file():
                raise FileNotFoundError(str(source))
            with open(source, "rb") as reader:
                shutil.copyfileobj(reader, target, CHUNK)
        return target.tell()

    def _list(self, path: PurePosixPath) -> list[dict[str, Any]]:
        with self._faults(path):
            directory = self._inside(path)
            found = []
            for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
                # What has not arrived whole is nobody's file yet.
                if entry.is_file(follow_symlinks=False) and not _arriving(entry.name):
                    status = entry.stat(follow_symlinks=False)
                    found.append(
                        {
                            "name": str(path / entry.name),
                            "size": status.st_size,
                            "modified": datetime.fromtimestamp(status.st_mtime, UTC).isoformat(),
                        }
                    )
            return found

    def _delete(self, path: PurePosixPath) -> None:
        with self._faults(path):
            self._inside(path).unlink()

    def _inside(self, path: PurePosixPath) -> Path:
        """The file meant, its directories resolved. :raises RoutePathRejected: a link leads out of the directory."""
        base = self._base.resolve()
        target = base / path
        resolved = target.parent.resolve() / target.name if path.parts else base
        if not resolved.is_relative_to(base) or resolved.is_symlink():
            raise RoutePathRejected(str(path), "a symbolic link would lead out of the route's directory.")
        return resolved

    @contextmanager
    def _faults(self, path: PurePosixPath) -> Iterator[None]:
        where = str(self._base / path)
        try:
            yield
        except DocexError:  # a content that is missing on this side is a FileNotFoundError too
            raise
        except FileNotFoundError as error:
            raise TransportFileMissing(where, "there is no such file or directory.") from error
        except OSError as error:
            raise TransportError(where, f"{error.strerror or error}.") from error


def _arriving(name: str) -> bool:
    return name.startswith(".") and name.endswith(".part")


LocalTransport = LocalTransporter  # the name that older scripts register it by
