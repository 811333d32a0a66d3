"""An SFTP server as the other side. Its host key must be known: a server that shows another one gets nothing.

A file is written under a temporary name and renamed when its size is right. Where the server cannot rename over an
existing file (an extension of OpenSSH's), the old file is removed first, and for a moment there is none.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from docex.errors import DocexError, ExtraMissing, TransportError, TransportFileMissing, TransportUnavailable
from docex.transport.base import BaseTransporter, Outgoing, temporary
from docex.transport.config import SFTPTransportConfig, clear

if TYPE_CHECKING:
    import asyncssh

# The library keeps many requests of one call under way at once, so a call takes more than a request does.
BLOCK = 4 * 1024 * 1024  # bytes
OWN_KNOWN_HOSTS = "~/.ssh/known_hosts"


class SFTPTransporter(BaseTransporter):
    """See the module."""

    def __init__(self, config: SFTPTransportConfig) -> None:
        try:
            import asyncssh
        except ImportError as error:
            raise ExtraMissing("A route of type sftp", "transport-sftp") from error
        self._ssh = asyncssh
        self._config = config
        self._where = f"sftp://{config.host}:{config.port}"

    async def upload(self, outgoing: Outgoing, path: PurePosixPath) -> dict[str, Any]:
        async with self._session(path) as sftp:
            target, arriving = self._path(path), self._path(temporary(path))
            await self._within(sftp.makedirs(str(PurePosixPath(target).parent), exist_ok=True))
            try:
                size = await self._send(sftp, outgoing, arriving)
                await self._rename(sftp, arriving, target)
            except BaseException:
                with suppress(OSError, self._ssh.Error, TimeoutError):
                    await self._within(sftp.remove(arriving))
                raise
        return {"path": target, "bytes": size}

    async def download(self, path: PurePosixPath, target: BinaryIO) -> int:
        size = 0
        async with self._session(path) as sftp, sftp.open(self._path(path), "rb") as reader:
            while block := await self._within(reader.read(BLOCK)):
                size += await asyncio.to_thread(target.write, block)
        return size

    async def list_files(self, path: PurePosixPath) -> list[dict[str, Any]]:
        found = []
        async with self._session(path) as sftp:
            for entry in await self._within(sftp.readdir(self._path(path))):
                name, attributes = str(entry.filename), entry.attrs
                arriving = name.startswith(".") and name.endswith(".part")
                if attributes.type == self._ssh.FILEXFER_TYPE_REGULAR and not arriving:
                    file: dict[str, Any] = {"name": str(path / name), "size": attributes.size}
                    if attributes.mtime is not None:
                        file["modified"] = datetime.fromtimestamp(attributes.mtime, UTC).isoformat()
                    found.append(file)
        return sorted(found, key=lambda file: str(file["name"]))

    async def delete(self, path: PurePosixPath) -> None:
        async with self._session(path) as sftp:
            await self._within(sftp.remove(self._path(path)))

    async def validate(self) -> None:
        async with self._session(PurePosixPath()) as sftp:
            with suppress(self._ssh.SFTPNoSuchFile):  # the first file makes it
                await self._within(sftp.stat(self._config.remote_path))

    async def _send(self, sftp: asyncssh.SFTPClient, outgoing: Outgoing, arriving: str) -> int:
        size = 0
        with outgoing.open() as reader:
            async with sftp.open(arriving, "wb") as writer:
                while block := await asyncio.to_thread(reader.read, BLOCK):
                    await self._within(writer.write(block))
                    size += len(block)
        there = await self._within(sftp.getsize(arriving))
        if there != size:
            raise TransportUnavailable(self._where, f"only {there} of {size} bytes arrived.")
        return size

    async def _rename(self, sftp: asyncssh.SFTPClient, arriving: str, target: str) -> None:
        try:
            await self._within(sftp.posix_rename(arriving, target))
        except self._ssh.SFTPOpUnsupported:
            with suppress(self._ssh.SFTPNoSuchFile):
                await self._within(sftp.remove(target))
            await self._within(sftp.rename(arriving, target))

    def _path(self, path: PurePosixPath) -> str:
        return str(PurePosixPath(self._config.remote_path) / path)

    async def _within(self, work: Any) -> Any:
        return await asyncio.wait_for(work, self._config.timeout)

    @asynccontextmanager
    async def _session(self, path: PurePosixPath) -> AsyncIterator[asyncssh.SFTPClient]:
        """A connection of its own for one piece of work, and the library's errors as DocEX's."""
        ssh, where = self._ssh, f"{self._where}/{self._path(path)}"
        try:
            async with await self._connect() as connection, connection.start_sftp_client() as sftp:
                yield sftp
        except DocexError:  # a content that is missing on this side is an OSError too
            raise
        except TimeoutError as error:
            raise TransportUnavailable(where, f"no answer within {self._config.timeout:g} s.") from error
        except (ssh.SFTPNoSuchFile, ssh.SFTPNoSuchPath) as error:
            raise TransportFileMissing(where, "there is no such file or directory.") from error
        except (ssh.SFTPConnectionLost, ssh.SFTPNoConnection, ssh.ConnectionLost) as error:
            raise TransportUnavailable(where, "the connection broke.") from error
        except ssh.HostKeyNotVerifiable as error:
            raise TransportError(where, f"its host key is not the one that is known here: {error.reason}.") from error
        except ssh.PermissionDenied as error:
            raise TransportError(where, f"user {self._config.username!r} is not let in.") from error
        except ssh.Error as error:
            raise TransportError(where, f"{error.reason}.") from error
        except OSError as error:
            raise TransportUnavailable(where, f"it cannot be reached: {error.strerror or error}.") from error

    async def _connect(self) -> asyncssh.SSHClientConnection:
        config, ssh = self._config, self._ssh
        expected = config.host_key

        class Client(ssh.SSHClient):  # type: ignore[misc,name-defined,unused-ignore]  # loaded late
            """Compares the server's key with a fingerprint, when that is what is known of it."""

            def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
                return expected is not None and key.get_fingerprint() == expected.strip()

        options: dict[str, Any] = {}
        if config.key_file is not None:
            options["client_keys"] = [await asyncio.to_thread(self._own_key)]
        else:
            options["client_keys"] = None
        if config.password is not None:
            options["password"] = clear(config.password)
        return await self._within(  # type: ignore[no-any-return]  # asyncssh is loaded late
            ssh.connect(
                config.host,
                config.port,
                username=config.username,
                client_factory=Client,
                known_hosts=await asyncio.to_thread(self._trusted),
                # What is configured for people who log in here by hand is no part of a route.
                config=None,
                agent_path=None,
                keepalive_interval=config.timeout,
                **options,
            )
        )

    def _own_key(self) -> asyncssh.SSHKey:
        config = self._config
        path = Path(str(config.key_file)).expanduser()
        passphrase = None if config.key_passphrase is None else clear(config.key_passphrase)
        try:
            return self._ssh.read_private_key(path, passphrase)
        except OSError as error:
            raise TransportError(str(path), f"the key cannot be read: {error.strerror}.") from error
        except (self._ssh.KeyImportError, self._ssh.KeyEncryptionError) as error:
            raise TransportError(str(path), f"it is no private key that can be used: {error}.") from error

    def _trusted(self) -> Any:
        """Whom to trust, in the library's form. Never None, which would mean anyone."""
        given, ssh = self._config.host_key, self._ssh
        if given is not None and given.strip().startswith("SHA256:"):
            return ([], [], [])
        if given is not None:
            try:
                return ([ssh.import_public_key(given)], [], [])
            except ssh.KeyImportError as error:
                raise TransportError(self._where, "host_key is neither a public key nor a fingerprint.") from error
        path = os.path.expanduser(self._config.known_hosts or OWN_KNOWN_HOSTS)
        try:
            return ssh.read_known_hosts(path)
        except OSError as error:
            raise TransportError(
                self._where,
                f"its host key cannot be checked: {path} cannot be read ({error.strerror}). Put the server's key into "
                "host_key, or name a file in known_hosts.",
            ) from error
        except ValueError as error:
            raise TransportError(self._where, f"its host key cannot be checked: {path} holds no keys.") from error


SFTPTransport = SFTPTransporter  # the name that older scripts register it by
