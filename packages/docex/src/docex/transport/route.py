"""A route: a named way to another side, with what may be done over it.

Every use is checked against the route's present state, repeated with growing delays while nobody answers, and written
into ``route_operations``. How it ended is returned, not raised: a partner that is away is no bug of the caller's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from docex import access
from docex.contents import content_type
from docex.errors import DocexError, RouteClosed, RouteNotFound, TransportUnavailable
from docex.services.route_service import RouteRecord, RouteService
from docex.transport.base import BaseTransporter, Outgoing, remote_path
from docex.transport.config import BaseTransportConfig, OtherParty, RouteMethod, masked, opened
from docex.transport.transport_result import TransportResult
from docex.transport.transporter_factory import TransporterFactory
from docex.vault import Vault

if TYPE_CHECKING:
    from docex.database import Database
    from docex.document import Document

logger = logging.getLogger(__name__)

LONGEST_DELAY = 30.0  # seconds between two attempts
NOT_ALLOWED = {
    RouteMethod.UPLOAD: "does not allow uploads",
    RouteMethod.DOWNLOAD: "does not allow downloads",
    RouteMethod.LIST: "does not allow listing",
    RouteMethod.DELETE: "does not allow deletion",
}


@dataclass
class _Use:
    """One use of a route while it is under way."""

    config: BaseTransportConfig
    transporter: BaseTransporter
    details: dict[str, Any]
    operation_id: str
    attempts: int = 0


class Route:
    """A route as it was when it was read. Made by the methods of :class:`~docex.application.DocEX` only."""

    def __init__(self, db: Database, record: RouteRecord) -> None:
        self._db = db
        self._service = RouteService(db)
        self._record = record
        self.route_id: str = record.id
        self.name: str = record.name
        self.purpose: str = record.purpose
        self.protocol: str = record.protocol
        self.config: dict[str, Any] = masked(record.config)
        self.can_upload: bool = record.can_upload
        self.can_download: bool = record.can_download
        self.can_list: bool = record.can_list
        self.can_delete: bool = record.can_delete
        self.route_metadata: dict[str, Any] = dict(record.route_metadata)
        self.tags: list[str] = list(record.tags)
        self.priority: int = record.priority
        self.enabled: bool = record.enabled
        self.created_at = record.created_at
        self.updated_at = record.updated_at

    def __repr__(self) -> str:
        return f"<Route {self.name!r} {self.protocol}>"

    @property
    def other_party(self) -> OtherParty | None:
        """Whom the route connects to."""
        record = self._record
        if record.other_party_id is None:
            return None
        return OtherParty(
            id=record.other_party_id,
            name=record.other_party_name or "",
            type=record.other_party_type or "",
            metadata=dict(record.route_metadata.get("other_party", {})),
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything about the route, credentials masked."""
        party = self.other_party
        return {
            "route_id": self.route_id,
            "name": self.name,
            "purpose": self.purpose,
            "protocol": self.protocol,
            "config": self.config,
            "can_upload": self.can_upload,
            "can_download": self.can_download,
            "can_list": self.can_list,
            "can_delete": self.can_delete,
            "other_party": None if party is None else party.model_dump(),
            "route_metadata": self.route_metadata,
            "tags": self.tags,
            "priority": self.priority,
            "enabled": self.enabled,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }

    # -- what can be done over it --------------------------------------------------------------------------------------

    async def upload(self, file_path: str | os.PathLike[str], destination_path: str) -> TransportResult:
        """Bring a file of this machine to the other side."""
        path = Path(file_path)

        async def work(use: _Use) -> str:
            outgoing = Outgoing(
                open=lambda: path.open("rb"),
                name=PurePosixPath(destination_path).name,
                size=(await asyncio.to_thread(path.stat)).st_size,
                content_type=content_type(path.suffix),
                key=use.operation_id,
            )
            use.details |= await use.transporter.upload(outgoing, remote_path(destination_path))
            return f"File uploaded to {destination_path}"

        return await self._used(
            RouteMethod.UPLOAD, work, {"source": str(path), "destination": destination_path}, destination_path
        )

    async def upload_document(self, document: Document, destination: str | None = None) -> TransportResult:
        """Send a document's stored bytes. Without a destination it arrives under the document's name.

        Success makes the document's status SENT and is written into its operations, as a failure is.
        """
        target = document.name if destination is None else destination

        async def work(use: _Use) -> str:
            outgoing = Outgoing(
                open=document.open,
                name=PurePosixPath(target).name,
                size=document.size,
                content_type=document.content_type or content_type(PurePosixPath(target).suffix),
                key=use.operation_id,
            )
            use.details |= await use.transporter.upload(outgoing, remote_path(target))
            return f"Document {document.id} sent to {target}"

        details = {"destination": target, "checksum": document.checksum}
        result = await self._used(RouteMethod.UPLOAD, work, details, target, document_id=document.id)
        if result.success:
            document.status = "SENT"
        return result

    async def download(self, file_path: str, destination_path: str | os.PathLike[str]) -> TransportResult:
        """Fetch a file of the other side. It appears here whole or not at all; one of that name is replaced."""
        target = Path(destination_path)

        async def work(use: _Use) -> str:
            size = await _arrived_whole(target, partial(use.transporter.download, remote_path(file_path)))
            use.details["bytes"] = size
            return f"File downloaded to {target}"

        return await self._used(
            RouteMethod.DOWNLOAD, work, {"source": file_path, "destination": str(target)}, file_path
        )

    async def list_files(self, path: str = "") -> TransportResult:
        """List a directory of the other side: ``details["files"]``, each with the ``name`` that other methods take."""
        found: list[dict[str, Any]] = []

        async def work(use: _Use) -> str:
            found.extend(await use.transporter.list_files(remote_path(path, directory=True)))
            use.details["count"] = len(found)
            return f"{len(found)} file(s) found"

        return await self._used(RouteMethod.LIST, work, {"path": path}, path, shown={"files": found}, directory=True)

    async def delete(self, file_path: str) -> TransportResult:
        """Remove a file of the other side."""

        async def work(use: _Use) -> str:
            await use.transporter.delete(remote_path(file_path))
            return f"File {file_path} deleted"

        return await self._used(RouteMethod.DELETE, work, {"path": file_path}, file_path)

    async def validate(self) -> TransportResult:
        """Try whether the other side can be reached and lets us in. Nothing is recorded."""
        try:
            await self._opened({}).transporter.validate()
        except DocexError as error:
            return TransportResult(False, str(error), error)
        return TransportResult(True, f"Route '{self.name}' works")

    # -- how -----------------------------------------------------------------------------------------------------------

    async def _used(
        self,
        method: RouteMethod,
        work: Callable[[_Use], Awaitable[str]],
        details: dict[str, Any],
        path: str,
        *,
        document_id: str | None = None,
        shown: Mapping[str, Any] | None = None,
        directory: bool = False,
    ) -> TransportResult:
        """Check, record, do, repeat, record. ``shown`` joins the result's details, not the record's."""
        access.check(self._db, access.READ if method in (RouteMethod.LIST, RouteMethod.DOWNLOAD) else access.WRITE)
        try:
            await asyncio.to_thread(self._refuse_closed, method)
            remote_path(path, directory=directory)
        except DocexError as error:
            return TransportResult(False, str(error), error)
        operation_id = await asyncio.to_thread(
            self._service.begin, self._record, method.value, details, document_id=document_id
        )
        failure: Exception | None = None
        try:
            use = self._opened(details, operation_id)
            message = await _repeated(work, use)
        except (DocexError, OSError) as error:
            failure, message = error, _sentence(error)
        except asyncio.CancelledError:
            await asyncio.shield(self._ended(operation_id, "it was cancelled", details, document_id))
            raise
        await self._ended(operation_id, None if failure is None else message, details, document_id)
        if failure is not None:
            logger.info("route %s: %s failed: %s", self.name, method.value, message)
        return TransportResult(
            failure is None, message, failure, {**details, "route_operation_id": operation_id, **(shown or {})}
        )

    async def _ended(
        self, operation_id: str, error: str | None, details: Mapping[str, Any], document_id: str | None
    ) -> None:
        end = partial(self._service.end, error=error, details=details, document_id=document_id)
        await asyncio.to_thread(end, operation_id, self._record)

    def _refuse_closed(self, method: RouteMethod) -> None:
        """:raises RouteClosed: the route, as it is now, is not to be used so."""
        present = self._service.get(self.name)
        if present is None or present.id != self.route_id:
            raise RouteNotFound(self.name)
        self._record = present
        if not present.enabled or not present.config.get("enabled", True):
            raise RouteClosed(self.name, "is disabled")
        if not getattr(present, f"can_{method.value}"):
            raise RouteClosed(self.name, NOT_ALLOWED[method])

    def _opened(self, details: dict[str, Any], operation_id: str = "") -> _Use:
        clear = opened(self._record.config, Vault(), self.route_id)
        config = TransporterFactory.check(self.name, self.protocol, clear)
        return _Use(config, TransporterFactory.create_transporter(config), details, operation_id)


async def _repeated(work: Callable[[_Use], Awaitable[str]], use: _Use) -> str:
    """Do the work until it succeeds, fails for good, or has been repeated often enough."""
    delay = use.config.retry_delay
    while True:
        use.attempts += 1
        use.details["attempts"] = use.attempts
        try:
            return await work(use)
        except TransportUnavailable as error:
            if use.attempts > use.config.retry_count:
                raise
            logger.info("attempt %d of %d failed: %s", use.attempts, use.config.retry_count + 1, error)
        # Not all at once: whoever was away would be overrun when it comes back.
        await asyncio.sleep(min(delay, LONGEST_DELAY) * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        delay *= 2


async def _arrived_whole(target: Path, fetch: Callable[[BinaryIO], Awaitable[int]]) -> int:
    """Fetch into a file beside the target, and move it into place."""
    descriptor, name = await asyncio.to_thread(
        partial(tempfile.mkstemp, prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent)
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            size = await fetch(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    return size


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and not isinstance(error, DocexError) and error.filename:
        return f"{error.filename}: {error.strerror}."
    return str(error)
