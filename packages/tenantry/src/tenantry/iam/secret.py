"""The platform's secret: from the declaration, from SECRET_KEY in the environment, or from a file made once.

The file ``secret.key`` lies in the platform's home with mode 0600 and is the same for every process that shares the
home; workers on several machines share the secret by SECRET_KEY. It never leaves this module but as bytes to derive
keys from: nothing here prints it, and no error repeats it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from tenantry.errors import DeclarationError
from tenantry.stores.faults import faults

VARIABLE = "SECRET_KEY"
HOME_VARIABLE = "TENANTRY_HOME"
FILE = "secret.key"
MIN_LENGTH = 32  # characters; less could be guessed from a single token
MAX_FILE = 4_096  # bytes


class Hidden(Protocol):
    """A secret that hides its value, such as Pydantic's SecretStr."""

    def get_secret_value(self) -> str:
        """The value."""


SecretValue = str | Hidden | None
SecretSource = SecretValue | Callable[[], SecretValue]
Home = Path | str | Callable[[], Path | str]


class PlatformSecret:
    """The secret of one platform, read or made at first use. ``home``: where a missing one is made and kept."""

    def __init__(self, given: SecretSource, home: Home) -> None:
        self._given = given
        self._home = home
        self._value: bytes | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def derive(self, purpose: str, salt: str = "") -> bytes:
        """A key of 32 bytes for one purpose, from which neither the secret nor another key can be told."""
        if self._value is None:
            self._value = self._find().encode("utf-8", "surrogatepass")
        return hmac.digest(self._value, f"tenantry {purpose}\0{salt}".encode(), hashlib.sha256)

    def _find(self) -> str:
        given = self._given() if callable(self._given) else self._given
        value = given if given is None or isinstance(given, str) else given.get_secret_value()
        value = value or os.environ.get(VARIABLE)
        if not value:
            return self._from_file()
        if len(value) < MIN_LENGTH:
            reason = f"it is shorter than {MIN_LENGTH} characters; `openssl rand -hex 32` makes a good one."
            raise DeclarationError(VARIABLE, reason)
        return value

    def _from_file(self) -> str:
        home = Path(self._home() if callable(self._home) else self._home).expanduser()
        path = home / FILE
        with faults(str(path)):
            if not path.exists():
                _make(path)
            return _read(path)


def default_home() -> Path:
    """Where the secret is kept when the declaration names no home: TENANTRY_HOME, else this user's data directory."""
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named)
    from platformdirs import user_data_path

    return user_data_path("tenantry", appauthor=False)


def _make(path: Path) -> None:
    """Write a new secret under a name of its own and link it into place: of many processes, one wins, and nobody ever
    sees half a file.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was first; its secret is the one
            os.link(draft, path)
    finally:
        draft.unlink()


def _read(path: Path) -> str:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        content = file.read(MAX_FILE)
    if mode & 0o077:
        raise DeclarationError(str(path), f"other users may read it; run `chmod 600 {path}`, and rotate the keys.")
    try:
        value = content.decode("ascii").strip()
    except UnicodeDecodeError:
        value = ""
    if len(value) < MIN_LENGTH:
        reason = "it does not hold a secret; restore it, or remove it to have a new one made (all sessions end)."
        raise DeclarationError(str(path), reason)
    return value
