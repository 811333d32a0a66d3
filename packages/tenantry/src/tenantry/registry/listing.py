"""Tenants a page at a time, as those who look after thousands of them read them.

Pages follow each other by the key of their last row, not by counting: a tenant that comes or goes meanwhile neither
hides nor repeats another. The text that is searched for is never a pattern.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from tenantry.registry.plane import ControlPlane
from tenantry.registry.tables import tables
from tenantry.tenant import TenantStatus

SUMMARY = (
    "uid",
    "name",
    "slug",
    "location",
    "status",
    "revision",
    "failed_step",
    "error",
    "created_at",
    "updated_at",
    "attributes",
)
ESCAPE = "\\"


class TenantOrder(StrEnum):
    """The order of a list of tenants; ``-`` turns it around."""

    SLUG = "slug"
    SLUG_DOWN = "-slug"
    CREATED = "created"
    CREATED_DOWN = "-created"


@dataclass(frozen=True)
class TenantPage:
    """The rows of a page, and the key after which the next one begins; None on the last."""

    rows: Sequence[Mapping[str, Any]]
    next: str | None


class Listing(ControlPlane):
    """Pages of the tenants of one control plane."""

    def __init__(self, engine: Callable[[], sa.Engine], schema: str | None, location: str) -> None:
        super().__init__(engine, schema, location)
        self._tenant = tables(schema).tenant
        self._queries: dict[tuple[TenantOrder, bool, bool, bool], sa.Select[Any]] = {}

    def page(
        self,
        *,
        status: TenantStatus | None = None,
        search: str | None = None,
        order: TenantOrder = TenantOrder.SLUG,
        after: str | None = None,
        limit: int,
    ) -> TenantPage:
        """One page; ``search``: only those whose slug or name holds this text, in any letter case."""
        shape = (order, status is not None, bool(search), after is not None)
        query = self._queries.get(shape)
        if query is None:
            query = self._queries[shape] = self._query(*shape)
        values = {
            "of_status": None if status is None else status.value,
            "wanted": f"%{_literal(search.lower())}%" if search else None,
            "after": after,
            "at_most": limit + 1,
        }
        with self.transaction() as connection:
            rows = connection.execute(query, {name: value for name, value in values.items() if value is not None}).all()
        shown = [dict(zip(SUMMARY, row, strict=False)) for row in rows[:limit]]  # the key comes last and is left out
        return TenantPage(shown, rows[limit - 1][-1] if len(rows) > limit else None)

    def _query(self, order: TenantOrder, by_status: bool, searched: bool, continued: bool) -> sa.Select[Any]:
        """The statement of a page, built once for every shape: building it took a third of a page's time."""
        tenant = self._tenant
        # A uid sorts by the time it was made.
        key = tenant.c.slug_key if order in (TenantOrder.SLUG, TenantOrder.SLUG_DOWN) else tenant.c.uid
        down = order.value.startswith("-")
        query = sa.select(*(tenant.c[name] for name in SUMMARY), key.label("key"))
        if by_status:
            query = query.where(tenant.c.status == sa.bindparam("of_status"))
        if searched:
            wanted: sa.BindParameter[str] = sa.bindparam("wanted", type_=sa.Text)
            query = query.where(
                sa.or_(
                    tenant.c.slug_key.like(wanted, escape=ESCAPE),
                    sa.func.lower(tenant.c.name).like(wanted, escape=ESCAPE),
                )
            )
        if continued:
            query = query.where(key < sa.bindparam("after") if down else key > sa.bindparam("after"))
        return query.order_by(key.desc() if down else key.asc()).limit(sa.bindparam("at_most", type_=sa.Integer))

    def counts(self) -> dict[str, int]:
        """How many tenants have each status."""
        status = self._tenant.c.status
        query = sa.select(status, sa.func.count()).group_by(status)
        with self.transaction() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}


def _literal(text: str) -> str:
    for special in (ESCAPE, "%", "_"):
        text = text.replace(special, ESCAPE + special)
    return text
