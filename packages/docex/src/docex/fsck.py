"""Hold a tenant's rows and its storage against each other, and mend what a kill left.

A kill leaves bytes that no row counts, readable paths to nothing, and temporary files; all are removed. What other
causes leave - a row without its bytes, wrong bytes, a wrong count - is told, and mended where nothing has to be
invented: bytes that a readable path or a row still has are put back, counts are made anew. Nothing is mended unless
asked for. A power failure can take the files of texts that were added just before; this puts them back.
"""

from __future__ import annotations

import hashlib
import io
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, select, update

from docex import access
from docex.errors import StorageError
from docex.models.holdings import USAGE_ID, ContentRow, UsageRow
from docex.models.tables import DocumentRow, FileHistoryRow, table_of
from docex.services import audit, content_service, usage_service
from docex.services.asking import in_basket
from docex.services.document_service import whole
from docex.services.intake import dedup_key
from docex.storage.base import CHUNK

if TYPE_CHECKING:
    from docex.application import DocEX
    from docex.docbasket import DocBasket
    from docex.storage.base import Staged, Storage

logger = logging.getLogger(__name__)

NAMED = 3  # documents, of those that lack a content
FRESH = 3600.0  # seconds; what is younger may belong to work that is under way

_content = table_of(ContentRow)
_document = table_of(DocumentRow)
_history = table_of(FileHistoryRow)


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be."""

    # stray content, stray path, leftover, missing content, damaged content, missing path, wrong count, content of an
    # earlier release
    kind: str
    where: str
    mended: bool
    detail: str = ""


@dataclass
class Report:
    """What a check found, and how much it looked at."""

    findings: list[Finding] = field(default_factory=list)
    documents: int = 0
    contents: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong, or everything that was is mended."""
        return all(finding.mended for finding in self.findings)


def check(
    docex: DocEX,
    *,
    mend: bool = False,
    verify: bool = False,
    older_than: float = FRESH,
    progress: Callable[[int], object] | None = None,
) -> Report:
    """Look at every content, path and count of the tenant. See :meth:`docex.application.DocEX.fsck`."""
    access.check(docex.db, access.ADMIN)
    return _Check(docex, mend, verify, older_than, progress).run()


