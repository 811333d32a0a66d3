"""All tables of a tenant, for what compares them with the migrations."""

from __future__ import annotations

from typing import Any

from docex.models import holdings, processing, tables

__all__ = ["compared", "holdings", "metadata", "processing", "tables"]

metadata = tables.metadata

# Full-text search is a kind of table of SQLite's own, or a kind of index of PostgreSQL's own; the index from which a
# basket is listed is there on SQLite only: see revision 0004.
OF_ONE = ("document_fts", "ix_document_text_search", "ix_document_listed")


def compared(name: str | None, kind: str, parents: Any) -> bool:
    """Whether Alembic is to compare this with the models: what only one of the databases has is left out."""
    return not str(name).startswith(OF_ONE)
