"""Commands for any application that declares a :class:`tenantry.Tenancy`.

An application mounts ``tenant_commands``, ``rollout_commands``, ``database_commands``, ``platform_commands`` and
``audit_commands`` on its own Typer app and hands that to ``run``. Data goes to stdout, talk and errors to stderr; 0 is
success, 1 a refusal or failure that is told in one line, 2 wrong usage. Nothing here opens a database or imports
SQLAlchemy before a command does its work, so ``--help`` is quick.
"""

from tenantry.cli.database import database_commands
from tenantry.cli.fleet import rollout_commands
from tenantry.cli.health import add_doctor
from tenantry.cli.output import Column, Listing, print_provisioned, say
from tenantry.cli.platform import platform_commands
from tenantry.cli.running import group, opened, run
from tenantry.cli.tenants import tenant_commands
from tenantry.cli.trail import audit_commands

__all__ = [
    "Column",
    "Listing",
    "add_doctor",
    "audit_commands",
    "database_commands",
    "group",
    "opened",
    "platform_commands",
    "print_provisioned",
    "rollout_commands",
    "run",
    "say",
    "tenant_commands",
]
