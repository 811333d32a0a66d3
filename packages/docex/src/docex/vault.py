"""Credentials at rest: sealed with a key that is not in the database, or only named and read from the environment.

The key is ``$DOCEX_SECRET_KEY`` (32 bytes in URL-safe base64), else the file ``secret.key`` beside the configuration,
made at the first sealing and readable by its owner only. Whoever has the database without the key has no credential;
whoever loses the key must enter the credentials anew.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from docex.config.docex_config import config_path
from docex.errors import CredentialError

VARIABLE = "DOCEX_SECRET_KEY"
FILE = "secret.key"
OWNER_ONLY = 0o600
_KEY_BYTES = 32
_NONCE_BYTES = 12  # what AES-GCM takes


class Vault:
    """Seals and opens texts. Making this object reads nothing."""

    def __init__(self, file: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self._file = file
        self._environ = environ

    def __repr__(self) -> str:
        return "<Vault>"

    @property
    def file(self) -> Path:
        """Where the key lies when it is not in the environment."""
        return self._file or config_path(self._environ).with_name(FILE)

    def seal(self, text: str, context: str) -> str:
        """The text, unreadable without the key, and of use only in the same context. Makes the key if there is none.

        :raises CredentialError: the key cannot be used or made.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(self._key(make=True)).encrypt(nonce, text.encode(), context.encode())
        return base64.urlsafe_b64encode(nonce + sealed).decode()

    def open(self, sealed: str, context: str) -> str:
        """What was sealed. :raises CredentialError: not with this key, or not for this context."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = self._key(make=False)
        try:
            data = base64.urlsafe_b64decode(sealed)
            return AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], context.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise CredentialError(
                context, f"it was sealed with another key than the one in {self._where()}. Enter it anew."
            ) from error

    def from_environment(self, name: str, context: str) -> str:
        """The value of an environment variable. :raises CredentialError: it is not set."""
        value = self._environ.get(name)
        if not value:
            raise CredentialError(context, f"the environment variable {name} is not set.")
        return value

    def _where(self) -> str:
        return f"${VARIABLE}" if self._environ.get(VARIABLE) else str(self.file)

    def _key(self, *, make: bool) -> bytes:
        given = self._environ.get(VARIABLE)
        if given:
            return _decoded(given, f"${VARIABLE}")
        try:
            return _decoded(self.file.read_text("ascii"), str(self.file))
        except FileNotFoundError as error:
            if not make:
                raise CredentialError(
                    str(self.file), f"the key is missing. Bring it back, or set {VARIABLE}, or enter credentials anew."
                ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialError(str(self.file), f"the key cannot be read: {error}.") from error
        self._make()
        return self._key(make=False)

    def _make(self) -> None:
        """Make a key; if another process makes one at the same time, its key is the one that stays."""
        key = base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES))
        temporary = self.file.with_name(f".{FILE}.{secrets.token_hex(4)}.tmp")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(key + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                with suppress(FileExistsError):
                    os.link(temporary, self.file)
            finally:
                temporary.unlink()
        except OSError as error:
            raise CredentialError(str(self.file), f"the key cannot be made: {error.strerror}.") from error


def _decoded(text: str, where: str) -> bytes:
    try:
        key = base64.urlsafe_b64decode(text.strip())
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        # Without the cause: its text would hold part of the key.
        raise CredentialError(where, f"the key must be {_KEY_BYTES} bytes in URL-safe base64.") from None
    return key
