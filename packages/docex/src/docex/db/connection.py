"""The database of the configuration, or of one of its tenants, for scripts that ask for it by themselves.

It can be given to a service, or assigned to ``DocEX().db``. Opening it makes what ``DocEX(...)`` would make: the
tables without tenants, or the tenant where the configuration makes tenants on first access.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from docex.config.docex_config import DocEXConfig, in_force
from docex.context import UserContext
from docex.database import Database as Opened
from docex.database import open_database
from docex.db import opened
from docex.db.statements import Statements
from docex.errors import NotInitialized, TenantRequired, TenantSwitchRefused
from docex.models.tables import Base

__all__ = ["Base", "Database", "get_base"]


def get_base() -> type[Base]:
    """The base class of the tables."""
    return Base


class Database(Statements):
    """One tenant's database, or the only one. Without a tenant where there are tenants it refuses all work until
    ``tenant_id`` is assigned.
    """

    def __init__(
        self, config: DocEXConfig | None = None, tenant_id: str | None = None, read_only: bool = False
    ) -> None:
        """Open it; ``read_only``: a tenant that is not there is not made.

        :raises NotInitialized: there is no configuration file. :raises TenantNotProvisioned: there is no such tenant.
        """
        file, settings = in_force() if config is None else (config, config.validate())
        if settings is None or not file.exists:
            raise NotInitialized()
        self.enforced = settings.security.enforce_user_context
        self._settings = settings
        self._provision = settings.provisions_on_access and not read_only
        self._database: Opened | None = None
        self._user_context: UserContext | None = None
        if tenant_id is not None or not settings.by_tenant:
            self._open(tenant_id)

    def _open(self, tenant_id: str | None) -> None:
        self._database = open_database(self._settings, tenant_id, self._user_context, provision=self._provision)
        opened.note(self._database.tenant_id)

    def __repr__(self) -> str:
        tenant_id = None if self._database is None else self._database.tenant_id
        return f"<Database tenant={tenant_id!r}>" if tenant_id else "<Database>"

    @property
    def _present(self) -> Opened:
        if self._database is None:
            raise TenantRequired()
        return self._database

    @property
    def tenant_id(self) -> str | None:
        """Whose database it is; None when there are no tenants. May be assigned once where none was named.

        :raises TenantRequired: none was named yet. :raises TenantSwitchRefused: it is another tenant's already.
        """
        return self._present.tenant_id

    @tenant_id.setter
    def tenant_id(self, value: str | None) -> None:
        if self._database is None:
            if not value:
                raise TenantRequired()
            self._open(value)
        elif value != self._database.tenant_id:
            raise TenantSwitchRefused(self._database.tenant_id, value)

    @property
    def user_context(self) -> UserContext | None:
        """Who works. May be assigned."""
        return self._user_context

    @user_context.setter
    def user_context(self, value: UserContext | None) -> None:
        self._user_context = value
        if self._database is not None:
            self._database.user_context = value

    @property
    def user_id(self) -> str | None:
        """The user whose changes these are."""
        return self._user_context.user_id if self._user_context else None

    def session(self, *, write: bool = False) -> AbstractContextManager[Session]:
        """One transaction; commits at the end of the block, rolls back when an exception leaves it.

        ``write``: on SQLite take the write lock at once, for work that reads first and writes later.
        """
        return self._present.session(write=write)

    def connection(self, *, write: bool = False, large: bool = False) -> AbstractContextManager[sa.Connection]:
        """The same without an ORM session."""
        return self._present.connection(write=write, large=large)

    def remember(self, storage_config: Mapping[str, Any]) -> None:
        """Have the tenant's record name where a basket keeps its contents."""
        self._present.remember(storage_config)

    def close(self) -> None:
        """Refuse further sessions. Connections are shared with other objects and stay with their pool."""
        if self._database is not None:
            self._database.close()
