"""DocEX: the object through which an application keeps its documents.

Any number of these may be alive at once, for one tenant or many, in one thread or many; they share the connections of
their process.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from docex.config.docex_config import DocEXConfig
from docex.config.settings import LoggingSettings, Settings, defaults
from docex.context import UserContext
from docex.database import check_database, close_connections, open_database
from docex.docbasket import DocBasket, new_storage_config
from docex.document import Document
from docex.errors import ConfigurationError, DatabaseError, NotInitialized, StorageError
from docex.models.metadata_keys import MetadataKey
from docex.models.records import BasketRecord
from docex.services.docbasket_service import Basket, DocBasketService
from docex.storage.filesystem import probe

logger = logging.getLogger(__name__)


class DocEX:
    """The documents of one tenant, or of the whole installation when multi-tenancy is not enabled."""

    def __init__(self, user_context: UserContext | None = None, *, provision: bool | None = None) -> None:
        """Open the database; make the tenant, or the tables, if they are not there yet.

        ``provision``: whether an unknown tenant is made; by default as the configuration says.

        :raises NotInitialized: there is no configuration file. :raises ConfigurationError: it cannot be used.
        :raises TenantRequired: multi-tenancy is enabled and the context names no tenant; it is a ValueError.
        """
        config = DocEXConfig()
        if not config.exists:
            raise NotInitialized()
        settings = config.validate()
        if settings.security.enforce_user_context and user_context is None:
            raise ConfigurationError(config.path, "security.enforce_user_context asks for DocEX(user_context=...).")
        _log_to(settings.logging)
        self.user_context = user_context
        tenant_id = user_context.tenant_id if user_context else None
        if tenant_id and not settings.by_tenant:
            logger.warning("tenant_id %r has no effect: multi-tenancy is not enabled", tenant_id)
        if provision is None:
            provision = settings.provisions_on_access
        user_id = user_context.user_id if user_context else "docex"
        self.db = open_database(settings, tenant_id, user_id, provision=provision)
        self._storage_base = _storage_base(settings)
        self._baskets = DocBasketService(self.db)

    def __repr__(self) -> str:
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
            probe(_storage_base(settings), keep=False)
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
        return self._basket(self._baskets.create(name, description, new_storage_config(storage_config)))

    def basket(
        self, basket_name: str, description: str | None = None, storage_config: Mapping[str, Any] | None = None
    ) -> DocBasket:
        """The basket of that name, made if there is none."""
        found = self._baskets.find_by_name(basket_name)
        if found is None:
            config = new_storage_config(storage_config)
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

    def _basket(self, basket: Basket) -> DocBasket:
        return DocBasket(self.db, self._storage_base, basket)


def write_configuration(file: DocEXConfig, sections: Mapping[str, Any]) -> None:
    """Merge sections into a configuration whose storage directory can be written: see :meth:`DocEX.setup`."""
    probe(_storage_base(file.preview(**sections)), keep=True)
    file.setup(**sections)


def _storage_base(settings: Settings) -> Path:
    return Path(settings.storage.filesystem.path).expanduser().absolute()


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
    root.setLevel(min(root.level or logging.CRITICAL, handler.level))
