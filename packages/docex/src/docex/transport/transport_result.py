"""How a transfer ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from docex.models.tables import now


@dataclass(frozen=True)
class TransportResult:
    """Success, or the reason why not. ``bool(result)`` tells which."""

    success: bool
    message: str
    error: Exception | None = None
    details: dict[str, Any] | None = None
    timestamp: datetime = field(default_factory=now)  # UTC

    def __bool__(self) -> bool:
        return self.success

    def to_dict(self) -> dict[str, Any]:
        """As plain values; the error as its text."""
        return {
            "success": self.success,
            "message": self.message,
            "error": None if self.error is None else str(self.error),
            "details": self.details,
            "timestamp": self.timestamp.isoformat(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TransportResult:
        """What :meth:`to_dict` gave; the error is a plain RuntimeError with its text."""
        error, moment = values.get("error"), values.get("timestamp")
        return cls(
            success=bool(values["success"]),
            message=str(values["message"]),
            error=None if error is None else RuntimeError(error),
            details=values.get("details"),
            timestamp=now() if moment is None else datetime.fromisoformat(moment),
        )
