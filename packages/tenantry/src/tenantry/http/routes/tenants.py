"""The doors to tenants: list, show, provision, migrate, activate, clean up.

Each parses, asks the tenancy in a thread and answers; what may follow what is decided there.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from tenantry.http.bodies import (
    MAX_TEXT,
    ActivatedTenant,
    NewTenant,
    ProvisionedTenant,
    TenantDetails,
    TenantRow,
    TenantSummary,
    operation_of,
    summary_of,
    tenant_of,
)
from tenantry.http.calls import Asking, Change, Changing, Done, answered
from tenantry.http.errors import ValueRejected
from tenantry.http.paging import DEFAULT_LIMIT, NEXT_HEADERS, Cursor, Limit, Pages
from tenantry.http.platform import Provisioning, Summary
from tenantry.http.problems import declared
from tenantry.iam.matrix import Action
from tenantry.registry.listing import TenantOrder, TenantPage
from tenantry.tenant import TenantStatus

Slug = Annotated[str, Path(max_length=MAX_TEXT, description="The tenant's slug")]

CREATED = {"headers": {"Location": {"description": "The new tenant", "schema": {"type": "string"}}}}


class StatusChoice(StrEnum):
    """Which tenants to list: those of one status, or all."""

    ALL = "all"
    ACTIVE = "active"
    PROVISIONING = "provisioning"
    FAILED = "failed"
    SUSPENDED = "suspended"
    ARCHIVED = "archived"
    DELETING = "deleting"


def plain_provisioning() -> Provisioning:
    """What ``POST /tenants`` takes when the application adds nothing."""

    def details(body: NewTenant) -> dict[str, Any]:
        return {"name": body.name, "admin_email": body.admin_email}

    return Provisioning(NewTenant, details)


def plain_summary() -> Summary:
    """What ``GET /tenants`` tells when the application adds nothing."""
    return Summary(TenantSummary, lambda slug, attributes: {})


def tenant_routes(provisioning: Provisioning, summary: Summary) -> APIRouter:
    """The doors, with the body that this application's provisioning takes, and what it tells of a tenant in a list."""
    router = APIRouter(tags=["tenants"])

    @router.get(
        "/tenants",
        response_model=list[summary.body],  # type: ignore[name-defined]  # a class that was made
        responses=declared(401, 403) | {200: {"headers": NEXT_HEADERS}},
        summary="List tenants",
    )
    async def list_tenants(
        call: Asking,
        request: Request,
        status: Annotated[StatusChoice, Query(description="Which tenants")] = StatusChoice.ALL,
        search: Annotated[
            str | None, Query(max_length=100, description="Only those whose slug or name holds this text")
        ] = None,
        order: Annotated[TenantOrder, Query(description="`-` turns it around")] = TenantOrder.SLUG,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response:
        wanted = None if status is StatusChoice.ALL else TenantStatus(status.value)
        printable("search", search)
        pages = Pages(_path(request), status=status.value, search=search, order=order.value)
        after = pages.read(cursor)

        def work(_: object) -> TenantPage:
            return call.platform.listing.page(status=wanted, search=search, order=order, after=after, limit=limit)

        page = await call.read(Action.LIST_TENANTS, work)
        told = [summary_of(row, summary.details) for row in page.rows]
        return answered(told, headers=pages.headers(page.next, limit))

    async def provision(call: Changing, request: Request, body: Any) -> Response:
        slug: str = body.slug

        def work(_: object) -> Done:
            made = call.platform.tenancy.provision(slug, **provisioning.details(body))
            location = f"{_path(request)}/{made.tenant.slug}"
            return Done(tenant_of(made.tenant, receipts=dict(made.receipts)), 201, {"Location": location})

        return await call.change(Change("tenant.provision", Action.PROVISION, slug), work)

    provision.__annotations__["body"] = provisioning.body  # known only here, where FastAPI reads it
    router.post(
        "/tenants",
        status_code=201,
        response_model=ProvisionedTenant,
        responses=declared(401, 403, 409, 504) | {201: CREATED},
        summary="Provision a tenant, ready to use",
    )(provision)

    # Before /tenants/{slug}: `failed` is what is removed, no slug.
    @router.delete(
        "/tenants/failed",
        response_model=list[TenantRow],
        responses=declared(401, 403, 404, 409, 504),
        summary="Remove failed tenants, one or all",
    )
    async def clean_up(
        call: Changing,
        slug: Annotated[str | None, Query(max_length=MAX_TEXT, description="One failed tenant. Default: all")] = None,
        drop_schema: Annotated[bool, Query(description="Whether what was stored goes too")] = True,
    ) -> Response:
        def work(_: object) -> Done:
            removed = call.platform.tenancy.cleanup(slug, drop=drop_schema)
            return Done([tenant_of(tenant) for tenant in removed])

        change = Change("tenant.cleanup", Action.CLEANUP, slug, details={"drop": drop_schema})
        return await call.change(change, work)

    @router.get(
        "/tenants/{slug}",
        response_model=TenantDetails,
        responses=declared(401, 403, 404),
        summary="Show a tenant and its journal",
    )
    async def show(call: Asking, slug: Slug) -> Response:
        def work(_: object) -> dict[str, Any]:
            tenant = call.platform.tenancy.get(slug)
            operations = call.platform.tenancy.operations(slug)
            return tenant_of(tenant, operations=[operation_of(operation) for operation in operations])

        return answered(await call.read(Action.READ_TENANT, work))

    @router.post(
        "/tenants/{slug}/migrate",
        response_model=ProvisionedTenant,
        responses=declared(401, 403, 404, 409, 504),
        summary="Bring a tenant to the newest revision; finish one that failed or was interrupted",
    )
    async def migrate(call: Changing, slug: Slug) -> Response:
        def work(_: object) -> Done:
            done = call.platform.tenancy.migrate(slug)
            return Done(tenant_of(done.tenant, receipts=dict(done.receipts)))

        return await call.change(Change("tenant.migrate", Action.MIGRATE, slug), work)

    @router.post(
        "/tenants/{slug}/activate",
        response_model=ActivatedTenant,
        responses=declared(401, 403, 404, 409, 504),
        summary="Serve a tenant, if it is ready",
    )
    async def activate(
        call: Changing,
        slug: Slug,
        force: Annotated[bool, Query(description="Do not look whether it is ready")] = False,
    ) -> Response:
        def work(_: object) -> Done:
            done = call.platform.tenancy.activate(slug, force=force)
            return Done(tenant_of(done.tenant, skipped=list(done.skipped)))

        change = Change("tenant.activate", Action.ACTIVATE, slug, details={"force": force})
        return await call.change(change, work)

    return router


def printable(name: str, text: str | None) -> None:
    """:raises ValueRejected: a database cannot compare with this text."""
    if text is not None and not text.isprintable():
        raise ValueRejected(name, "it holds characters that cannot be printed.")


def _path(request: Request) -> str:
    """The path as the caller wrote it, whatever the application is mounted under."""
    return str(request.scope["path"])
