"""``audit``: prove that the audit trail is whole, and write it out.

Reads only. The trail's head, which ``verify`` prints, belongs somewhere that those who can write to the database cannot
reach: given back with ``--anchor`` it proves that nothing up to there was written anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from tenantry.cli.output import print_json, say
from tenantry.cli.running import group, opened

if TYPE_CHECKING:
    from tenantry.registry.audit import AuditHead
    from tenantry.tenancy import Tenancy


def audit_commands(open_tenancy: Callable[[], Tenancy]) -> typer.Typer:
    """Build the ``audit`` group of an application."""
    app = group("Verify and export the audit trail.")

    @app.command()
    def verify(
        anchor: Annotated[
            str | None, typer.Option(metavar="ROW:HASH", help="A head that was noted before: its row must stand there.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """Find changed, missing and swapped rows. Exit code 1 if there are any."""
        noted = None if anchor is None else _head(anchor)
        with opened(open_tenancy) as tenancy:
            report = tenancy.registry.check_audit(anchor=noted)
        if as_json:
            faults = [vars(fault) for fault in report.faults]
            print_json({"rows": report.rows, "head": str(report.head), "faults": faults})
        else:
            for fault in report.faults:
                print(fault.message)
            print(f"Head: {report.head}")
            rows = f"{report.rows} row{'' if report.rows == 1 else 's'}"
            say(
                f"The audit trail is NOT whole ({rows} read)."
                if report.faults
                else f"The audit trail is whole: {rows}."
            )
        if report.faults:
            raise typer.Exit(1)

    @app.command()
    def export(
        slug: Annotated[str | None, typer.Option(help="Only what was done to this tenant.")] = None,
        action: Annotated[str | None, typer.Option(help="Only this action, such as tenant.provision.")] = None,
        after: Annotated[int, typer.Option(min=0, help="Only rows after this number.")] = 0,
    ) -> None:
        """Print the audit trail as JSON Lines, oldest first."""
        with opened(open_tenancy) as tenancy:
            for line in tenancy.registry.export_audit(slug, action=action, after=after):
                sys.stdout.write(line)

    return app


def _head(text: str) -> AuditHead:
    from tenantry.registry.audit import AuditHead

    found = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", text.strip())
    if found is None:
        raise typer.BadParameter("--anchor takes ROW:HASH, as `audit verify` prints it after `Head:`.")
    return AuditHead(int(found[1]), found[2])
