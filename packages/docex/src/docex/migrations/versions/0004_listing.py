"""On SQLite, an index from which a basket is listed without its rows.

A document's row carries its text, so to read ten thousand rows for their names and sizes is to read forty megabytes.
The index holds most of what is shown of a document as one text, and in the order in which documents come, so that it is
written at its end.
The server on PostgreSQL reads an index alone only where rows were vacuumed, and gets none.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAME = "ix_document_listed"
SHOWN = (
    "path",
    "coalesce(CAST(content_type AS TEXT), char(31))",
    "document_type",
    "coalesce(CAST(size AS TEXT), char(31))",
    "checksum",
    "status",
    "created_at",
    "updated_at",
)
TEXT = " || char(31) || ".join(SHOWN)  # as a query must name it, or the rows are read
# What lists are cut down by, behind what they show.
FILTERED = ("status", "document_type", "size")


def upgrade() -> None:
    """Make it."""
    if op.get_bind().dialect.name == "sqlite":
        op.create_index(NAME, "document", ["basket_id", "created_at", "id", "name", sa.text(TEXT), *FILTERED])


def downgrade() -> None:
    """Remove it."""
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index(NAME, "document")
