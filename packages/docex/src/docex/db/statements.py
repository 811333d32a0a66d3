"""SQL of a script's own on a database of DocEX.

It runs on the same connections as everything else, so it meets the tables of this tenant and of no other. Roles,
quotas and the audit trail are not asked: they belong to the methods of documents and baskets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session


class Statements(ABC):
    """What a database offers beside its sessions."""

    @abstractmethod
    def session(self, *, write: bool = False) -> AbstractContextManager[Session]:
        """See :class:`docex.database.Database`."""

    def transaction(self) -> AbstractContextManager[Session]:
        """A session for writing: commits at the end of the block, rolls back when an exception leaves it."""
        return self.session(write=True)

    def get_engine(self) -> sa.Engine:
        """The engine behind the sessions. It is shared with other objects of this process: do not dispose of it."""
        with self.session() as session:
            return session.get_bind().engine

    def get_session(self) -> Session:
        """A session that is no block: the caller commits and closes it."""
        return Session(self.get_engine(), expire_on_commit=False)

    def execute(self, query: str | sa.Executable, params: Mapping[str, Any] | None = None) -> sa.Result[Any]:
        """Run one statement in a transaction of its own. What it returned is read before this returns."""
        statement = sa.text(query) if isinstance(query, str) else query
        with self.transaction() as session:
            result = session.execute(statement, dict(params or {}))
            # SQLAlchemy types every result alike; the one of a statement without rows cannot be frozen.
            return result.freeze()() if getattr(result, "returns_rows", True) else result

    def fetch_one(self, query: str | sa.Executable, params: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """The first row by column, or None if there is none."""
        row = self.execute(query, params).mappings().first()
        return None if row is None else dict(row)

    def fetch_all(self, query: str | sa.Executable, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """All rows by column."""
        return [dict(row) for row in self.execute(query, params).mappings()]
