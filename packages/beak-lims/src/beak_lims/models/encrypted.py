"""Columns whose values are encrypted before they leave the process and decrypted when they come back.

Such a column cannot be compared, sorted or searched by the database; keyed hashes beside it can.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import Text
from sqlalchemy.types import TypeDecorator

from beak_lims.crypto import keyring


class EncryptedText(TypeDecorator[str]):
    """Text, kept encrypted; null stays null."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        """Encrypt what goes to the database."""
        return None if value is None else keyring().encrypt(value)

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        """Decrypt what comes from it. :raises DecryptionFailed: it cannot be."""
        return None if value is None else keyring().decrypt(value)


class EncryptedDate(TypeDecorator[date]):
    """A date, kept encrypted; null stays null."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: date | None, dialect: Any) -> str | None:
        """Encrypt what goes to the database."""
        return None if value is None else keyring().encrypt(value.isoformat())

    def process_result_value(self, value: str | None, dialect: Any) -> date | None:
        """Decrypt what comes from it. :raises DecryptionFailed: it cannot be."""
        return None if value is None else date.fromisoformat(keyring().decrypt(value))
