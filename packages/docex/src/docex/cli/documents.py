"""``document``: list, count, search, show and add documents."""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from docex.cli.opening import BasketOption, LimitOption, OffsetOption, TenantOption, opened, opened_basket, parsed
from docex.cli.output import Format, FormatOption, print_rows
from tenantry.cli import group, say

if TYPE_CHECKING:
    from docex.document import Document

COLUMNS = ("id", "name", "document_type", "status", "size", "created_at")

app = group("List, count, search, show and add documents.")


class Order(StrEnum):
    """By what documents are listed."""

    NAME = "name"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    SIZE = "size"
    STATUS = "status"


OrderOption = Annotated[Order | None, typer.Option(help="By what to order. Default: newest first.")]
DescOption = Annotated[bool, typer.Option("--order-desc", help="The other way round.")]
StatusOption = Annotated[str | None, typer.Option(help="Only documents of this status.")]
TypeOption = Annotated[str | None, typer.Option(help="Only documents of this type.")]
SearchOption = Annotated[str, typer.Option(help="What documents must carry, as JSON: '{\"year\": 2024}'.")]


@app.command("list")
def list_documents(
    basket_id: BasketOption,
    tenant_id: TenantOption = None,
    limit: LimitOption = None,
    offset: OffsetOption = 0,
    order_by: OrderOption = None,
    order_desc: DescOption = False,
    status: StatusOption = None,
    document_type: TypeOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List the documents of a basket."""
    basket = opened_basket(tenant_id, basket_id)
    found = basket.list_documents(limit, offset, order_by, order_desc, status, document_type)
    _print(found, format)
    if limit is not None:
        total = basket.count_documents(status, document_type)
        say(f"Page {offset // limit + 1} of {max(1, math.ceil(total / limit))} (Total: {total} documents)")


@app.command("count")
def count_documents(
    basket_id: BasketOption,
    tenant_id: TenantOption = None,
    status: StatusOption = None,
    document_type: TypeOption = None,
) -> None:
    """Print how many documents a basket holds."""
    print(opened_basket(tenant_id, basket_id).count_documents(status, document_type))


@app.command("search")
def search_documents(
    basket_id: BasketOption,
    metadata: SearchOption,
    tenant_id: TenantOption = None,
    limit: LimitOption = None,
    offset: OffsetOption = 0,
    order_by: OrderOption = None,
    order_desc: DescOption = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """List the documents that carry all the given metadata."""
    wanted = parsed(metadata)
    basket = opened_basket(tenant_id, basket_id)
    _print(basket.find_documents_by_metadata(wanted, limit, offset, order_by, order_desc), format)


@app.command("get")
def get_document(
    document_id: Annotated[str, typer.Option(help="The document.")],
    tenant_id: TenantOption = None,
    basket_id: Annotated[str | None, typer.Option(help="The basket it must lie in.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show a document's details and metadata."""
    from docex.errors import DocumentNotFound

    document = opened(tenant_id).get_document(document_id, basket_id)
    if document is None:
        raise DocumentNotFound(document_id)
    details = document.get_details().model_dump() | {"metadata": document.get_metadata()}
    if format is Format.TABLE:
        rows = [{"field": name, "value": value} for name, value in details.items()]
        print_rows(rows, format, columns=("field", "value"), simple=())
    else:
        print_rows([details], format, columns=(), simple=("id", "name"))


@app.command("add")
def add_document(
    basket_id: BasketOption,
    file: Annotated[Path, typer.Option(help="The file to add.")],
    tenant_id: TenantOption = None,
    metadata: Annotated[str, typer.Option(help="Metadata as a JSON object.")] = "{}",
    document_type: Annotated[str, typer.Option(help="What kind of document it is.")] = "file",
) -> None:
    """Add a file to a basket and print the document's id and name."""
    given = parsed(metadata)
    document = opened_basket(tenant_id, basket_id).add(file, document_type, given)
    print(f"{document.id}\t{document.name}")


def _print(documents: Iterable[Document], format: Format) -> None:
    rows = [_row(document) for document in documents]
    print_rows(rows, format, columns=COLUMNS, simple=("id", "name"))
    if not rows:
        say("No documents found.")


def _row(document: Document) -> dict[str, Any]:
    fields = (*COLUMNS, "path", "content_type", "checksum", "updated_at")
    return {name: getattr(document, name) for name in fields}
