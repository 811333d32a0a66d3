"""What the rows of a published table have in common, here: where they came from, and when they ceased to count.

A row is known by ``natural_key``, a digest of what identifies it, and compared by ``digest``, one of all it says: so a
table of tens of thousands of rows is compared without reading it whole. A row that a newer table changes or drops, and
that a result cites, is retired and never altered; readers leave out what is retired.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import Record

DIGEST_LENGTH = 32  # hexadecimal digits
SOURCE_LENGTH = 16
SHORT_CODE = 16  # characters of the codes of organisms, antibiotics and guidelines


class CatalogRow(Record):
    """A row of a published table."""

    __abstract__ = True

    natural_key: Mapped[str] = mapped_column(String(DIGEST_LENGTH), sort_order=90)
    digest: Mapped[str] = mapped_column(String(DIGEST_LENGTH), sort_order=91)
    source: Mapped[str] = mapped_column(String(SOURCE_LENGTH), sort_order=92)
    retired_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), sort_order=93)


def one_that_counts(table: str) -> Index:
    """The index that lets only one row of a natural key count."""
    return Index(f"uq_{table}_natural_key", "natural_key", unique=True, postgresql_where=text("retired_at IS NULL"))
