"""Personal data at rest: encrypted with AES-256-GCM, and found again by keyed hashes.

An installation has two secrets, one for encryption and one for search: from HIPAA_ENCRYPTION_KEY and
SEARCH_ENCRYPTION_KEY, else from a file of its home that is made once with mode 0600. What is encrypted names the key by
a mark that tells nothing of it, so a key can be replaced: write the new one in front of the old ones, separated by
commas. Losing the key loses the data. A search hash tells that two values are equal to whoever reads the table, and no
more than that.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from beak_lims.errors import DecryptionFailed, SettingRejected

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from beak_lims.settings import Settings

FILE = "encryption.key"
MIN_LENGTH = 32  # characters of a secret
MAX_FILE = 4_096  # bytes
NONCE = 12  # bytes; random, so one key is good for some 2^32 values
MARK = 8  # hexadecimal digits that name a key
VERSION = "1"  # of the form in which values are kept: version:mark:base64(nonce + encrypted)


class Keyring:
    """The keys of one installation. Safe to share between threads; nothing of it shows in a repr."""

    def __init__(self, encryption: Sequence[str], search: str, signing: Callable[[str], bytes] | None = None) -> None:
        """``encryption``: the secrets, the one that encrypts first; the others decrypt what they once encrypted.

        ``signing``: gives the key of one purpose that tokens are signed with.
        """
        self._signing = signing
        self._keys = [_derive(secret, "encryption") for secret in encryption]
        self._search = _derive(search, "search")

    def __repr__(self) -> str:
        return "<Keyring>"

    @cached_property
    def _ciphers(self) -> dict[str, AESGCM]:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return {_mark(key): AESGCM(key) for key in self._keys}

    def encrypt(self, text: str) -> str:
        """The text as it may be kept: another one at each call."""
        mark, cipher = next(iter(self._ciphers.items()))
        nonce = secrets.token_bytes(NONCE)
        sealed = nonce + cipher.encrypt(nonce, text.encode("utf-8", "surrogatepass"), mark.encode())
        return f"{VERSION}:{mark}:{base64.b64encode(sealed).decode()}"

    def decrypt(self, kept: str) -> str:
        """The text that was encrypted. :raises DecryptionFailed: with another key, or it was changed since."""
        from cryptography.exceptions import InvalidTag

        version, _, rest = kept.partition(":")
        mark, _, sealed = rest.partition(":")
        cipher = self._ciphers.get(mark)
        if version != VERSION or cipher is None:
            raise DecryptionFailed("it was encrypted with a key that is not among HIPAA_ENCRYPTION_KEY's")
        try:
            raw = base64.b64decode(sealed, validate=True)
            return cipher.decrypt(raw[:NONCE], raw[NONCE:], mark.encode()).decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError, binascii.Error) as error:
            raise DecryptionFailed("it was changed since it was encrypted") from error

    def signing_key(self, purpose: str) -> bytes:
        """The key that tokens of one purpose are signed with; it comes from SECRET_KEY, not from the keys of data."""
        if self._signing is None:
            raise SettingRejected("SECRET_KEY", "this process was given no key to sign tokens with.")
        return self._signing(purpose)

    def digest(self, *parts: str) -> str:
        """The keyed hash of these parts: equal for equal parts, and not to be made without the key."""
        told = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.digest(self._search, told.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()


_source: Callable[[], Keyring] | None = None
_keyring: Keyring | None = None


def configure(source: Callable[[], Keyring]) -> None:
    """Have this process use the keys that ``source`` gives, asked at the first use. A process serves one installation;
    of several declarations the last one counts.
    """
    global _source, _keyring
    _source, _keyring = source, None


def keyring() -> Keyring:
    """The keys of this process's installation.

    :raises SettingRejected: they cannot be used.
    """
    global _keyring
    if _keyring is None:
        if _source is None:
            from beak_lims.settings import load_settings

            _keyring = keyring_of(load_settings())
        else:
            _keyring = _source()
    return _keyring


def keyring_of(settings: Settings) -> Keyring:
    """The keys that the settings describe; those that are missing are made in the installation's home.

    :raises SettingRejected: a key is too short, or its file damaged or open to others.
    """
    given = settings.encryption_key
    listed = [] if given is None else [part.strip() for part in given.get_secret_value().split(",")]
    search = None if settings.search_key is None else settings.search_key.get_secret_value().strip()
    from tenantry.iam.secret import PlatformSecret

    signing = PlatformSecret(settings.secret_key, settings.home).derive
    _check("HIPAA_ENCRYPTION_KEY", listed)
    _check("SEARCH_ENCRYPTION_KEY", [] if search is None else [search])
    if listed and search is not None:
        return Keyring(listed, search, signing)
    kept = _kept(settings.home / FILE)
    return Keyring(listed or [kept], search or kept, signing)


def _check(name: str, values: Iterable[str]) -> None:
    if any(len(value) < MIN_LENGTH for value in values):
        reason = f"it is shorter than {MIN_LENGTH} characters; `openssl rand -hex 32` makes a good one."
        raise SettingRejected(name, reason)


def _derive(secret: str, purpose: str) -> bytes:
    return hmac.digest(secret.encode("utf-8", "surrogatepass"), f"beak-lims {purpose}".encode(), hashlib.sha256)


def _mark(key: bytes) -> str:
    return hmac.digest(key, b"mark", hashlib.sha256).hex()[:MARK]


def _kept(path: Path) -> str:
    """The secret of the file, which is made if there is none. Of many processes, one makes it."""
    try:
        if not path.exists():
            _make(path)
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_FILE)
    except OSError as error:
        raise SettingRejected(str(path), f"it cannot be read or made ({error.strerror}).") from error
    if mode & 0o077:
        raise SettingRejected(str(path), f"other users may read it; run `chmod 600 {path}`.")
    value = content.decode("ascii", "replace").strip()
    if len(value) < MIN_LENGTH or not value.isascii():
        raise SettingRejected(str(path), "it holds no key; restore it: what it encrypted cannot be read without.")
    return value


def _make(path: Path) -> None:
    # Written under a name of its own and linked into place: nobody ever sees half a file, and nobody's is replaced.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
