"""Baskets and documents as plain values that do not change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class BasketRecord(BaseModel):
    """A basket as a listing shows it; columns that were not asked for are None."""

    model_config = ConfigDict(frozen=True)

    id: str | None = None
    name: str | None = None
    description: str | None = None
    status: str | None = None
    created_at: datetime | None = None  # UTC
    updated_at: datetime | None = None  # UTC
    document_count: int | None = None


class DocumentRecord(BaseModel):
    """A document's details at the time it was read."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    path: str  # the readable name of its content in its basket
    content_type: str | None
    document_type: str
    size: int  # bytes
    checksum: str  # SHA-256 of the bytes, hexadecimal
    status: str
    created_at: datetime  # UTC
    updated_at: datetime  # UTC
    source: str  # the path it was added from
    version: int  # which content it has, counted from 1
    created_by: str | None  # the user's id
    updated_by: str | None

    def __getitem__(self, name: str) -> Any:
        """A field by its name, for scripts that take the details for a mapping."""
        if name not in type(self).model_fields:
            raise KeyError(name)
        return getattr(self, name)
