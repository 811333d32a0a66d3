"""No database: what an object works on that was given no tenant yet. Every touch says so, and nothing is opened."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, NoReturn

import sqlalchemy as sa
from sqlalchemy.orm import Session

from docex.context import UserContext
from docex.errors import TenantRequired


class Unassigned:
    """In place of a :class:`docex.database.Database`; raises :class:`TenantRequired` at whatever is asked of it."""

    @property
    def tenant_id(self) -> str | None:
        """:raises TenantRequired: always."""
        return self._refuse()

    @tenant_id.setter
    def tenant_id(self, value: str | None) -> None:
        self._refuse()

    @property
    def user_context(self) -> UserContext | None:
        """:raises TenantRequired: always."""
        return self._refuse()

    @user_context.setter
    def user_context(self, value: UserContext | None) -> None:
        self._refuse()

    @property
    def enforced(self) -> bool:
        """:raises TenantRequired: always."""
        return self._refuse()

    @enforced.setter
    def enforced(self, value: bool) -> None:
        self._refuse()

    @property
    def user_id(self) -> str | None:
        """:raises TenantRequired: always."""
        return self._refuse()

    def session(self, *, write: bool = False) -> AbstractContextManager[Session]:
        """:raises TenantRequired: always."""
        return self._refuse()

    def connection(self, *, write: bool = False, large: bool = False) -> AbstractContextManager[sa.Connection]:
        """:raises TenantRequired: always."""
        return self._refuse()

    def remember(self, storage_config: Mapping[str, Any]) -> None:
        """:raises TenantRequired: always."""
        self._refuse()

    def close(self) -> None:
        """There is nothing to close."""

    @staticmethod
    def _refuse() -> NoReturn:
        raise TenantRequired()
