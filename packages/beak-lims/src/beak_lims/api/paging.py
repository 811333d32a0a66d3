"""Pages of the laboratory's lists: oldest first or newest first, by the rows' keys, which sort by time.

A list's answer stays a plain list; the next page is told in the ``Link`` and ``X-Next-Cursor`` headers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from sqlalchemy import Select

from beak_lims.api.doors import Work
from tenantry.http.paging import DEFAULT_LIMIT, NEXT_HEADERS, Cursor, Limit, Pages

Row = TypeVar("Row", bound=Any)

LISTED: dict[int | str, dict[str, Any]] = {200: {"headers": NEXT_HEADERS}}  # a list route's ``responses``


class Page:
    """One page of one list: how many rows, and after which."""

    def __init__(self, request: Request, limit: int, cursor: str | None) -> None:
        chosen = {name: value for name, value in request.query_params.items() if name not in ("limit", "cursor")}
        self._pages = Pages(request.url.path, **chosen)
        self.limit = limit
        self.after = self._pages.read(cursor)

    def of(self, work: Work, query: Select[Row], *, newest_first: bool = False) -> Sequence[Row]:
        """The rows of this page of a query for one model. Tells the answer's headers where the next one begins."""
        uid = query.column_descriptions[0]["entity"].uid
        if self.after is not None:
            query = query.where(uid < self.after if newest_first else uid > self.after)
        query = query.order_by(uid.desc() if newest_first else uid).limit(self.limit + 1)
        rows = work.session.scalars(query).unique().all()
        page = rows[: self.limit]
        work.headers.update(self._pages.headers(page[-1].uid if len(rows) > self.limit else None, self.limit))
        return page

    def tell(self, work: Work, key: str | None) -> None:
        """Tell the answer's headers where the next page begins: after the row of this key; None if there is none."""
        work.headers.update(self._pages.headers(key, self.limit))


async def _paged(request: Request, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Page:
    return Page(request, limit, cursor)


Paged = Annotated[Page, Depends(_paged)]
