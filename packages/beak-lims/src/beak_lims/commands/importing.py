"""``import``: clients, patients and requests from CSV files, into one laboratory of one tenant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tenantry.cli import group, opened, say

if TYPE_CHECKING:
    from tenantry import Tenancy

FileArgument = Annotated[Path, typer.Argument(help="UTF-8, with a header line.")]
SlugOption = Annotated[str, typer.Option("--tenant-slug", help="The tenant.")]
LabOption = Annotated[str, typer.Option("--lab", help="The laboratory, by its name.")]
PartialOption = Annotated[bool, typer.Option("--partial", help="Import the good rows of a file that has bad ones.")]


def import_commands(open_tenancy: Callable[[], Tenancy]) -> typer.Typer:
    """The group of commands."""
    commands = group("Import clients, patients and requests from CSV files.")

    @commands.callback()
    def imports() -> None:
        """Import clients, patients and requests from CSV files."""

    @commands.command()
    def clients(file: FileArgument, tenant_slug: SlugOption, lab: LabOption, partial: PartialOption = False) -> None:
        """Import requesting facilities; their codes are their keys."""
        _import(open_tenancy, "clients", file, tenant_slug, lab, partial=partial)

    @commands.command()
    def patients(file: FileArgument, tenant_slug: SlugOption, lab: LabOption, partial: PartialOption = False) -> None:
        """Import patients; their clients are named by code."""
        _import(open_tenancy, "patients", file, tenant_slug, lab, partial=partial)

    @commands.command()
    def requests(file: FileArgument, tenant_slug: SlugOption, lab: LabOption, partial: PartialOption = False) -> None:
        """Import requests, a sample a line; lines of one client_request_id are one request."""
        _import(open_tenancy, "requests", file, tenant_slug, lab, partial=partial)

    return commands


def _import(
    open_tenancy: Callable[[], Tenancy], what: str, file: Path, slug: str, laboratory: str, *, partial: bool
) -> None:
    """:raises typer.Exit: rows were refused."""
    from sqlalchemy import select

    from beak_lims.api.importing import Imported, import_csv
    from beak_lims.context import LabContext, bind
    from beak_lims.errors import RecordNotFound
    from beak_lims.models import Laboratory
    from tenantry.stores.faults import faults

    with faults(str(file)):
        content = file.read_bytes()
    with opened(open_tenancy) as tenancy:
        location = tenancy.store.describe(tenancy.get(slug).location)
        with faults(location), tenancy.session(slug) as session:
            uid = session.scalar(select(Laboratory.uid).where(Laboratory.name == laboratory))
            if uid is None:
                raise RecordNotFound("laboratory", laboratory)
            context = LabContext(slug, user_name="import", laboratory_uid=uid)
            bind(session, context)
            report = import_csv(session, context, Imported(what), content, partial=partial)
    for row in report.rows:
        told = (str(row.line), row.outcome.value, row.number or "", row.reason or "")
        typer.echo("\t".join(told).rstrip("\t"))
    say(f"{report.imported} imported, {report.refused} refused.")
    if report.refused:
        raise typer.Exit(1)
