"""Beak LIMS over HTTP: the platform's doors, with what the engine does not know, and the laboratories' beside them.

Built from the settings once a worker process, by ``beak-lims server run``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from beak_lims.api.app import Whole, lims_app
from beak_lims.inputs import parse_email, parse_laboratory_name, parse_name
from beak_lims.laboratories import add_laboratory
from beak_lims.models.organization import DEFAULT_SETUP_NAME
from beak_lims.modules import attributes_of, disable_module, enable_module, modules_in, modules_of
from beak_lims.settings import load_settings
from tenantry.http.app import Doors, platform_app
from tenantry.http.bodies import Incoming, NewTenant, TenantRow, TenantSummary, Text, tenant_of
from tenantry.http.calls import Asking, Change, Changing, Done, answered
from tenantry.http.platform import Provisioning, Summary
from tenantry.http.problems import declared
from tenantry.http.routes.tenants import Slug
from tenantry.iam.matrix import Action

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tenantry import Tenancy
    from tenantry.http.settings import HttpSettings
    from tenantry.tenant import Tenant


Industry = Literal[
    "clinical",
    "pharma",
    "environment",
    "industrial",
    "veterinary",
    "food_safety",
    "forensic",
    "research",
    "public_health",
]
Module = Literal["core"] | Industry


class NewOrganization(NewTenant):
    """An organisation to provision, with its first laboratory."""

    initial_lab_name: Text | None = Field(None, description="Default: `<name> Main Lab`")
    primary_industry: Industry | None = Field(None, description="Default: DEFAULT_PRIMARY_INDUSTRY, else clinical")
    enabled_modules: list[Module] = Field([], description="Those beside `core` and the industry's", max_length=20)


class OrganizationSummary(TenantSummary):
    """An organisation in a list."""

    primary_industry: Industry
    enabled_modules: list[Module]


class NewLaboratory(Incoming):
    """A laboratory to give an organisation."""

    name: Text
    setup_name: Annotated[Text, Field(description="The organisation, by its setup name")] = DEFAULT_SETUP_NAME


class LaboratoryRow(BaseModel):
    """A laboratory that is there now."""

    tenant_slug: str
    schema_name: str
    organization_uid: str
    laboratory_uid: str
    laboratory_name: str
    created: bool = Field(description="Whether this call made it")


class ModuleRows(BaseModel):
    """The modules of an organisation."""

    tenant_slug: str
    primary_industry: Industry
    enabled_modules: list[Module]


def app(tenancy: Tenancy, settings: HttpSettings | None = None) -> FastAPI:
    """The web application of one installation."""
    return platform_app(tenancy, extensions=[laboratories, modules], settings=settings, title="Beak LIMS platform")


def whole(tenancy: Tenancy, settings: HttpSettings | None = None) -> ASGIApp:
    """The platform's doors and the laboratories', counted together, and open to pages of the origins that are set."""
    platform, own = app(tenancy, settings), load_settings()
    observe, header = platform.state.platform.metrics.observe, own.tenant_header_name
    doors = Whole(platform, lims_app(tenancy, settings, observe=observe, header=header))
    # No credentials: a token is sent on purpose, a cookie there is none.
    return CORSMiddleware(
        doors,
        allow_origin_regex=own.cors_origin_regex,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "X-Laboratory-ID", "Idempotency-Key", "X-Request-ID", header],
        expose_headers=["X-Request-ID", "Link", "X-Next-Cursor", "Location", "Retry-After"],
    )


def served() -> ASGIApp:
    """The web application of a worker process that ``beak-lims server run`` began."""
    from beak_lims.tenancy import tenancy
    from tenantry.cli.serving import served_settings

    return whole(tenancy(), served_settings())


def laboratories(doors: Doors) -> None:
    """Add what the engine does not know: laboratories, and the first one of a new organisation."""
    doors.provisioning = Provisioning(NewOrganization, _details)
    doors.summary = Summary(OrganizationSummary, _modules)

    @doors.router.post(
        "/tenants/{slug}/laboratories",
        tags=["laboratories"],
        response_model=LaboratoryRow,
        responses=declared(401, 403, 404, 409, 504),
        summary="Give an organisation a laboratory; one of that name that is there is left as it is",
    )
    async def add(call: Changing, slug: Slug, body: NewLaboratory) -> Response:
        def work(_: object) -> Done:
            added = add_laboratory(call.platform.tenancy, slug, body.name, body.setup_name)
            return Done(asdict(added))

        details = {"laboratory": body.name[:255]}
        change = Change("laboratory.add", Action.ADD_LABORATORY, slug, recorded=False, details=details)
        return await call.change(change, work)


def modules(doors: Doors) -> None:
    """Add the switches of an organisation's modules."""

    @doors.router.get(
        "/tenants/{slug}/modules",
        tags=["modules"],
        response_model=ModuleRows,
        responses=declared(401, 403, 404),
        summary="Show which modules an organisation has",
    )
    async def list_modules(call: Asking, slug: Slug) -> Response:
        def work(_: object) -> dict[str, Any]:
            return asdict(modules_of(call.platform.tenancy.get(slug)))

        return answered(await call.read(Action.LIST_TENANTS, work))

    @doors.router.post(
        "/tenants/{slug}/modules/{module}:enable",
        tags=["modules"],
        response_model=TenantRow,
        responses=declared(401, 403, 404, 409, 504),
        summary="Switch a module of an organisation on",
    )
    async def switch_module_on(call: Changing, slug: Slug, module: Module) -> Response:
        return await switched(call, slug, module, "module.enable", enable_module)

    @doors.router.post(
        "/tenants/{slug}/modules/{module}:disable",
        tags=["modules"],
        response_model=TenantRow,
        responses=declared(401, 403, 404, 409, 504),
        summary="Switch a module of an organisation off; nothing that was stored goes",
    )
    async def switch_module_off(call: Changing, slug: Slug, module: Module) -> Response:
        return await switched(call, slug, module, "module.disable", disable_module)

    async def switched(
        call: Changing, slug: str, module: str, name: str, switch: Callable[[Tenancy, str, str], Tenant]
    ) -> Response:
        def work(_: object) -> Done:
            return Done(tenant_of(switch(call.platform.tenancy, slug, module)))

        return await call.change(Change(name, Action.MODULES, slug, details={"module": module}), work)


def _modules(slug: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    found = modules_in(slug, attributes)
    return {"primary_industry": found.primary_industry, "enabled_modules": found.enabled_modules}


def _details(body: NewOrganization) -> dict[str, Any]:
    """:raises InputRejected: a value cannot be used."""
    name = parse_name("Name", body.name)
    industry = load_settings().default_primary_industry
    return {
        "attributes": attributes_of(body.primary_industry, body.enabled_modules, default=industry),
        "name": name,
        "admin_email": None if body.admin_email is None else parse_email(body.admin_email),
        "options": {"initial_lab_name": parse_laboratory_name(body.initial_lab_name, organization=name)},
    }