class _Check:
    def __init__(
        self,
        docex: DocEX,
        mend: bool,
        verify: bool,
        older_than: float,
        progress: Callable[[int], object] | None,
    ) -> None:
        self._docex = docex
        self._db = docex.db
        self._mend = mend
        self._verify = verify
        self._older_than = older_than
        self._progress = progress
        self._report = Report()
        self._baskets = docex.list_baskets()
        self._storages: dict[str, Storage] = {docex.storage.place: docex.storage}
        self._storages |= {basket.storage.place: basket.storage for basket in self._baskets}

    def run(self) -> Report:
        if self._mend:
            for basket in self._baskets:
                self._adopt(basket)
        for storage in self._storages.values():
            self._sweep(storage)
            self._contents(storage)
        for basket in self._baskets:
            self._paths(basket)
        self._counts()
        self._usage()
        if self._mend and self._report.findings:
            with self._db.session(write=True) as session:
                details = dict(Counter(finding.kind for finding in self._report.findings))
                audit.record(session.connection(), self._db, "fsck.mend", details=details)
        return self._report

    def _found(self, kind: str, where: str, mended: bool, detail: str = "") -> None:
        self._report.findings.append(Finding(kind, where, mended, detail))

    def _adopt(self, basket: DocBasket) -> None:
        """Count the contents that revision 0001 kept under their readable paths, as all others are."""
        query = (
            select(_history.c.id, _history.c.document_id, _history.c.internal_path, _document.c.source)
            .join(_document, _document.c.id == _history.c.document_id)
            .where(_document.c.basket_id == basket.id, _history.c.place.is_(None))
            .order_by(_history.c.document_id, _history.c.created_at, _history.c.id)
        )
        with self._db.session() as session:
            rows = session.connection().execute(query).all()
        for row in rows:
            readable = f"{basket.folder}/{row.internal_path}"
            if not basket.storage.exists(readable):
                continue  # told as a missing content
            with basket.storage.open(readable) as file, basket.storage.receive(file, readable) as staged:
                key = basket.storage.content_key(staged.checksum, row.internal_path)
                if not basket.storage.secure(key, staged.size):
                    basket.storage.publish([(staged, key)])
                with self._db.connection(write=True) as connection:
                    self._count(connection, basket, row, staged, key)
            basket.storage.unlink(readable)
            basket.storage.link(key, readable)
            self._found("content of an earlier release", readable, True)

    def _count(self, connection: Connection, basket: DocBasket, row: Any, staged: Staged, key: str) -> None:
        place, checksum = basket.storage.place, staged.checksum
        older = select(func.count()).where(_history.c.document_id == row.document_id, _history.c.id < row.id)
        version = int(connection.execute(older).scalar_one()) + 1
        kept = {"place": place, "checksum": checksum, "size": staged.size, "version": version}
        adopted = update(_history).where(_history.c.id == row.id, _history.c.place.is_(None)).values(kept)
        if connection.execute(adopted).rowcount == 0:
            return  # another process did, or the document was removed
        content_service.hold(connection, place, checksum, key, staged.size)
        if not basket.storage.exists(key):  # removed before it was counted
            basket.storage.publish([(staged, key)])
        dedup = dedup_key(checksum, row.source)
        of_basket = in_basket(basket.id, few=True)
        taken = select(_document.c.id).where(of_basket, _document.c.dedup_key == dedup)
        known = connection.execute(taken).first() is not None
        connection.execute(
            update(_document)
            .where(_document.c.id == row.document_id, _document.c.path == row.internal_path)
            .values(place=place, checksum=checksum, size=staged.size, dedup_key=None if known else dedup)
        )

    def _sweep(self, storage: Storage) -> None:
        if self._mend:
            for name in storage.sweep(self._older_than):
                self._found("leftover", name, True)

    def _contents(self, storage: Storage) -> None:
        """Contents of one storage against their rows, both ways."""
        with self._db.session() as session:
            query = select(_content.c.checksum, _content.c.key, _content.c.size, _content.c.refs)
            rows = session.connection().execute(query.where(_content.c.place == storage.place)).all()
        by_key = {row.key: row for row in rows}
        seen = set()
        young = self._young()
        for stored in storage.contents():
            self._report.contents += 1
            if self._progress is not None:
                self._progress(self._report.contents)
            seen.add(stored.key)
            row = by_key.get(stored.key)
            if row is None or row.refs <= 0:
                if stored.modified < young:
                    checksum = stored.key.rpartition("/")[2]
                    # Looked at again under a lock: a document may have been added since the rows were read.
                    mended = self._mend and content_service.reap(self._db, storage, [checksum]) > 0
                    if mended or not self._mend:
                        self._found("stray content", stored.key, mended)
            elif stored.size != row.size or (self._verify and not self._whole(storage, row.key, row.checksum)):
                mended = self._mend and self._restored(storage, row.key, row.checksum)
                detail = "" if mended else f"{self._held(storage, row.checksum)}; restore it from a backup"
                self._found("damaged content", row.key, mended, detail)
        for row in rows:
            if row.key not in seen and row.refs > 0 and not storage.exists(row.key):
                with self._db.session() as session:
                    now = select(_content.c.refs).where(
                        _content.c.place == storage.place, _content.c.checksum == row.checksum
                    )
                    if not session.connection().execute(now).scalar_one_or_none():
                        continue  # removed since the rows were read
                mended = self._mend and self._restored(storage, row.key, row.checksum)
                lost = f"{self._held(storage, row.checksum)}; restore it from a backup, or add the file again"
                self._found("missing content", row.key, mended, "" if mended else lost)

    def _held(self, storage: Storage, checksum: str) -> str:
        """Which documents a content is of, by their readable names."""
        holders = sorted(self._readable(storage.place, checksum))
        more = f" and {len(holders) - NAMED} more" if len(holders) > NAMED else ""
        return f"of {', '.join(holders[:NAMED])}{more}"

    def _whole(self, storage: Storage, key: str, checksum: str) -> bool:
        digest = hashlib.sha256()
        with storage.open(key) as file:
            while part := file.read(CHUNK):
                digest.update(part)
        return digest.hexdigest() == checksum

    def _restored(self, storage: Storage, key: str, checksum: str) -> bool:
        """Put a content back that a readable path or, of a text, a document's row still has."""
        readable_at = list(self._readable(storage.place, checksum))
        for readable in readable_at:
            try:
                if storage.exists(readable) and self._whole(storage, readable, checksum):
                    with storage.open(readable) as file, storage.receive(file, readable) as staged:
                        storage.publish([(staged, key)])
                    return True
            except (FileNotFoundError, StorageError) as error:
                logger.warning("%s could not be read: %s", readable, error)
        return self._rewritten(storage, key, checksum, readable_at)

    def _rewritten(self, storage: Storage, key: str, checksum: str, readable_at: Sequence[str]) -> bool:
        """Write a text again from a row that keeps it: what is needed after a power failure."""
        query = select(_document.c.raw_content).where(
            _document.c.basket_id.in_([basket.id for basket in self._baskets]),  # as the index wants it
            _document.c.checksum == checksum,
            _document.c.raw_content.is_not(None),
        )
        with self._db.session() as session:
            text = session.connection().execute(query.limit(1)).scalar_one_or_none()
        content = None if text is None else whole(text, checksum)
        if content is None:
            return False
        with storage.receive(io.BytesIO(content), key) as staged:
            storage.publish([(staged, key)])
        for readable in readable_at:
            if storage.exists(readable):  # it leads to the file as it was
                storage.unlink(readable)
                storage.link(key, readable)
        return True

    def _readable(self, place: str, checksum: str) -> Iterator[str]:
        folders = {basket.id: basket.folder for basket in self._baskets}
        query = (
            select(DocumentRow.basket_id, _history.c.internal_path)
            .join(DocumentRow, DocumentRow.id == _history.c.document_id)
            .where(_history.c.place == place, _history.c.checksum == checksum)
        )
        with self._db.session() as session:
            rows = session.connection().execute(query).all()
        for row in rows:
            if row.basket_id in folders:
                yield f"{folders[row.basket_id]}/{row.internal_path}"

    def _paths(self, basket: DocBasket) -> None:
        """The readable paths of a basket against its versions, both ways."""
        query = (
            select(_history.c.internal_path, _history.c.place, _content.c.key, _history.c.document_id)
            .join(DocumentRow, DocumentRow.id == _history.c.document_id)
            .outerjoin(_content, content_service.of(_history.c.place, _history.c.checksum))
            .where(DocumentRow.basket_id == basket.id)
        )
        with self._db.session() as session:
            rows = session.connection().execute(query).all()
        self._report.documents += len({row.document_id for row in rows})
        wanted = {f"{basket.folder}/{row.internal_path}": row for row in rows}
        there = set(basket.storage.links(basket.folder))
        for readable in sorted(there - wanted.keys()):
            if self._mend:
                with self._db.session() as session:
                    path = readable.partition("/")[2]
                    again = select(_history.c.id).join(DocumentRow, DocumentRow.id == _history.c.document_id)
                    again = again.where(DocumentRow.basket_id == basket.id, _history.c.internal_path == path)
                    if session.connection().execute(again).first() is not None:
                        continue  # added since the rows were read
                basket.storage.unlink(readable)
            self._found("stray path", readable, self._mend)
        for readable in sorted(wanted.keys() - there):
            row = wanted[readable]
            if row.place is None:
                self._found("missing content", readable, False, f"of document {row.document_id}")
            elif row.key is not None and basket.storage.links_paths and basket.storage.exists(row.key):
                mended = self._mend and basket.storage.link(row.key, readable)
                self._found("missing path", readable, mended)

    def _counts(self) -> None:
        """How often contents are held, against the versions that hold them."""
        held = (
            select(_history.c.place, _history.c.checksum, func.count().label("times"))
            .where(_history.c.place.is_not(None))
            .group_by(_history.c.place, _history.c.checksum)
            .subquery()
        )
        both = (_content.c.place == held.c.place) & (_content.c.checksum == held.c.checksum)
        wrong = (
            select(
                _content.c.place, _content.c.checksum, _content.c.refs, func.coalesce(held.c.times, 0).label("times")
            )
            .outerjoin(held, both)
            .where(_content.c.refs != func.coalesce(held.c.times, 0))
        )
        orphans = (
            select(held.c.place, held.c.checksum, held.c.times)
            .outerjoin(_content, both)
            .where(_content.c.key.is_(None))
        )
        with self._db.session(write=self._mend) as session:
            connection = session.connection()
            if self._mend and connection.dialect.name == "postgresql":
                connection.exec_driver_sql("LOCK TABLE content, file_history IN SHARE ROW EXCLUSIVE MODE")
            for row in connection.execute(wrong).all():
                if self._mend:
                    which = (_content.c.place == row.place, _content.c.checksum == row.checksum)
                    connection.execute(update(_content).where(*which).values(refs=row.times))
                self._found("wrong count", row.checksum, self._mend, f"counted {row.refs}, held {row.times} times")
            for lost in connection.execute(orphans).all():
                storage = self._storages.get(lost.place)
                mended = False
                if storage is not None and self._mend:
                    key = storage.content_key(lost.checksum, "")
                    if storage.exists(key):
                        size = select(func.max(_history.c.size)).where(_history.c.checksum == lost.checksum)
                        content_service.hold(
                            connection,
                            lost.place,
                            lost.checksum,
                            key,
                            int(connection.execute(size).scalar_one() or 0),
                            lost.times,
                        )
                        mended = True
                self._found("missing content", lost.checksum, mended, f"held {lost.times} times, counted nowhere")
        if self._mend:
            self._forget_idle()

    def _forget_idle(self) -> None:
        for place, storage in self._storages.items():
            with self._db.session() as session:
                query = select(_content.c.checksum).where(_content.c.place == place, _content.c.refs <= 0)
                idle: Sequence[str] = list(session.connection().execute(query).scalars())
            content_service.reap(self._db, storage, idle)
        known = list(self._storages)
        with self._db.session(write=True) as session:
            gone = delete(_content).where(_content.c.place.not_in(known), _content.c.refs <= 0)
            session.connection().execute(gone)

    def _usage(self) -> None:
        """The tenant's usage against its rows."""
        usage = table_of(UsageRow)
        with self._db.session(write=self._mend) as session:
            connection = session.connection()
            row = connection.execute(select(usage).where(usage.c.id == USAGE_ID).with_for_update()).one()
            documents, size = usage_service.measured(connection)
            if (row.documents, row.bytes) == (documents, size):
                return
            if self._mend:
                values = {"documents": documents, "bytes": size}
                connection.execute(update(usage).where(usage.c.id == USAGE_ID).values(values))
        detail = f"{row.documents} documents and {row.bytes} bytes counted, {documents} and {size} there"
        self._found("wrong count", "usage", self._mend, detail)

    def _young(self) -> float:
        return time.time() - self._older_than
