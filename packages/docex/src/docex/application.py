"""DocEX: the object through which an application keeps its documents.

Any number of these may be alive at once, for one tenant or many, in one thread or many; they share the connections of
their process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from docex import fsck
from docex.config.docex_config import DocEXConfig, in_force
from docex.config.settings import LoggingSettings, defaults
from docex.context import UserContext
from docex.database import Database, check_database, close_connections, open_database
from docex.db import opened
from docex.db.unassigned import Unassigned
from docex.docbasket import DocBasket, Hit, found_texts
from docex.document import Document
from docex.errors import ConfigurationError, DatabaseError, NotInitialized, StorageError, TenantSwitchRefused
from docex.fsck import Report
from docex.models.metadata_keys import MetadataKey
from docex.models.records import BasketRecord
from docex.moving import Moving
from docex.processing import Processing
from docex.routes import Routes
from docex.services.audit import AuditTrail
from docex.services.docbasket_service import Basket, DocBasketService
from docex.services.event_service import EventService
from docex.services.operation_service import OperationService
from docex.services.usage_service import Usage, UsageService
from docex.storage import new_storage_config, storage_base, storage_for
from docex.storage.base import Storage
from docex.storage.filesystem import probe

logger = logging.getLogger(__name__)


class DocEX(Routes, Processing, Moving):
    """The documents of one tenant, or of the whole installation when multi-tenancy is not enabled."""

    def __init__(self, user_context: UserContext | None = None, *, provision: bool | None = None) -> None:
        """Open the database; make the tenant, or the tables, if they are not there yet.

        ``provision``: whether an unknown tenant is made; by default as the configuration says.

        Where tenants are made on first access, ``DocEX()`` without a context refuses all work until :attr:`db` is
        assigned, as some older scripts do.

        :raises NotInitialized: there is no configuration file. :raises ConfigurationError: it cannot be used.
        :raises TenantRequired: multi-tenancy is enabled and the context names no tenant; it is a ValueError.
        """
        config, settings = in_force()
        if settings is None:
            raise NotInitialized()
        if settings.security.enforce_user_context and user_context is None:
            raise ConfigurationError(config.path, "security.enforce_user_context asks for DocEX(user_context=...).")
        _log_to(settings.logging)
        self._user_context = user_context
        tenant_id = user_context.tenant_id if user_context else None
        if tenant_id and not settings.by_tenant:
            logger.warning("tenant_id %r has no effect: multi-tenancy is not enabled", tenant_id)
        if provision is None:
            provision = settings.provisions_on_access
        self._settings = settings
        if user_context is None and settings.provisions_on_access:
            self._work_on(Unassigned())
        else:
            self._work_on(open_database(settings, tenant_id, user_context, provision=provision))
            opened.note(self.db.tenant_id)

    def _work_on(self, db: Database) -> None:
        self._db = db
        self._baskets = DocBasketService(db)

    @property
    def db(self) -> Database:
        """The database of the tenant, or the only one. Another object's of the same tenant may be assigned.

        :raises TenantSwitchRefused: at assigning; it is another tenant's.
        """
        return self._db

    @db.setter
    def db(self, value: Database) -> None:
        wanted = self._user_context.tenant_id if self._user_context else None
        if wanted is not None and self._settings.by_tenant and wanted != value.tenant_id:
            raise TenantSwitchRefused(wanted, value.tenant_id)
        self._work_on(value)

    @property
    def user_context(self) -> UserContext | None:
        """Who works. Another user of the same tenant may be assigned.

        :raises TenantSwitchRefused: at assigning; the context names another tenant.
        """
        return self._user_context

    @user_context.setter
    def user_context(self, value: UserContext | None) -> None:
        wanted = value.tenant_id if value else None
        if wanted is not None and self._settings.by_tenant and wanted != self.db.tenant_id:
            raise TenantSwitchRefused(self.db.tenant_id, wanted)
        db = copy(self._db)  # of this object alone: the database may have been assigned to others too
        db.user_context = value
        self._work_on(db)
        self._user_context = value

    def __repr__(self) -> str:
        if isinstance(self._db, Unassigned):
            return "<DocEX without a tenant>"
        return f"<DocEX tenant={self.db.tenant_id!r}>" if self.db.tenant_id else "<DocEX>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Refuse further work through this object; others are not affected."""
        self.db.close()

    @classmethod
    def reset(cls) -> None:
        """Close every connection of this process, for all tenants. Objects that are still open connect again."""
        close_connections()
        opened.forget()

    # -- configuration -------------------------------------------------------------------------------------------------

    @classmethod
    def setup(cls, **config: Any) -> None:
        """Merge the given sections (database, storage, logging, security, multi_tenancy, app) into the configuration.

        Makes the storage directory and tries whether it can be written. No database is touched: tables come with the
        first DocEX object, and existing ones are never dropped.

        :raises ConfigurationError: a value cannot be used. :raises StorageError: the directory cannot be written.
        """
        write_configuration(DocEXConfig(), config)

    @classmethod
    def setup_database(cls, db_type: str, is_default_db: bool = False, **config: Any) -> None:
        """Say which database is used from now on: ``sqlite`` or ``postgres``, with the keys of that section.

        ``is_default_db`` is taken and has no effect: there is one database, or one per tenant.

        :raises ConfigurationError: a value cannot be used; then nothing was changed.
        """
        section = "postgres" if db_type == "postgresql" else db_type
        write_configuration(DocEXConfig(), {"database": {"type": db_type, section: config}})

    @classmethod
    def is_initialized(cls) -> bool:
        """Whether there is a configuration file that can be used."""
        try:
            config = DocEXConfig()
            config.validate()
        except ConfigurationError:
            return False
        return config.exists

    @classmethod
    def is_properly_setup(cls) -> bool:
        """Whether DocEX could work now: see :meth:`get_setup_errors`."""
        return not cls.get_setup_errors()

    @classmethod
    def get_setup_errors(cls) -> list[str]:
        """What keeps DocEX from working: the configuration, the storage, or the database."""
        try:
            config = DocEXConfig()
            if not config.exists:
                return [str(NotInitialized())]
            settings = config.validate()
        except ConfigurationError as error:
            return [str(error)]
        found = []
        try:
            probe(storage_base(settings), keep=False)
        except StorageError as error:
            found.append(str(error))
        try:
            check_database(settings)
        except DatabaseError as error:
            found.append(str(error))
        return found

    @classmethod
    def get_defaults(cls) -> dict[str, Any]:
        """The packaged defaults."""
        return defaults()

    @classmethod
    def get_config(cls) -> dict[str, Any]:
        """The values in force, passwords masked. :raises NotInitialized: there is no configuration file."""
        config = DocEXConfig()
        if not config.exists:
            raise NotInitialized()
        return config.as_dict()

    @classmethod
    def get_metadata_keys(cls) -> dict[str, str]:
        """The metadata keys that DocEX itself writes, by name."""
        return {key.name: key.value for key in MetadataKey}

    @classmethod
    def is_valid_metadata_key(cls, key: str) -> bool:
        """Whether this is the name of one of DocEX's own metadata keys."""
        return key in MetadataKey.__members__

    # -- baskets -------------------------------------------------------------------------------------------------------

    def create_basket(
        self, name: str, description: str | None = None, storage_config: Mapping[str, Any] | None = None
    ) -> DocBasket:
        """Make a basket. Its name is sanitised: ``My Invoices!`` becomes ``My_Invoices``.

        :raises BasketExists: there is one of that name; it is a ValueError. See :meth:`basket`.
        """
        return self._basket(self._baskets.create(name, description, new_storage_config(self._settings, storage_config)))

    def basket(
        self, basket_name: str, description: str | None = None, storage_config: Mapping[str, Any] | None = None
    ) -> DocBasket:
        """The basket of that name, made if there is none."""
        found = self._baskets.find_by_name(basket_name)
        if found is None:
            config = new_storage_config(self._settings, storage_config)
            found = self._baskets.find_or_create(basket_name, description, config)  # another process may be making it
        return self._basket(found)

    def get_basket(self, basket_id: str | None = None, basket_name: str | None = None) -> DocBasket | None:
        """The basket of an id or a name. :raises ValueError: neither was given."""
        if basket_id is None and basket_name is None:
            raise ValueError("name the basket: get_basket(basket_id) or get_basket(basket_name='...')")
        found = self._baskets.get(basket_id) if basket_id is not None else self._baskets.find_by_name(str(basket_name))
        return None if found is None else self._basket(found)

    def list_baskets(
        self,
        status: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
        order_by: str = "created_at",
        order_desc: bool = True,
    ) -> list[DocBasket]:
        """Baskets, newest first; ``order_by``: created_at, name or updated_at."""
        found = self._baskets.list(status=status, limit=limit, offset=offset, order_by=order_by, order_desc=order_desc)
        return [self._basket(basket) for basket in found]

    def list_baskets_with_metadata(
        self,
        columns: Iterable[str] | None = None,
        filters: Mapping[str, Any] | None = None,
        limit: int | None = None,
        offset: int | None = None,
        order_by: str | None = None,
        order_desc: bool = False,
    ) -> list[BasketRecord]:
        """Baskets as records of the columns asked for; ``filters`` are values that columns must equal.

        Columns: id, name, description, status, created_at, updated_at, document_count. Others are reported and left
        out.
        """
        return self._baskets.records(
            columns, filters or {}, limit=limit, offset=offset, order_by=order_by, order_desc=order_desc
        )

    def get_document(
        self, document_id: str, basket_id: str | None = None, basket_name: str | None = None
    ) -> Document | None:
        """The document of an id; None too if it lies in another basket than the one named."""
        if basket_id is None and basket_name is None:
            basket_id = self._baskets.holder_of(document_id)
            if basket_id is None:
                return None
        basket = self.get_basket(basket_id, basket_name)
        return None if basket is None else basket.get_document(document_id)

    def search(self, query: str, limit: int = 10, offset: int = 0) -> list[Hit]:
        """Documents of all baskets whose text has the words of the query: see :meth:`DocBasket.search`."""
        baskets = {basket.id: basket for basket in self.list_baskets()}
        return found_texts(self.db, baskets, query, None, limit, offset)

    # -- the tenant ----------------------------------------------------------------------------------------------------

    @property
    def events(self) -> EventService:
        """The outbox: what happened, to be claimed and worked on."""
        return EventService(self.db)

    @property
    def operations(self) -> OperationService:
        """Operations that wait for each other, and their runner."""
        return OperationService(self.db)

    @property
    def audit_trail(self) -> AuditTrail:
        """Who changed what."""
        return AuditTrail(self.db)

    def get_usage(self) -> Usage:
        """How many documents and bytes are held, and how many may be."""
        return UsageService(self.db).get()

    def set_quota(self, max_documents: int | None = None, max_bytes: int | None = None) -> Usage:
        """Set both limits; None is no limit. What is held already stays, even when it is more."""
        return UsageService(self.db).set_limits(max_documents, max_bytes)

    @property
    def storage(self) -> Storage:
        """The storage that baskets are kept in unless they name another."""
        return storage_for(self._settings, self.db.tenant_id, {"type": self._settings.storage.type})

    def fsck(
        self,
        *,
        mend: bool = False,
        verify: bool = False,
        older_than: float = 3600.0,
        progress: Callable[[int], object] | None = None,
    ) -> Report:
        """Hold rows and storage against each other; ``mend`` what can be mended without inventing anything.

        ``verify`` reads every content and compares its checksum. What no row names is passed over while it is younger
        than ``older_than`` seconds: it may belong to work under way.
        """
        return fsck.check(self, mend=mend, verify=verify, older_than=older_than, progress=progress)

    def _basket(self, basket: Basket) -> DocBasket:
        return DocBasket(self.db, self._settings, basket)


def write_configuration(file: DocEXConfig, sections: Mapping[str, Any]) -> None:
    """Merge sections into a configuration whose storage directory can be written: see :meth:`DocEX.setup`."""
    probe(storage_base(file.preview(**sections)), keep=True)
    file.setup(**sections)


def _log_to(settings: LoggingSettings) -> None:
    """Write DocEX's log records to the configured file, once per process and file."""
    if settings.file is None:
        return
    path = str(Path(settings.file).expanduser().absolute())
    root = logging.getLogger("docex")
    if any(isinstance(handler, logging.FileHandler) and handler.baseFilename == path for handler in root.handlers):
        return
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(path, f"logging.file cannot be written: {error.strerror}.") from error
    handler.setLevel(settings.level)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root.addHandler(handler)
    root.setLevel(min(root.getEffectiveLevel(), handler.level))  # what others listen for is still told to them
