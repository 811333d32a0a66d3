"""Values that people give, checked before anything is touched: names and email addresses."""

from __future__ import annotations

import re

from beak_lims.errors import InputRejected

MAX_NAME = 255  # characters; the width of the columns
MAX_EMAIL = 254  # characters; the longest address that mail carries

_EMAIL = re.compile(r"[^@\s\"(),:;<>\[\\\]]+@[^@\s\"(),:;<>\[\\\]]+")


def parse_name(what: str, value: str) -> str:
    """The name without the blanks around it.

    :raises InputRejected: nothing is left, it is too long, or it holds characters that cannot be printed.
    """
    name = value.strip()
    if not name:
        raise InputRejected(what, value, "it is empty.")
    if len(name) > MAX_NAME:
        raise InputRejected(what, value, f"at most {MAX_NAME} characters are kept.")
    if not name.isprintable():
        raise InputRejected(what, value, "it holds characters that cannot be printed.")
    return name


def parse_laboratory_name(value: str | None, *, organization: str) -> str:
    """The name of an organisation's first laboratory; without one it is the main laboratory of the organisation.

    :raises InputRejected: it cannot be used.
    """
    return parse_name("Laboratory name", f"{organization} Main Lab" if value is None else value)


def parse_email(value: str) -> str:
    """The address in lower case: two that differ only in case reach one mailbox.

    :raises InputRejected: it is not of the form ``name@host``, or too long.
    """
    email = value.strip().lower()
    if not _EMAIL.fullmatch(email) or not email.isprintable() or len(email) > MAX_EMAIL:
        raise InputRejected("Email", value, f"write name@example.org, at most {MAX_EMAIL} characters.")
    return email
