"""The doors to the audit trail: pages of it, newest first, and the whole of it as a stream of JSON Lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from itertools import islice
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from tenantry.http.bodies import MAX_TEXT, AuditRow
from tenantry.http.calls import Asking, Call, answered
from tenantry.http.errors import CursorRejected
from tenantry.http.paging import DEFAULT_LIMIT, NEXT_HEADERS, Cursor, Limit, Pages
from tenantry.http.problems import declared
from tenantry.http.routes.tenants import printable
from tenantry.iam.matrix import Action
from tenantry.registry.audit import AuditEntry

CHUNK = 500  # lines that are read in one go
JSON_LINES = "application/x-ndjson"

SlugFilter = Annotated[str | None, Query(max_length=MAX_TEXT, description="Only those about this tenant")]
ActionFilter = Annotated[str | None, Query(max_length=64, description="Only this action, such as tenant.provision")]


def audit_routes() -> APIRouter:
    """The doors."""
    router = APIRouter(tags=["audit"])

    @router.get(
        "/audit",
        response_model=list[AuditRow],
        responses=declared(401, 403) | {200: {"headers": NEXT_HEADERS}},
        summary="Read the audit trail, newest first",
    )
    async def read(
        call: Asking,
        request: Request,
        slug: SlugFilter = None,
        action: ActionFilter = None,
        actor: Annotated[str | None, Query(max_length=MAX_TEXT, description="Only what this one did")] = None,
        outcome: Annotated[Literal["done", "failed", "refused"] | None, Query()] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response:
        for name, text in (("slug", slug), ("action", action), ("actor", actor)):
            printable(name, text)
        pages = Pages(request.scope["path"], slug=slug, action=action, actor=actor, outcome=outcome)
        before = _sequence(pages.read(cursor))

        def work(_: object) -> list[AuditEntry]:
            registry = call.platform.tenancy.registry
            found = registry.audit_entries(
                slug, action=action, actor=actor, outcome=outcome, before=before, limit=limit + 1
            )
            return list(found)

        found = await call.read(Action.AUDIT, work)
        shown = found[:limit]
        following = str(shown[-1].sequence) if len(found) > limit else None
        return answered([asdict(entry) for entry in shown], headers=pages.headers(following, limit))

    @router.get(
        "/audit/export",
        response_class=Response,
        responses=declared(401, 403)
        | {200: {"description": "A JSON object a line, oldest first", "content": {JSON_LINES: {}}}},
        summary="Stream the whole audit trail as JSON Lines",
    )
    async def export(
        call: Asking,
        slug: SlugFilter = None,
        action: ActionFilter = None,
        after: Annotated[int, Query(ge=0, le=2**62, description="Only lines with a higher number than this one")] = 0,
    ) -> Response:
        for name, text in (("slug", slug), ("action", action)):
            printable(name, text)

        def work(_: object) -> Iterator[str]:
            return call.platform.tenancy.registry.export_audit(slug, action=action, after=after)

        lines = await call.read(Action.AUDIT, work)
        first = await _chunk(call, lines)  # before the answer begins, so that an error still becomes a problem
        return StreamingResponse(_stream(call, first, lines), media_type=JSON_LINES)

    return router


async def _chunk(call: Call, lines: Iterator[str]) -> bytes:
    """The next lines, read in a lane with room for few: whoever reads slowly holds no connection meanwhile."""
    return await call.platform.exports.run(lambda: "".join(islice(lines, CHUNK)).encode())


async def _stream(call: Call, first: bytes, lines: Iterator[str]) -> AsyncIterator[bytes]:
    chunk = first
    while chunk:
        yield chunk
        chunk = await _chunk(call, lines)


def _sequence(key: str | None) -> int | None:
    if key is None:
        return None
    if not (key.isascii() and key.isdigit() and len(key) <= 18):
        raise CursorRejected()
    return int(key)
