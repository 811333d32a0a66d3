"""The command ``docex``: provision tenants, look at baskets and documents.

Data and results go to stdout, talk and errors to stderr. 0 is success, 1 a refusal or failure told in one line, 2
wrong usage. Commands import what they need when they run, so that ``--help`` is quick.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import NoReturn

from docex.cli import baskets, documents, keeping, processing, routes, serving, setup, tenants
from docex.errors import DocexError, MultiTenancyDisabled
from tenantry.cli import add_doctor, group, say
from tenantry.errors import TenancyError, TenantError

__all__ = ["app", "main"]

logger = logging.getLogger(__name__)

app = group("Keep documents, every tenant's in a database of their own.")
app.command("init")(setup.init)
app.command("provision-tenant")(tenants.provision_tenant)
app.add_typer(tenants.app, name="tenant")
app.add_typer(tenants.rollouts, name="rollout")
add_doctor(app, tenants.open_tenancy)
app.add_typer(baskets.app, name="basket")
app.add_typer(documents.app, name="document")
app.add_typer(keeping.quota, name="quota")
app.command("stats")(keeping.stats)
app.command("fsck")(keeping.fsck)
app.command("audit")(keeping.audit)
app.add_typer(routes.app, name="route")
app.add_typer(processing.app, name="process")
app.command("work")(processing.work)
app.add_typer(serving.app, name="token")
app.command("serve")(serving.serve)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character must not turn a success into an error.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    _quiet_logs()
    try:
        app(args=None if arguments is None else list(arguments), prog_name="docex")
    except (DocexError, TenancyError) as error:
        logger.debug("command failed", exc_info=error)
        sys.stdout.flush()  # what was done before the failure is told before it
        say(f"❌ Error: {_in_docexs_words(error)}")
        if isinstance(error, MultiTenancyDisabled):
            say(
                "Enable it: docex provision-tenant --tenant-id ID --enable-multi-tenancy, "
                "or set security.multi_tenancy_model: database_level."
            )
        raise SystemExit(error.exit_code) from error
    raise SystemExit(0)


def _in_docexs_words(error: DocexError | TenancyError) -> str:
    """The sentence of an error; those of the engine's own commands about one tenant name DocEX's commands."""
    if isinstance(error, TenantError):
        from docex.tenancy import translated

        return str(translated(error, error.slug))
    return str(error)


def _quiet_logs() -> None:
    """Have DocEX's warnings told in a line each, and leave out the engine's: its errors are told once already."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("Warning: %(message)s"))
    handler.setLevel(logging.WARNING)
    logging.getLogger("docex").addHandler(handler)
    logging.getLogger("tenantry").addHandler(logging.NullHandler())
