"""On SQLite, an index from which a basket is listed without its rows.

A document's row carries its text, so to read ten thousand rows for their names and sizes is to read forty megabytes.
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
ORDER = ("basket_id", sa.text("created_at DESC"), sa.text("id DESC"))
SHOWN = ("name", "path", "content_type", "document_type", "size", "checksum", "status", "updated_at")


def upgrade() -> None:
    """Make it."""
    if op.get_bind().dialect.name == "sqlite":
        op.create_index(NAME, "document", [*ORDER, *SHOWN])


def downgrade() -> None:
    """Remove it."""
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index(NAME, "document")
