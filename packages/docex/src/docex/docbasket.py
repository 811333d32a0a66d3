"""A basket: a named collection of documents with a storage of its own for their contents."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement

from docex import access
from docex.config.docex_config import in_force
from docex.contents import content_type, text_of
from docex.database import Database, open_database
from docex.describing import described, start_of_text
from docex.document import Document
from docex.errors import (
    BasketNotFound,
    ContentMissing,
    DocexError,
    DocumentError,
    DocumentNotFound,
    NotInitialized,
)
from docex.models.metadata_keys import MetadataKey
from docex.models.tables import DocumentRow, new_id, table_of
from docex.names import sanitise, sanitise_suffix
from docex.services import content_service, texts
from docex.services.asking import COLUMNS, chosen
from docex.services.docbasket_service import Basket, DocBasketService
from docex.services.document_service import DocumentService, Removed, Version
from docex.services.intake import BasketMoved, Draft, Intake, Prepared
from docex.services.metadata_service import Condition, MetadataService, encoded, having, meeting
from docex.sources import Given, Source, opened
from docex.storage import new_storage_config, storage_for
from docex.storage.base import Staged, Storage, linked

if TYPE_CHECKING:
    from docex.config.settings import Settings
    from docex.directories import DirectoryReport
    from docex.services.details import Details

LONGEST_TYPE = 50  # characters


class Page(NamedTuple):
    """Documents of one page, and the cursor that asks for the next; None at the end."""

    documents: list[Document]
    next: str | None


class Hit(NamedTuple):
    """A document that a full-text search found."""

    document: Document
    rank: float  # the higher, the better; comparable within one answer only
    snippet: str  # a part of the text, the matches between [ and ]


class DocBasket:
    """A basket as it was when it was read. Made by the methods of :class:`~docex.application.DocEX` only."""

    def __init__(self, db: Database, settings: Settings, basket: Basket) -> None:
        self.id: str = basket.id
        self.documents = DocumentService(db, basket.id)
        self.metadata = MetadataService(db)
        self._rows = DocBasketService(db)
        self._db = db
        self.settings = settings
        self._take(basket)

    def _take(self, basket: Basket) -> None:
        self.name: str = basket.name
        self.description: str | None = basket.description
        self.status: str = basket.status
        self.storage_config: dict[str, Any] = dict(basket.storage_config)
        self.created_at: datetime = basket.created_at
        self.updated_at: datetime = basket.updated_at
        self.storage = storage_for(self.settings, self._db.tenant_id, self.storage_config)
        self.folder = str(self.storage_config["basket_path"])
        self._intake = Intake(self._db, self.id, self.storage, self.storage_config)

    def refresh(self) -> None:
        """Look at the basket's row again; done by itself where the basket was moved to another storage meanwhile.

        :raises BasketNotFound: it was removed.
        """
        found = self._rows.get(self.id)
        if found is None:
            raise BasketNotFound(self.id)
        self._take(found)

    def __repr__(self) -> str:
        return f"<DocBasket {self.id} {self.name!r}>"

    @classmethod
    def create(
        cls,
        name: str,
        description: str | None = None,
        storage_config: Mapping[str, Any] | None = None,
        db: Database | None = None,
    ) -> DocBasket:
        """Make a basket: :meth:`docex.application.DocEX.create_basket` for scripts that have no such object.

        ``db``: the ``db`` of a DocEX object. Without one, that of the configuration, which must have no tenants.

        :raises BasketExists: the name is taken. :raises TenantRequired: there are tenants.
        """
        settings, database = _opened(db)
        config = new_storage_config(settings, storage_config)
        return cls(database, settings, DocBasketService(database).create(name, description, config))

    @classmethod
    def get(cls, basket_id: str, db: Database | None = None) -> DocBasket | None:
        """The basket of an id; ``db`` as for :meth:`create`."""
        settings, database = _opened(db)
        found = DocBasketService(database).get(basket_id)
        return None if found is None else cls(database, settings, found)

    @classmethod
    def find_by_name(cls, name: str, db: Database | None = None) -> DocBasket | None:
        """The basket of a name; ``db`` as for :meth:`create`."""
        settings, database = _opened(db)
        found = DocBasketService(database).find_by_name(name)
        return None if found is None else cls(database, settings, found)

    @classmethod
    def _list_all_baskets(cls, db: Database | None = None) -> list[DocBasket]:
        """All baskets, newest first, under the name that older scripts were told; ``db`` as for :meth:`create`."""
        settings, database = _opened(db)
        return [cls(database, settings, found) for found in DocBasketService(database).list()]

    @property
    def db(self) -> Database:
        """The tenant's database."""
        return self._db

    @property
    def storage_type(self) -> str:
        """What keeps the contents; fixed when the basket is made."""
        return str(self.storage_config["type"])

    def get_basket_path(self) -> str:
        """Where people find the contents by readable names."""
        return self.storage.location(self.folder)

    # -- taking in -----------------------------------------------------------------------------------------------------

    def add(
        self,
        file_path: Given,
        document_type: str = "file",
        metadata: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
    ) -> Document:
        """Add a file, bytes, or what can be read in binary mode, as a document; its bytes are kept exactly.

        A file with the same content that was added from the same path before gives that document again, and an event.
        ``name`` says what bytes are called. A content of any size takes little memory.

        :raises DocumentRejected: the file is missing (then it is a FileNotFoundError too), cannot be read, or changes.
        :raises MetadataRejected: a metadata value has no JSON form. :raises StorageError: the content cannot be kept.
        :raises QuotaExceeded: the tenant would hold more than it may. Whatever is raised, nothing is kept.
        """
        access.check(self._db, access.WRITE)
        with opened(file_path, name) as source, self.storage.receive(source.reader, source.source) as staged:
            draft = self.draft(source, staged, document_type, metadata)
            return self.take_in([draft])[0][0]

    def add_directory(
        self,
        directory: str | os.PathLike[str],
        document_type: str = "file",
        metadata: Mapping[str, Any] | None = None,
        *,
        pattern: str = "*",
        recursive: bool = True,
        progress: Callable[[int, int], object] | None = None,
    ) -> DirectoryReport:
        """Add the files of a directory whose names match, many in one transaction: much quicker than one by one.

        ``progress`` is called with how many files are done and how many there are. A file that cannot be added stops
        nothing: the report tells of it. Symbolic links are not followed. A run that was killed can be repeated: what
        was added is found again.

        :raises DocumentRejected: it is no directory that can be read.
        """
        from docex.directories import add_directory

        return add_directory(self, directory, document_type, metadata, pattern, recursive, progress)

    def update_document(self, document_id: str, file_path: Given, *, name: str | None = None) -> Document:
        """Give a document another content. The earlier one stays, as a version.

        :raises DocumentNotFound: this basket holds no such document. :raises the errors of :meth:`add`.
        """
        access.check(self._db, access.WRITE)
        present = self.documents.get(document_id)
        if present is None:
            raise DocumentNotFound(document_id)
        with opened(file_path, name) as source, self.storage.receive(source.reader, source.source) as staged:
            plain = self.draft(source, staged, present.document_type, None, document_id)
            draft = replace(plain, metadata=encoded(described(source, PurePath(plain.name).suffix, plain)))
            while True:
                self._secure_present(document_id)
                # Durable even if the row has the text as well: the next version will take that text away.
                self._publish([draft], durable=True)
                try:
                    self._link(draft, draft.path, durable=True)
                    return Document(self, self._intake.replace(document_id, draft))
                except BasketMoved:
                    self._take_back([draft], self.storage)
                    self.refresh()
                except BaseException:
                    self._take_back([draft], self.storage)
                    raise

    def draft(
        self,
        source: Source,
        staged: Staged,
        document_type: str,
        metadata: Mapping[str, Any] | None,
        document_id: str | None = None,
    ) -> Draft:
        """What a received content is to be as a document, or as a new version of one; nothing is stored."""
        if not 0 < len(document_type) <= LONGEST_TYPE:
            raise DocumentError(f"document_type must be text of 1 to {LONGEST_TYPE} characters")
        given = dict(metadata or {})
        original = str(given.setdefault(MetadataKey.ORIGINAL_FILENAME.value, source.name))
        named = PurePath(original)
        stem = sanitise(named.stem)
        suffix = sanitise_suffix((named if original == source.name else PurePath(source.name)).suffix or named.suffix)
        text = text_of(suffix, staged.sample, staged.data)
        # The last part tells versions apart; which is the how-manyeth is said by the history.
        version = "" if document_id is None else f"_{new_id('fhi')[-8:]}"
        document_id = document_id or new_id("doc")
        path = f"{stem}_{document_id[-6:]}{version}{suffix}"
        return Draft(
            staged=staged,
            name=f"{stem}{suffix}",
            source=source.source,
            path=path,
            content_type=content_type(suffix),
            document_type=document_type,
            text=text,
            metadata=encoded(given),
            id=document_id,
            text_for_search=start_of_text(suffix, staged) if text is None and staged.data is None else None,
        )

    def take_in(self, drafts: Sequence[Draft]) -> list[tuple[Document, bool]]:
        """Store drafts as documents, all or none; of each tells whether it is new or was there already."""
        return self.write(self.prepare(drafts))

    def prepare(self, drafts: Sequence[Draft]) -> Prepared:
        """Store the contents of drafts. :meth:`write` makes documents of them, :meth:`give_up` takes them back."""
        prepared = Prepared([], self._intake, self.storage)
        try:
            self._publish(drafts)
            for draft in drafts:
                prepared.drafts.append(self._linked(draft))
        except BaseException:
            self._take_back(prepared.drafts or drafts, prepared.storage)
            raise
        return prepared

    def write(self, prepared: Prepared) -> list[tuple[Document, bool]]:
        """Write the rows of drafts: see :meth:`take_in`. May run in another thread than what prepares the next."""
        drafts, intake, storage = prepared
        try:
            results = intake.add(drafts)
        except BasketMoved:
            self._take_back(drafts, storage)
            self.refresh()
            return self.take_in(drafts)
        except BaseException:
            self._take_back(drafts, storage)
            raise
        for draft, (details, new) in zip(drafts, results, strict=True):
            if not new or details.id != draft.id:
                storage.unlink(self._readable(draft.path))
        return [(Document(self, details), new) for details, new in results]

    def give_up(self, prepared: Prepared) -> None:
        """Take back what :meth:`prepare` stored."""
        self._take_back(prepared.drafts, prepared.storage)

    # -- looking -------------------------------------------------------------------------------------------------------

    def get_document(self, document_id: str) -> Document | None:
        """The document of an id, if this basket holds it."""
        details = self.documents.get(document_id)
        return None if details is None else Document(self, details)

    def list_documents(
        self,
        limit: int | None = None,
        offset: int | None = None,
        order_by: str | None = None,
        order_desc: bool = False,
        status: str | None = None,
        document_type: str | None = None,
    ) -> list[Document]:
        """Documents, newest first; ``order_by``: created_at, updated_at, name, size or status."""
        given = {"status": status, "document_type": document_type}
        equal = {name: value for name, value in given.items() if value is not None}
        return self.documents.asked(
            equal,
            None,
            partial(Document, self),
            limit=limit,
            offset=offset,
            order_by=order_by,
            order_desc=order_desc,
        )

    def list(self, *arguments: Any, **options: Any) -> Any:
        """The same as :meth:`list_documents`, under its older name."""
        return self.list_documents(*arguments, **options)

    def page_documents(
        self,
        size: int = 100,
        after: str | None = None,
        order_by: str = "created_at",
        order_desc: bool = True,
        status: str | None = None,
        document_type: str | None = None,
    ) -> Page:
        """One page of documents; ``after`` is the ``next`` of the page before.

        Unlike an offset, a page costs the same however far behind it is, and nothing is shown twice or left out when
        documents come and go meanwhile.
        """
        found, following = self.documents.page(
            *_filters(status, document_type), size=size, after=after, order_by=order_by, order_desc=order_desc
        )
        return Page([Document(self, details) for details in found], following)

    def list_documents_with_metadata(
        self,
        columns: Iterable[str] | None = None,
        filters: Mapping[str, Any] | None = None,
        limit: int | None = None,
        offset: int | None = None,
        order_by: str | None = None,
        order_desc: bool = False,
    ) -> Sequence[dict[str, Any]]:
        """Documents as mappings of the columns asked for; ``filters`` are values that columns must equal.

        :raises ValueError: none of the columns is known.
        """
        return self.documents.columns(
            chosen(columns),
            *(table_of(DocumentRow).c[name] == value for name, value in (filters or {}).items() if name in COLUMNS),
            limit=limit,
            offset=offset,
            order_by=order_by,
            order_desc=order_desc,
        )

    def count_documents(self, status: str | None = None, document_type: str | None = None) -> int:
        """How many documents the basket holds."""
        return self.documents.count(*_filters(status, document_type))

    def find_documents_by_metadata(
        self,
        metadata: Mapping[str, Any] | str,
        limit: int | None = None,
        offset: int | None = None,
        order_by: str | None = None,
        order_desc: bool = False,
    ) -> Sequence[Document]:
        """Documents that carry all the given values (``777`` is not ``"777"``), or a text under any key.

        No condition finds nothing.
        """
        if not metadata:
            return []
        page: dict[str, Any] = {"order_by": order_by, "order_desc": order_desc, "limit": limit, "offset": offset}
        if limit is None:
            return self.documents.asked({}, metadata, partial(Document, self), **page)
        found = self.documents.found(having(metadata), **page)
        return [Document(self, details) for details in found]

    def find_documents_by_metadata_with_metadata(
        self,
        metadata: Mapping[str, Any] | str,
        columns: Iterable[str] | None = None,
        limit: int | None = None,
        offset: int | None = None,
        order_by: str | None = None,
        order_desc: bool = False,
    ) -> Sequence[dict[str, Any]]:
        """What :meth:`find_documents_by_metadata` finds, as mappings of the columns asked for."""
        names = chosen(columns)
        if not metadata:
            return []
        return self.documents.columns(
            names, having(metadata).met, limit=limit, offset=offset, order_by=order_by, order_desc=order_desc, few=True
        )

    def count_documents_by_metadata(self, metadata: Mapping[str, Any] | str) -> int:
        """How many documents :meth:`find_documents_by_metadata` would find."""
        return self.documents.count(having(metadata).met, few=True) if metadata else 0

    def find_documents_where(
        self,
        conditions: Sequence[Condition],
        limit: int | None = None,
        offset: int | None = None,
        order_by: str | None = None,
        order_desc: bool = False,
    ) -> Sequence[Document]:
        """Documents whose metadata meets all conditions, each ``(key, operator, value)``.

        Operators: ``=`` ``!=`` (any JSON value), ``<`` ``<=`` ``>`` ``>=`` (numbers with numbers, texts with texts by
        code points, of their first 256 characters), ``prefix`` (text), ``exists`` (True or False). No condition finds
        nothing.

        :raises QueryRejected: an operator is not known, or cannot compare such a value.
        """
        if not conditions:
            return []
        found = self.documents.found(
            meeting(conditions), limit=limit, offset=offset, order_by=order_by, order_desc=order_desc
        )
        return [Document(self, details) for details in found]

    def search(self, query: str, limit: int = 10, offset: int = 0) -> Sequence[Hit]:
        """Documents whose text has the words of the query, best first, with a snippet of each.

        ``glob* "late payment" -draft``: a beginning, words that stand together, what must not occur. All must be met.

        :raises QueryRejected: no word must occur.
        """
        return found_texts(self._db, {self.id: self}, query, self.id, limit, offset)

    def delete_document(self, document_id: str) -> None:
        """Remove a document, all its versions included.

        :raises DocumentNotFound: this basket holds no such document.
        """
        # The rows first: were it cut in between, a file would be left over, and no document would lack its content.
        self._clear(self.documents.delete([document_id]))

    # -- the basket ----------------------------------------------------------------------------------------------------

    def delete(self) -> None:
        """Remove the basket with its documents and their contents. :raises BasketNotFound: it was removed before."""
        self._clear(self._rows.delete(self.id))
        self.storage.remove_folder(self.folder)

    def set_status(self, status: str) -> None:
        """Make the basket ``active``, or ``inactive``: then it takes no documents in."""
        self.status = self._rows.update(self.id, status=status).status

    def set_description(self, description: str) -> None:
        """Say what the basket is for."""
        self.description = self._rows.update(self.id, description=description).description

    def get_stats(self) -> dict[str, Any]:
        """The basket's details with ``document_counts`` (by status) and ``type_counts``."""
        by_status, by_type = self._rows.counts(self.id)
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "status": self.status,
            "document_counts": by_status,
            "type_counts": by_type,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }

    def get_totals(self) -> tuple[int, int]:
        """How many documents the basket holds, and how many bytes their present contents have: what goes with it."""
        return self._rows.totals(self.id)

    # -- contents ------------------------------------------------------------------------------------------------------

    def content_key(self, document_id: str, version: Version) -> str:
        """Where the bytes of a version are. :raises ContentMissing: they are not in this basket's storage."""
        if version.place is None:  # written by revision 0001
            return self._readable(version.path)
        if version.place != self.storage.place:
            self.refresh()
        if version.key is None or version.place != self.storage.place:
            raise ContentMissing(document_id, version.path)
        return version.key

    def _readable(self, path: str) -> str:
        return f"{self.folder}/{path}"

    def _publish(self, drafts: Sequence[Draft], *, durable: bool = False) -> None:
        """Store the contents that are not there yet.

        A text is in the document's row as well, which the database makes safe from a power failure; should its file
        be lost in one, it is read from there. So only other contents, or all if they are to be ``durable``, are waited
        for until the disk has them, also those that came as a text before.
        """
        missing: dict[bool, dict[str, Staged]] = {True: {}, False: {}}
        for draft in drafts:
            key, needed = self.storage.content_key(draft.staged.checksum, draft.path), durable or draft.text is None
            if key in missing[True] or (not needed and key in missing[False]):
                continue
            if not (self.storage.secure(key, draft.staged.size) if needed else self.storage.exists(key)):
                missing[needed][key] = draft.staged
        for needed, contents in missing.items():
            if contents:
                self.storage.publish([(staged, key) for key, staged in contents.items()], durable=needed)

    def _secure_present(self, document_id: str) -> None:
        """Make the content that a document has now safe without the text in its row, which is about to be replaced."""
        present = self.documents.version(document_id)
        if present.key is None or present.place != self.storage.place or present.size is None:
            return
        if not self.storage.secure(present.key, present.size):
            text = self.documents.content_in_row(document_id, present.checksum)
            if text is not None:
                with self.storage.receive(io.BytesIO(text), present.path) as staged:
                    self.storage.publish([(staged, present.key)])

    def _link(self, draft: Draft, path: str, *, durable: bool = False) -> None:
        key = self.storage.content_key(draft.staged.checksum, draft.path)
        linked(self.storage, key, self._readable(path), lambda: self._publish([draft], durable=durable))

    def _linked(self, draft: Draft) -> Draft:
        try:
            self._link(draft, draft.path)
        except FileExistsError:
            # Two ids of documents with one name end alike: more of the id tells them apart.
            longer = draft.path.replace(f"_{draft.id[-6:]}", f"_{draft.id[4:]}", 1)
            draft = replace(draft, path=longer)
            self._link(draft, longer)
        return draft

    def _take_back(self, drafts: Sequence[Draft], storage: Storage) -> None:
        """Remove contents whose rows were not written.

        When the connection broke during COMMIT nobody knows whether they were: what is counted stays, and while the
        database cannot be asked everything does, since a file too many is harmless.
        """
        with suppress(DocexError):
            kept = {version["internal_path"] for draft in drafts for version in self.documents.versions(draft.id)}
            for draft in drafts:
                if draft.path not in kept:
                    storage.unlink(self._readable(draft.path))
            storage.remove_folder(self.folder)  # if this made it
            content_service.reap(self._db, storage, {draft.staged.checksum for draft in drafts})

    def _clear(self, removed: Removed) -> None:
        for path in removed.paths:
            self.storage.unlink(self._readable(path))
        here = [checksum for place, checksum in removed.idle if place == self.storage.place]
        content_service.reap(self._db, self.storage, here)


