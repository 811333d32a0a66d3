"""``stats``, ``quota``, ``fsck`` and ``audit``: what a tenant holds, may hold, and whether it is whole."""

from __future__ import annotations

from typing import Annotated

import typer

from docex.cli.opening import LimitOption, TenantOption, opened
from docex.cli.output import Format, FormatOption, print_fields, print_rows
from tenantry.cli import group, say

AUDIT_COLUMNS = ("happened_at", "action", "user_id", "basket_id", "document_id", "details")

quota = group("Show and set how much a tenant may hold.")


def stats(tenant_id: TenantOption = None, format: FormatOption = Format.TABLE) -> None:
    """Show how many baskets, documents and bytes a tenant holds, and how many it may hold."""
    docex = opened(tenant_id)
    usage = docex.get_usage()
    baskets = len(docex.list_baskets_with_metadata(["id"]))
    fields = {"tenant_id": tenant_id, "baskets": baskets, **vars(usage)}
    print_fields(fields, format, simple=("documents", "bytes"))


@quota.command("show")
def show_quota(tenant_id: TenantOption = None, format: FormatOption = Format.TABLE) -> None:
    """Show what a tenant holds and may hold."""
    usage = opened(tenant_id).get_usage()
    print_fields(vars(usage), format, simple=("max_documents", "max_bytes"))


@quota.command("set")
def set_quota(
    tenant_id: TenantOption = None,
    max_documents: Annotated[int | None, typer.Option(min=0, help="At most so many documents.")] = None,
    max_bytes: Annotated[
        int | None, typer.Option(min=0, help="At most so many bytes, every version of every document counted.")
    ] = None,
) -> None:
    """Set both limits; the one that is not given is lifted. What is held already stays, even when it is more.

    Example: docex quota set --tenant-id acme-corp --max-documents 100000 --max-bytes 50000000000
    """
    usage = opened(tenant_id).set_quota(max_documents, max_bytes)
    say(f"Limits set; the tenant holds {usage.documents} documents and {usage.bytes} bytes.")


def fsck(
    tenant_id: TenantOption = None,
    mend: Annotated[bool, typer.Option("--mend", help="Mend what can be mended without inventing anything.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read every content and compare its checksum.")] = False,
    older_than: Annotated[
        float, typer.Option(min=0, help="Pass over what no row names and is younger than so many seconds.")
    ] = 3600.0,
    format: FormatOption = Format.TABLE,
) -> None:
    """Hold a tenant's rows and its stored contents against each other. Exit code 1 if something stays wrong.

    Example: docex fsck --tenant-id acme-corp --mend
    """
    report = opened(tenant_id).fsck(mend=mend, verify=verify, older_than=older_than)
    rows = [vars(finding) for finding in report.findings]
    print_rows(rows, format, columns=("kind", "where", "mended", "detail"), simple=("kind", "where"))
    open_ones = sum(not finding.mended for finding in report.findings)
    say(
        f"{report.documents} documents and {report.contents} contents looked at: "
        f"{len(rows)} findings, {len(rows) - open_ones} mended."
    )
    if not report.clean:
        raise typer.Exit(1)


def audit(
    tenant_id: TenantOption = None,
    document_id: Annotated[str | None, typer.Option(help="Only changes of this document.")] = None,
    basket_id: Annotated[str | None, typer.Option(help="Only changes in this basket.")] = None,
    user_id: Annotated[str | None, typer.Option(help="Only changes by this user.")] = None,
    limit: LimitOption = 100,
    format: FormatOption = Format.TABLE,
) -> None:
    """List who changed what, newest first."""
    rows = opened(tenant_id).audit_trail.list(
        document_id=document_id, basket_id=basket_id, user_id=user_id, limit=limit
    )
    print_rows(rows, format, columns=AUDIT_COLUMNS, simple=("id", "action"))
