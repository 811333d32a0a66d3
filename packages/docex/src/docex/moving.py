"""Move a basket from one storage to another, its documents, versions and ids staying what they are.

The basket takes no documents in meanwhile, and is read from the old storage until one transaction says that everything
is in the new one. A move that is broken off leaves the basket where it was; what was copied by then is removed, or,
after a kill, found by ``docex fsck``. Objects made before the move know the old storage only.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from sqlalchemy import Connection, Row, func, select, update

from docex import access
from docex.database import Database
from docex.errors import BasketNotFound, StorageError
from docex.models.tables import BasketRow, DocumentRow, FileHistoryRow, now, table_of
from docex.services import audit, content_service
from docex.services.document_service import lock_basket
from docex.services.intake import INACTIVE
from docex.storage import new_storage_config, storage_for

if TYPE_CHECKING:
    from docex.config.settings import Settings
    from docex.docbasket import DocBasket
    from docex.storage.base import Storage

ROUNDS = 5  # of copying what came in while the ones before were at work
_basket = table_of(BasketRow)
_document = table_of(DocumentRow)
_history = table_of(FileHistoryRow)
_content = content_service.TABLE


class Moving:
    """What :class:`~docex.application.DocEX` does to move baskets."""

    db: Database
    _settings: Settings

    if TYPE_CHECKING:

        def get_basket(self, basket_id: str | None = None, basket_name: str | None = None) -> DocBasket | None: ...

    def move_basket(self, basket_id: str, storage_config: Mapping[str, Any]) -> DocBasket:
        """Move a basket's contents into another storage, and return the basket as it is then.

        :raises BasketNotFound: there is none of that id. :raises ConfigurationError: there is no such storage.
        :raises StorageError: it is there already, or a content cannot be read or kept; the basket stays where it was.
        """
        access.check(self.db, access.ADMIN)
        basket = self.get_basket(basket_id)
        if basket is None:
            raise BasketNotFound(basket_id)
        config = {
            **new_storage_config(self._settings, storage_config),
            "basket_path": basket.storage_config["basket_path"],
        }
        target = storage_for(self._settings, self.db.tenant_id, config)
        if target.place == basket.storage.place:
            raise StorageError(basket.get_basket_path(), "the basket is kept there already.")
        self.db.remember(config)
        _Move(self.db, basket, config, target).run()
        moved = self.get_basket(basket_id)
        if moved is None:
            raise BasketNotFound(basket_id)
        return moved


class _Move:
    """One move under way."""

    def __init__(self, db: Database, basket: DocBasket, config: Mapping[str, Any], target: Storage) -> None:
        self._db = db
        self._basket = basket
        self._config = dict(config)
        self._source = basket.storage
        self._target = target
        self._copied: dict[str, str] = {}  # keys in the target, by checksum

    def run(self) -> None:
        """Copy, switch, tidy up; the basket's status is in the end what it was."""
        status = self._basket.status
        self._basket.set_status(INACTIVE)
        try:
            for _ in range(ROUNDS):
                self._copy()
                idle = self._switch()
                if idle is not None:
                    break
            else:
                raise StorageError(self._basket.get_basket_path(), "contents came in faster than they could be moved.")
        except BaseException:
            # Only those that nothing counts: what was there before is counted by others. Were the target out of reach
            # now, that would hide why the move failed; fsck finds them, too.
            with suppress(StorageError):
                content_service.reap(self._db, self._target, self._copied)
            raise
        finally:
            self._basket.set_status(status)
        self._tidy(idle)

    def _copy(self) -> None:
        """Bring every content that is still only in the source into the target."""
        with self._db.session() as session:
            wanted = self._held(session.connection())
        for row in wanted:
            if row.checksum in self._copied:
                continue
            if row.key is None:
                raise StorageError(
                    self._basket.get_basket_path(), "it holds contents of an earlier release. Run: docex fsck --mend"
                )
            key = self._target.content_key(row.checksum, "")
            if not self._target.exists(key):
                with self._opened(row.key) as reader, self._target.receive(reader, row.key) as staged:
                    if staged.checksum != row.checksum:
                        raise StorageError(row.key, "the content is damaged: its checksum is not the recorded one.")
                    self._target.publish([(staged, key)])
            self._copied[row.checksum] = key

    def _opened(self, key: str) -> BinaryIO:
        try:
            return self._source.open(key)
        except FileNotFoundError as error:
            raise StorageError(key, "the content is missing. Whose it is tells: docex fsck") from error

    def _switch(self) -> list[str] | None:
        """Have the basket's rows name the target. Returns the checksums that nothing in the source counts any more;
        None if something came in that is not copied yet.
        """
        moment = now()
        of_basket = select(_document.c.id).where(_document.c.basket_id == self._basket.id)
        with self._db.session(write=True) as session:
            connection = session.connection()
            lock_basket(connection, self._basket.id)
            held = self._held(connection)
            if any(row.checksum not in self._copied for row in held):
                return None
            for row in held:
                key = self._copied[row.checksum]
                content_service.hold(connection, self._target.place, row.checksum, key, row.size, row.times)
                if not self._target.exists(key):  # it was removed before it was counted; nobody can now
                    raise StorageError(key, "the content was removed while it was moved. Try again.")
            for table, which in ((_history, _history.c.document_id), (_document, _document.c.id)):
                connection.execute(
                    update(table)
                    .where(which.in_(of_basket), table.c.place == self._source.place)
                    .values(place=self._target.place)
                )
            connection.execute(
                update(_basket)
                .where(_basket.c.id == self._basket.id)
                .values(storage_config=self._config, updated_at=moment, updated_by=self._db.user_id)
            )
            idle = content_service.release(connection, {(self._source.place, row.checksum): row.times for row in held})
            details = {"from": self._source.place, "to": self._target.place, "contents": len(held)}
            audit.record(connection, self._db, "basket.move", basket_id=self._basket.id, details=details)
        return [checksum for _, checksum in idle]

    def _held(self, connection: Connection) -> list[Row[Any]]:
        """The contents that the basket's versions have in the source, and how many versions have each."""
        query = (
            select(
                _history.c.checksum,
                func.max(_history.c.size).label("size"),
                func.max(_content.c.key).label("key"),
                func.count().label("times"),
            )
            .join(_document, _document.c.id == _history.c.document_id)
            .outerjoin(_content, content_service.of(_history.c.place, _history.c.checksum))
            .where(
                _document.c.basket_id == self._basket.id,
                (_history.c.place == self._source.place) | _history.c.place.is_(None),
            )
            .group_by(_history.c.checksum)
            .order_by(_history.c.checksum)
        )
        return list(connection.execute(query))

    def _tidy(self, idle: list[str]) -> None:
        """Readable paths in the target, none in the source, and what nothing counts there removed."""
        folder = self._config["basket_path"]
        query = (
            select(_history.c.internal_path, _history.c.checksum)
            .join(_document, _document.c.id == _history.c.document_id)
            .where(_document.c.basket_id == self._basket.id, _history.c.place == self._target.place)
        )
        with self._db.session() as session:
            paths = list(session.connection().execute(query))
        for path, checksum in paths:
            with suppress(FileExistsError, FileNotFoundError):  # linked before, or removed meanwhile
                self._target.link(self._target.content_key(checksum, ""), f"{folder}/{path}")
            self._source.unlink(f"{folder}/{path}")
        content_service.reap(self._db, self._source, idle)
        self._source.remove_folder(folder)
