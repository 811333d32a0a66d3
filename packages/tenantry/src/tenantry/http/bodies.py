"""What the routes take and answer, as OpenAPI shows it.

Bodies that come in are strict: a field that is not known is refused, so a misspelt one is not passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tenantry.registry.journal import Operation
from tenantry.tenant import Tenant

MAX_TEXT = 1000  # characters of a text that comes in; the rules for what it means are stricter

Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
Status = Literal["provisioning", "active", "failed", "suspended", "archived", "deleting"]


class Incoming(BaseModel):
    """Base of the bodies that come in."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class NewTenant(Incoming):
    """A tenant to provision."""

    name: Text = Field(description="What people call it")
    slug: Text = Field(description="Its short name, which also names its schema", examples=["ultral12"])
    admin_email: Text | None = Field(None, description="Who looks after it")


class TenantSummary(BaseModel):
    """A tenant in a list."""

    uid: str
    name: str
    slug: str
    schema_name: str
    status: Status
    revision: str | None
    failed_step: str | None
    error: str | None
    created_at: datetime
    updated_at: datetime


class TenantRow(TenantSummary):
    """A tenant as the registry holds it."""

    admin_email: str | None
    provisioned_at: datetime | None
    attributes: dict[str, Any]


class ProvisionedTenant(TenantRow):
    """A tenant that was made or finished, and what is told only once."""

    receipts: dict[str, str] = Field(description="Such as a one-time password. It is stored nowhere")


class ActivatedTenant(TenantRow):
    """A tenant that was made active."""

    skipped: list[str] = Field(description="The checks that `force` left out")


class Step(BaseModel):
    """One step of an operation."""

    name: str
    status: str
    seconds: float
    error: str | None


class OperationRow(BaseModel):
    """One operation of a tenant's journal."""

    uid: str
    kind: str
    status: str
    actor: str
    origin: str
    started_at: datetime
    finished_at: datetime | None
    error: str | None
    steps: list[Step]


class TenantDetails(TenantRow):
    """A tenant with its journal, newest first."""

    operations: list[OperationRow]


class AuditRow(BaseModel):
    """One line of the audit trail."""

    sequence: int
    at: datetime
    actor: str
    origin: str
    action: str
    slug: str | None
    outcome: Literal["done", "failed", "refused"]
    details: dict[str, Any]
    previous: str = Field(description="The hash of the line before")
    hash: str


class Health(BaseModel):
    """That the server is well."""

    status: Literal["ok"] = "ok"


Details = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]  # of a slug, and of a tenant's attributes


def summary_of(row: Mapping[str, Any], details: Details) -> dict[str, Any]:
    """The body of a tenant in a list, with what the application adds."""
    body = dict(row)
    body["schema_name"], attributes = body.pop("location"), body.pop("attributes")
    return {**body, **details(body["slug"], attributes)}


def tenant_of(tenant: Tenant, **more: Any) -> dict[str, Any]:
    """The body of a tenant."""
    return {
        "uid": tenant.uid,
        "name": tenant.name,
        "slug": tenant.slug,
        "schema_name": tenant.location,
        "status": tenant.status.value,
        "revision": tenant.revision,
        "failed_step": tenant.failed_step,
        "error": tenant.error,
        "created_at": tenant.created_at,
        "updated_at": tenant.updated_at,
        "admin_email": tenant.admin_email,
        "provisioned_at": tenant.provisioned_at,
        "attributes": dict(tenant.attributes),
        **more,
    }


def operation_of(operation: Operation) -> dict[str, Any]:
    """The body of an operation. Its options stay inside: they may hold what is the application's own."""
    return {
        "uid": operation.uid,
        "kind": operation.kind,
        "status": operation.status,
        "actor": operation.actor,
        "origin": operation.origin,
        "started_at": operation.started_at,
        "finished_at": operation.finished_at,
        "error": operation.error,
        "steps": [
            {"name": step.name, "status": step.status, "seconds": step.seconds, "error": step.error}
            for step in operation.steps
        ],
    }
