"""``tenant``: provision, list, show, migrate, activate, save, retire and clean up the tenants of an application.

Each command parses, calls the tenancy and prints; what may follow what is decided there. An application leaves out, by
``omit``, the commands it replaces with its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tenantry.cli.archive import add_archive_commands
from tenantry.cli.fleet import add_migrate
from tenantry.cli.health import add_drift
from tenantry.cli.output import Column, Listing, one_line, print_json, print_provisioned, say
from tenantry.cli.running import group, opened
from tenantry.tenant import Tenant, TenantStatus

if TYPE_CHECKING:
    from tenantry.registry.journal import StepRecord
    from tenantry.tenancy import Tenancy


class StatusChoice(StrEnum):
    """Which tenants to list: those of one status, or all."""

    ACTIVE = "active"
    PROVISIONING = "provisioning"
    FAILED = "failed"
    SUSPENDED = "suspended"
    ARCHIVED = "archived"
    DELETING = "deleting"
    ALL = "all"


SlugOption = Annotated[str, typer.Option("--slug", help="The tenant's slug.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

TENANTS: Listing[Tenant] = Listing(
    columns=[
        Column("Slug", lambda t: t.slug, "bold"),
        Column("Location", lambda t: t.location),
        Column("Status", lambda t: t.status.value),
        Column("Revision", lambda t: t.revision or "-"),
        Column("Failed step", lambda t: t.failed_step if t.status is TenantStatus.FAILED else None),
        Column("Error", lambda t: t.error if t.status is TenantStatus.FAILED else None, "red"),
    ],
    record=lambda tenant: tenant_record(tenant),
)


def tenant_record(tenant: Tenant) -> dict[str, Any]:
    """A tenant as a JSON object."""
    return asdict(tenant) | {"attributes": dict(tenant.attributes)}


def tenant_commands(open_tenancy: Callable[[], Tenancy], *, omit: frozenset[str] = frozenset()) -> typer.Typer:
    """Build the ``tenant`` group of an application, without the commands named in ``omit``."""
    app = group("Provision and look after tenants.")

    def command(function: Callable[..., None]) -> None:
        if function.__name__ not in omit:
            app.command()(function)

    @command
    def provision(
        slug: SlugOption,
        name: Annotated[str | None, typer.Option(help="What people call the tenant. Default: its slug.")] = None,
        admin_email: Annotated[str | None, typer.Option(help="Who looks after the tenant.")] = None,
    ) -> None:
        """Make a new tenant, ready to use."""
        with opened(open_tenancy) as tenancy:
            print_provisioned(tenancy.provision(slug, name=name, admin_email=admin_email))

    @command
    def list(
        status: Annotated[StatusChoice, typer.Option(help="Which tenants.")] = StatusChoice.ACTIVE,
        as_json: JsonOption = False,
    ) -> None:
        """List tenants: slug, location, status, revision, and what stopped those that failed."""
        with opened(open_tenancy) as tenancy:
            tenants = tenancy.list(None if status is StatusChoice.ALL else TenantStatus(status.value))
        if tenants or as_json:
            TENANTS.print(tenants, as_json=as_json)
        else:
            say("No tenants found." if status is StatusChoice.ALL else f"No {status.value} tenants found.")

    @command
    def show(slug: SlugOption, as_json: JsonOption = False) -> None:
        """Show one tenant and the journal of what was done to it."""
        with opened(open_tenancy) as tenancy:
            tenant = tenancy.get(slug)
            operations = tenancy.operations(slug)
        if as_json:
            print_json(tenant_record(tenant) | {"operations": [asdict(operation) for operation in operations]})
            return
        for field, value in tenant_record(tenant).items():
            if value not in (None, {}):
                print(f"{field}: {one_line(str(value))}")
        for operation in operations:
            said = f": {one_line(operation.error)}" if operation.error else ""
            print(f"{operation.started_at:%Y-%m-%d %H:%M:%S} {operation.kind} {operation.status}{said}")
            for step in operation.steps:
                print(f"  {_step_line(step)}")

    add_migrate(command, open_tenancy)

    @command
    def activate(
        slug: SlugOption,
        force: Annotated[bool, typer.Option("--force", help="Do not look whether the tenant is ready.")] = False,
    ) -> None:
        """Serve a tenant, if it is ready."""
        with opened(open_tenancy) as tenancy:
            activation = tenancy.activate(slug, force=force)
        print(f"Activated tenant: {activation.tenant.slug} -> {activation.tenant.location}")
        for check in activation.skipped:
            say(f"Skipped check: {check}")

    @command
    def cleanup(
        slug: Annotated[str | None, typer.Option(help="One failed tenant. Default: all that failed.")] = None,
        drop_schema: Annotated[
            bool, typer.Option("--drop-schema/--keep-schema", help="Whether what was stored goes too.")
        ] = True,
    ) -> None:
        """Remove failed tenants. Tenants of any other status are never touched."""
        with opened(open_tenancy) as tenancy:
            removed = tenancy.cleanup(slug, drop=drop_schema)
        if not removed:
            print("No failed tenants found.")
        for tenant in removed:
            print(f"Removed failed tenant: {tenant.slug} -> {tenant.location} ({'dropped' if drop_schema else 'kept'})")

    add_archive_commands(command, open_tenancy)
    add_drift(command, open_tenancy)
    return app


def _step_line(step: StepRecord) -> str:
    failed = f" {step.status}: {one_line(step.error or '')}" if step.status != "done" else ""
    return f"{step.name} {step.seconds:.3f} s{failed}"
