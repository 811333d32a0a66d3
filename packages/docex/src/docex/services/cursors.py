"""Where a page of a listing ends: a text that means nothing to whoever carries it."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Any

from docex.errors import QueryRejected


def made(value: Any, last: str, order_by: str, order_desc: bool) -> str:
    """The cursor behind a row: the value it is ordered by, and its id."""
    shown = value.isoformat() if isinstance(value, datetime) else value
    text = json.dumps([order_by, order_desc, shown, last], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read(cursor: str, order_by: str, order_desc: bool, *, like: type[Any]) -> tuple[Any, str]:
    """The value and the id of a cursor. :raises QueryRejected: it is none, or one of another order."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        of_order, of_desc, value, last = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        if (of_order, of_desc) != (order_by, order_desc) or not isinstance(last, str):
            raise QueryRejected(cursor, "this cursor belongs to a listing in another order.")
        if like is datetime:
            return datetime.fromisoformat(value), last
        if not isinstance(value, like):
            raise ValueError(value)
    except (ValueError, TypeError, UnicodeError, binascii.Error) as error:
        if isinstance(error, QueryRejected):
            raise
        raise QueryRejected(cursor, "it is no cursor that an earlier page gave.") from error
    return value, last
