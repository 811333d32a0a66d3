"""Passwords: hashed with argon2id, checked against one rule, or generated to be told once.

A password is never stored, logged or put into an error. The rule does not know which passwords leaked elsewhere.
"""

from __future__ import annotations

import difflib
import functools
import secrets
import string

import argon2

from tenantry.errors import PasswordRejected

MIN_LENGTH = 8  # characters
MAX_LENGTH = 256  # characters; hashing a longer text only costs time
GENERATED_LENGTH = 20  # characters; about 119 bits
MIN_NAME_PART = 3  # letters of a name that a password may not hold
TOO_SIMILAR = 0.7  # of difflib's ratio between 0 and 1

# Left out: what is taken for another letter when read aloud or typed from a terminal, and what a shell would take.
_LOWER = "".join(sorted(set(string.ascii_lowercase) - set("l")))
_UPPER = "".join(sorted(set(string.ascii_uppercase) - set("IO")))
_DIGITS = "23456789"
_SYMBOLS = "-_+=.:@%"
_GENERATED_FROM = _LOWER + _UPPER + _DIGITS + _SYMBOLS

_hasher = argon2.PasswordHasher()  # argon2id with the library's present parameters, which the hash carries


def hash_password(password: str) -> str:
    """The argon2id hash, with its salt and parameters."""
    return _hasher.hash(password)


def verify_password(hashed: str, password: str) -> bool:
    """Whether the password is the one that was hashed. Takes as long for a wrong one as for the right one."""
    if len(password) > MAX_LENGTH:
        return False
    try:
        return _hasher.verify(hashed, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError, UnicodeEncodeError):
        return False


def outdated(hashed: str) -> bool:
    """Whether the hash was made with other parameters than a new one would be."""
    return _hasher.check_needs_rehash(hashed)


@functools.cache
def decoy() -> str:
    """A hash that no password has, verified where there is no user: a refusal then costs what any other costs."""
    return _hasher.hash(secrets.token_urlsafe(MAX_LENGTH // 2))


def generate_password() -> str:
    """A new random password that keeps the rule."""
    while True:
        password = "".join(secrets.choice(_GENERATED_FROM) for _ in range(GENERATED_LENGTH))
        if not faults_of(password) and password[0] not in _SYMBOLS:  # a leading "-" would be taken for an option
            return password


def check_password(password: str, *, names: tuple[str, ...] = ()) -> None:
    """Check a password that a person chose. ``names``: the user's name and email, which it must not resemble.

    :raises PasswordRejected: it breaks the rule; says how, without the password.
    """
    found = faults_of(password, names)
    if found:
        raise PasswordRejected(tuple(found))


def faults_of(password: str, names: tuple[str, ...] = ()) -> list[str]:
    """What the password lacks, in words; empty when it keeps the rule."""
    wanted = [
        (len(password) >= MIN_LENGTH, f"at least {MIN_LENGTH} characters"),
        (len(password) <= MAX_LENGTH, f"at most {MAX_LENGTH} characters"),
        (any(letter.isdigit() for letter in password), "a digit"),
        (any(not letter.isalnum() and not letter.isspace() for letter in password), "a symbol"),
        (any(letter.isupper() for letter in password), "an upper-case letter"),
        (any(letter.islower() for letter in password), "a lower-case letter"),
        (password.isprintable(), "printable characters only"),
        (not _resembles(password, names), "to be unlike the user's name and email"),
    ]
    return [words for kept, words in wanted if not kept]


def _resembles(password: str, names: tuple[str, ...]) -> bool:
    lowered = password[:MAX_LENGTH].lower()
    for name in names:
        for part in {name.lower(), name.lower().partition("@")[0]}:
            if len(part) >= MIN_NAME_PART and (
                part in lowered or difflib.SequenceMatcher(a=lowered, b=part).ratio() >= TOO_SIMILAR
            ):
                return True
    return False