def _opened(db: Database | None) -> tuple[Settings, Database]:
    _, settings = in_force()
    if settings is None:
        raise NotInitialized()
    return settings, db or open_database(settings, None, None, provision=False)


def found_texts(
    db: Database, baskets: Mapping[str, DocBasket], query: str, basket_id: str | None, limit: int, offset: int
) -> list[Hit]:
    """A full-text search; of every basket that may hold what it finds, the object is given."""
    access.check(db, access.READ)
    with db.session() as session:
        hits = texts.search(session.connection(), query, basket_id, limit, offset)
    found: dict[str, tuple[DocBasket, Details]] = {}
    for basket in baskets.values():
        wanted = [hit.document_id for hit in hits if hit.document_id not in found]
        if wanted:
            for details in basket.documents.list(DocumentRow.id.in_(wanted), few=True):
                found[details.id] = (basket, details)
    # One that was removed meanwhile is left out.
    return [Hit(Document(*found[hit.document_id]), hit.rank, hit.snippet) for hit in hits if hit.document_id in found]


def _filters(status: str | None, document_type: str | None) -> Sequence[ColumnElement[bool]]:
    columns = table_of(DocumentRow).c
    pairs = ((columns.status, status), (columns.document_type, document_type))
    return [column == value for column, value in pairs if value is not None]
