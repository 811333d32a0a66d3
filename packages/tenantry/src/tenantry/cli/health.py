"""``doctor`` and ``tenant drift``: what is wrong, and the command that mends it.

Exit code 0 means that nothing was found, 1 that something was. ``doctor`` only reads; ``drift`` changes tenants only
with ``--repair``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tenantry.cli.output import one_line, print_json, say
from tenantry.cli.running import opened

if TYPE_CHECKING:
    from tenantry.fleet.drift import DriftClass, DriftReport
    from tenantry.tenancy import Tenancy

SHOWN = 5  # tenants of a class that are named
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_doctor(app: typer.Typer, open_tenancy: Callable[[], Tenancy]) -> None:
    """Add ``doctor`` to an application's command line."""

    @app.command()
    def doctor(as_json: JsonOption = False) -> None:
        """Compare the registry with what is there, and name what will hurt. Changes nothing."""
        with opened(open_tenancy) as tenancy:
            findings = tenancy.fleet.doctor()
        if as_json:
            print_json([asdict(finding) for finding in findings])
        for finding in findings if not as_json else ():
            print(f"{finding.kind}\t{one_line(finding.subject)}\t{one_line(finding.text)}")
            print(f"\tmend: {one_line(finding.mend)}")
        if findings:
            say(f"{len(findings)} finding{'' if len(findings) == 1 else 's'}.")
            raise typer.Exit(1)
        say("Nothing found.")


def add_drift(command: Callable[[Callable[..., None]], None], open_tenancy: Callable[[], Tenancy]) -> None:
    """Add ``tenant drift``; ``command`` registers one."""

    @command
    def drift(
        slug: Annotated[str | None, typer.Argument(help="The tenant's slug.", show_default=False)] = None,
        all_tenants: Annotated[bool, typer.Option("--all", help="Every active and suspended tenant.")] = False,
        repair: Annotated[str | None, typer.Option(metavar="CLASS", help="Repair this class of drift.")] = None,
        drop: Annotated[bool, typer.Option("--drop", help="Also where the repair drops rows.")] = False,
        as_json: JsonOption = False,
    ) -> None:
        """Compare tenants with the baseline of their revision; equal differences are one class."""
        if (slug is None) is not all_tenants:
            raise typer.BadParameter("name a tenant, or give --all")
        with opened(open_tenancy) as tenancy:
            if repair is None:
                report = tenancy.fleet.drifts.report(slug)
                failed = bool(report.classes or report.unread)
            else:
                outcomes = tenancy.fleet.drifts.repair(repair, slug=slug, lose_rows=drop)
                failed = any(outcome.error for outcome in outcomes)
        if repair is not None:
            for outcome in outcomes:
                if outcome.error is None:
                    print(f"Repaired tenant: {outcome.slug}")
                else:
                    say(f"error: {outcome.slug}: {outcome.error}")
        elif as_json:
            print_json(_told(report))
        else:
            _print(report)
        if failed:
            raise typer.Exit(1)


def _print(report: DriftReport) -> None:
    for drift in report.classes:
        shown = ", ".join(drift.tenants[:SHOWN])
        more = f" and {len(drift.tenants) - SHOWN} more" if len(drift.tenants) > SHOWN else ""
        print(f"{drift.key}  {_tenants(len(drift.tenants))} at {drift.revision or 'base'}: {shown}{more}")
        for difference in drift.differences:
            print(f"  {one_line(str(difference))}")
        if drift.repair is None:
            print("  repair: by hand, or by a revision")
        else:
            for statement in drift.repair:
                print(f"  repair: {one_line(statement)};")
    for slug, error in report.unread.items():
        say(f"error: {slug}: {error}")
    differ = sum(len(drift.tenants) for drift in report.classes)
    say(f"{_tenants(report.checked)} compared, {differ} {'differs' if differ == 1 else 'differ'}.")


def _tenants(count: int) -> str:
    return f"{count} tenant{'' if count == 1 else 's'}"


def _told(report: DriftReport) -> dict[str, Any]:
    return {"checked": report.checked, "unread": report.unread, "classes": [_class(drift) for drift in report.classes]}


def _class(drift: DriftClass) -> dict[str, Any]:
    return {
        "class": drift.key,
        "revision": drift.revision,
        "tenants": list(drift.tenants),
        "differences": [str(difference) for difference in drift.differences],
        "repair": None if drift.repair is None else list(drift.repair),
        "loses_rows": drift.loses_rows,
    }
