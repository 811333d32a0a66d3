"""Which rows of the catalog results rest on: those stay as they are, whatever newer tables say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def cited(session: Session, model: type[Any], uids: Sequence[str]) -> set[str]:
    """Those of these rows that a result cites."""
    return set()
