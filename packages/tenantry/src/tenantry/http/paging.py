"""Pages of lists: an opaque cursor for the next one, told in a Link header so that the body stays a plain list.

A cursor holds the key of the last row and is good for the list it was made for: the same route, order and filters. It
is no secret and grants nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query

from tenantry.http.errors import CursorRejected

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
MAX_CURSOR = 1024  # characters

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows a page")]
Cursor = Annotated[
    str | None, Query(max_length=MAX_CURSOR, description="Where the page begins: X-Next-Cursor of the one before")
]

NEXT_HEADERS: dict[str, Any] = {
    "Link": {"description": 'The next page, rel="next"; absent on the last', "schema": {"type": "string"}},
    "X-Next-Cursor": {"description": "Its cursor; absent on the last", "schema": {"type": "string"}},
}


class Pages:
    """The pages of one list: its path, and everything that chooses and orders its rows."""

    def __init__(self, path: str, **chosen: object) -> None:
        self._path = path
        self._chosen = {name: str(value) for name, value in chosen.items() if value is not None}
        told = json.dumps([path, self._chosen], sort_keys=True)
        self._mark = hashlib.sha256(told.encode()).hexdigest()[:12]

    def read(self, cursor: str | None) -> str | None:
        """The key that the cursor holds. :raises CursorRejected: it is damaged, or another list's."""
        if cursor is None:
            return None
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            mark, key = json.loads(raw)
        except (binascii.Error, ValueError, TypeError) as error:
            raise CursorRejected() from error
        if mark != self._mark or not isinstance(key, str) or not key.isprintable():
            raise CursorRejected()
        return key

    def headers(self, key: str | None, limit: int) -> Mapping[str, str]:
        """The headers that lead to the page after this key."""
        if key is None:
            return {}
        cursor = base64.urlsafe_b64encode(json.dumps([self._mark, key]).encode()).decode().rstrip("=")
        query = urlencode({**self._chosen, "limit": limit, "cursor": cursor})
        # Without a host: the caller's own stands in front of it.
        return {"Link": f'<{self._path}?{query}>; rel="next"', "X-Next-Cursor": cursor}
