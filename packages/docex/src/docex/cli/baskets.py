"""``basket``: list and make baskets."""

from __future__ import annotations

from typing import Annotated

import typer

from docex.cli.opening import TenantOption, opened
from docex.cli.output import Format, FormatOption, print_rows
from tenantry.cli import group, say

COLUMNS = ("id", "name", "status", "document_count", "created_at", "description")

app = group("List and make baskets.")


@app.command("list")
def list_baskets(tenant_id: TenantOption = None, format: FormatOption = Format.TABLE) -> None:
    """List baskets, newest first."""
    records = opened(tenant_id).list_baskets_with_metadata([*COLUMNS, "updated_at"])
    print_rows([record.model_dump() for record in records], format, columns=COLUMNS, simple=("id", "name"))
    if not records:
        say("No baskets found.")


@app.command("create")
def create_basket(
    name: Annotated[str, typer.Option(help="Its name; what is not A-Z, a-z, 0-9, '_', '.' or '-' becomes '_'.")],
    tenant_id: TenantOption = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
) -> None:
    """Make a basket and print its id and name."""
    basket = opened(tenant_id).create_basket(name, description)
    print(f"{basket.id}\t{basket.name}")
