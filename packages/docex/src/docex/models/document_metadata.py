"""A description of a file that a processor can hand on as one value."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field

from docex.models.tables import now


class DocumentMetadata(BaseModel):
    """Where a file came from, and whatever else is known of it in ``extra``."""

    original_path: str | None = None
    current_path: str | None = None
    inserted_at: datetime = Field(default_factory=now)  # UTC
    original_timestamp: datetime | None = None
    checksum: str | None = None  # SHA-256
    extra: dict[str, Any] = Field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dictionary."""
        return self.model_dump()

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The reverse. :raises pydantic.ValidationError: a value is of another type."""
        return cls.model_validate(data)
