"""``provision-tenant`` and ``tenant``: make tenants and look after them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from docex.cli.opening import operator
from docex.cli.output import Format, FormatOption, print_rows
from tenantry.cli import rollout_commands, say, tenant_commands
from tenantry.cli.output import print_json

if TYPE_CHECKING:
    from tenantry import Tenancy

COLUMNS = ("tenant_id", "status", "location", "revision", "error")

SNIPPET = """
Usage:
  from docex import DocEX
  from docex.context import UserContext

  user_context = UserContext(user_id="alice", tenant_id="{tenant_id}")
  docex = DocEX(user_context=user_context)
  basket = docex.create_basket("my_basket")
"""


def provision_tenant(
    tenant_id: Annotated[str, typer.Option(help="The tenant's id: A-Z, a-z, 0-9, '_' and '-'.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Try whether the tenant works, with a test basket that is taken back.")
    ] = False,
    enable_multi_tenancy: Annotated[
        bool, typer.Option("--enable-multi-tenancy", help="Switch multi-tenancy on in the configuration file first.")
    ] = False,
    if_not_exists: Annotated[
        bool, typer.Option("--if-not-exists", help="Succeed if the tenant is there already.")
    ] = False,
) -> None:
    """Provision (create) a tenant: its schema or file, all tables and indexes. Never asks, never removes anything.

    A tenant whose provisioning was interrupted is finished; one whose schema or file is gone gets an empty one. With
    --verify a tenant that is there already is only verified.

    Example: docex provision-tenant --tenant-id acme-corp --verify
    """
    from docex.config.docex_config import DocEXConfig
    from docex.provisioning.tenant_provisioner import Made, TenantBusyError, TenantExistsError, TenantProvisioner
    from docex.tenancy import check_tenant_id, tenancy_for

    config = DocEXConfig()
    if enable_multi_tenancy:
        # An id that is refused must leave the configuration as it was.
        enabled = config.preview(security={"multi_tenancy_model": "database_level"})
        check_tenant_id(tenancy_for(enabled), tenant_id)
        if config.enable_multi_tenancy():
            say(f"Multi-tenancy is enabled in {config.path}.")
    provisioner = TenantProvisioner(config)
    made: Made | None = None
    try:
        made = provisioner.provision(tenant_id, created_by=operator())
    except (TenantExistsError, TenantBusyError) as error:
        if not if_not_exists and not (verify and isinstance(error, TenantExistsError)):
            raise
        # Not every such error means that the tenant can be used: this one tells.
        provisioner.ensure(tenant_id, created_by=operator())
        say(str(error))
    if made is Made.FINISHED:
        say("An earlier provisioning of this tenant had stopped half-way; it is finished now.")
    if made is Made.REMADE:
        say("The tenant was registered, but its schema or file was gone; it has an empty one now.")
    if made is not None:
        print(f"✅ Tenant '{tenant_id}' provisioned successfully!")
        advice = provisioner.advice()
        if advice:
            say(f"Note: {advice}")
    if verify:
        verified = provisioner.verify(tenant_id)
        print(f"✅ Tenant verified! Test basket ID: {verified.test_basket_id} (removed again)")
        print(f"✅ Tenant has {verified.baskets} basket(s)")
    print(f"✅ Tenant '{tenant_id}' is ready to use!")
    if made is not None:
        print(SNIPPET.format(tenant_id=tenant_id))


def open_tenancy() -> Tenancy:
    from docex.tenancy import configured

    return configured()


# `list` has DocEX's own formats, and provisioning is `docex provision-tenant`.
app = tenant_commands(open_tenancy, omit=frozenset({"list", "provision"}))
rollouts = rollout_commands(open_tenancy)


@app.command("list")
def list_tenants(format: FormatOption = Format.TABLE) -> None:
    """List all tenants: id, status, schema or file, revision, and what stopped those that failed."""
    from docex.tenancy import configured, tenants

    rows = [
        {
            "tenant_id": tenant.slug,
            "name": tenant.name,
            "status": tenant.status.value,
            "location": tenant.location,
            "revision": tenant.revision,
            "failed_step": tenant.failed_step,
            "error": tenant.error,
            "created_at": tenant.created_at,
        }
        for tenant in tenants(configured())
    ]
    print_rows(rows, format, columns=COLUMNS, simple=("tenant_id", "name"))
    if not rows:
        say("No tenants found.")


class Isolation(StrEnum):
    """How tenants are kept apart; which one is possible is decided by the database."""

    SCHEMA = "schema"
    DATABASE = "database"


@app.command("create")
def create_tenant(
    tenant_id: Annotated[str, typer.Option(help="The tenant's id: A-Z, a-z, 0-9, '_' and '-'.")],
    display_name: Annotated[str, typer.Option(help="What people call it.")],
    created_by: Annotated[str, typer.Option(help="Who makes it, for the record.")] = "cli_user",
    isolation_strategy: Annotated[
        Isolation | None, typer.Option(help="Must fit the database: schema on PostgreSQL, database on SQLite.")
    ] = None,
) -> None:
    """Make a tenant with a name for people, and print its registry entry.

    Example: docex tenant create --tenant-id acme-corp --display-name "Acme Corporation"
    """
    from docex.provisioning import TenantProvisioner

    made = TenantProvisioner().create(
        tenant_id, display_name, created_by, isolation_strategy.value if isolation_strategy else None
    )
    print_json(made.to_dict())
    say(f"✅ Tenant '{tenant_id}' created")
