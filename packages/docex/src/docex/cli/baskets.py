"""``basket``: list, make, look at and remove baskets."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from docex.cli.opening import BasketOption, TenantOption, confirm_removal, opened, opened_basket
from docex.cli.output import Format, FormatOption, print_fields, print_rows
from tenantry.cli import group, say

COLUMNS = ("id", "name", "status", "document_count", "created_at", "description")

app = group("List, make, look at and remove baskets.")


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


@app.command("stats")
def basket_stats(basket_id: BasketOption, tenant_id: TenantOption = None, format: FormatOption = Format.TABLE) -> None:
    """Show a basket with its numbers of documents, by status and by type, and their bytes."""
    basket = opened_basket(tenant_id, basket_id)
    documents, size = basket.get_totals()
    print_fields({**basket.get_stats(), "documents": documents, "bytes": size}, format)


@app.command("rm")
def remove_basket(
    basket_id: BasketOption,
    tenant_id: TenantOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a basket with all its documents. Tells what goes, and asks unless --yes is given.

    Example: docex basket rm --basket-id bas_18ea6e6eac57a97313d85ce8dc8aa835 --yes
    """
    basket = opened_basket(tenant_id, basket_id)
    documents, size = basket.get_totals()
    what = f"basket {basket.name!r} with {documents} documents ({size} bytes) and all their versions"
    confirm_removal(what, yes=yes)
    basket.delete()
    say(f"Removed {what}.")


@app.command("set")
def set_basket(
    basket_id: BasketOption,
    tenant_id: TenantOption = None,
    status: Annotated[str | None, typer.Option(help="active, or inactive: then it takes no documents in.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
) -> None:
    """Change a basket's status or description."""
    basket = opened_basket(tenant_id, basket_id)
    if status is None and description is None:
        raise typer.BadParameter("give --status or --description")
    if status is not None:
        basket.set_status(status)
    if description is not None:
        basket.set_description(description)
    say(f"Changed basket {basket.name!r}.")


class StorageType(StrEnum):
    """What keeps contents."""

    FILESYSTEM = "filesystem"
    S3 = "s3"


@app.command("move")
def move_basket(
    basket_id: BasketOption,
    storage: Annotated[StorageType, typer.Option(help="What is to keep its contents.")],
    tenant_id: TenantOption = None,
    path: Annotated[str | None, typer.Option(help="filesystem: another directory than the configured one.")] = None,
    bucket: Annotated[str | None, typer.Option(help="s3: another bucket than the configured one.")] = None,
) -> None:
    """Move a basket's contents to another storage. It takes no documents in meanwhile.

    Example: docex basket move --basket-id bas_18ea6e6eac57a97313d85ce8dc8aa835 --storage s3
    """
    config: dict[str, Any] = {"type": storage.value}
    if path is not None:
        config["path"] = path
    if bucket is not None:
        config["s3"] = {"bucket": bucket}
    moved = opened(tenant_id).move_basket(basket_id, config)
    print(f"{moved.id}\t{moved.get_basket_path()}")
