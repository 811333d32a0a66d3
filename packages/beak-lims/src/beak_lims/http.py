"""Beak LIMS over HTTP: the platform's doors, with what the engine does not know, and the laboratories' beside them.

Built from the settings once a worker process, by ``beak-lims server run``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.responses import Response

from beak_lims.api.app import Whole, lims_app
from beak_lims.inputs import parse_email, parse_laboratory_name, parse_name
from beak_lims.laboratories import add_laboratory
from beak_lims.models.organization import DEFAULT_SETUP_NAME
from tenantry.http.app import Doors, platform_app
from tenantry.http.bodies import Incoming, NewTenant, Text
from tenantry.http.calls import Change, Changing, Done
from tenantry.http.platform import Provisioning
from tenantry.http.problems import declared
from tenantry.http.routes.tenants import Slug
from tenantry.iam.matrix import Action

if TYPE_CHECKING:
    from tenantry import Tenancy
    from tenantry.http.settings import HttpSettings


class NewOrganization(NewTenant):
    """An organisation to provision, with its first laboratory."""

    initial_lab_name: Text | None = Field(None, description="Default: `<name> Main Lab`")


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


def app(tenancy: Tenancy, settings: HttpSettings | None = None) -> FastAPI:
    """The web application of one installation."""
    return platform_app(tenancy, extensions=[laboratories], settings=settings, title="Beak LIMS platform")


def whole(tenancy: Tenancy, settings: HttpSettings | None = None) -> Whole:
    """The platform's doors and the laboratories', counted together."""
    platform = app(tenancy, settings)
    return Whole(platform, lims_app(tenancy, settings, observe=platform.state.platform.metrics.observe))


def served() -> Whole:
    """The web application of a worker process that ``beak-lims server run`` began."""
    from beak_lims.tenancy import tenancy
    from tenantry.cli.serving import served_settings

    return whole(tenancy(), served_settings())


def laboratories(doors: Doors) -> None:
    """Add what the engine does not know: laboratories, and the first one of a new organisation."""
    doors.provisioning = Provisioning(NewOrganization, _details)

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


def _details(body: NewOrganization) -> dict[str, Any]:
    """:raises InputRejected: a value cannot be used."""
    name = parse_name("Name", body.name)
    return {
        "name": name,
        "admin_email": None if body.admin_email is None else parse_email(body.admin_email),
        "options": {"initial_lab_name": parse_laboratory_name(body.initial_lab_name, organization=name)},
    }
