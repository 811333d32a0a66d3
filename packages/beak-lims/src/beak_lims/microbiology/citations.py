"""Which rows of the catalog results rest on: those stay as they are, whatever newer tables say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from beak_lims.models import AstResult

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def cited(session: Session, model: type[Any], uids: Sequence[str]) -> set[str]:
    """Those of these rows that a result of any laboratory cites."""
    table: Any = AstResult.__table__  # not the model: it would look into the laboratory at work alone
    column = table.c.get(f"{model.__tablename__}_uid")
    if column is None or not uids:
        return set()
    among = sa.any_(sa.literal(list(uids), ARRAY(sa.String)))
    return set(session.scalars(sa.select(column).where(column == among).distinct()))
