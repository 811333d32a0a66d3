"""``document``: everything that is done with documents."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from docex.cli.opening import (
    BasketOption,
    DocumentOption,
    LimitOption,
    OffsetOption,
    TenantOption,
    confirm_removal,
    opened_basket,
    opened_document,
    parsed,
)
from docex.cli.output import Format, FormatOption, print_fields, print_rows
from tenantry.cli import group, say

if TYPE_CHECKING:
    from docex.document import Document

COLUMNS = ("id", "name", "document_type", "status", "size", "created_at")

app = group("List, count, search, show, add, change, export and remove documents.")


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
SearchOption = Annotated[str | None, typer.Option(help="What documents must carry, as JSON: '{\"year\": 2024}'.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(help="What metadata must meet, such as 'year>=2023', 'name^=Glo'. May be repeated."),
]
InBasketOption = Annotated[str | None, typer.Option("--basket-id", help="The basket it must lie in.")]
CONDITION = re.compile(r"(.+?)(\^=|!=|<=|>=|=|<|>)(.*)", re.DOTALL)


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
    tenant_id: TenantOption = None,
    metadata: SearchOption = None,
    where: WhereOption = None,
    text: Annotated[
        str | None, typer.Option(help="Words of the text: 'invoice \"late payment\" glob* -draft'. Best first.")
    ] = None,
    limit: LimitOption = None,
    offset: OffsetOption = 0,
    order_by: OrderOption = None,
    order_desc: DescOption = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """List documents by their metadata (--metadata, --where) or by their text (--text).

    Example: docex document search --basket-id BASKET --where 'year>=2023' --where 'customer^=Glo'
    """
    if sum(given is not None for given in (metadata, where, text)) != 1:
        raise typer.BadParameter("give one of --metadata, --where and --text")
    wanted = None if metadata is None else parsed(metadata, "--metadata")
    conditions = [_condition(text) for text in where or ()]
    basket = opened_basket(tenant_id, basket_id)
    if text is not None:
        hits = basket.search(text, limit or 10, offset)
        rows = [{**_row(hit.document), "rank": round(hit.rank, 6), "snippet": hit.snippet} for hit in hits]
        print_rows(rows, format, columns=("id", "name", "rank", "snippet"), simple=("id", "name"))
        if not rows:
            say("No documents found.")
    elif wanted is not None:
        _print(basket.find_documents_by_metadata(wanted, limit, offset, order_by, order_desc), format)
    else:
        _print(basket.find_documents_where(conditions, limit, offset, order_by, order_desc), format)


@app.command("get")
def get_document(
    document_id: DocumentOption,
    tenant_id: TenantOption = None,
    basket_id: InBasketOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show a document's details and metadata."""
    document = opened_document(tenant_id, document_id, basket_id)
    print_fields(document.get_details().model_dump() | {"metadata": document.get_metadata()}, format)


@app.command("add")
def add_document(
    basket_id: BasketOption,
    file: Annotated[Path, typer.Option(help="The file to add; of a directory, all files in and below it.")],
    tenant_id: TenantOption = None,
    metadata: Annotated[str, typer.Option(help="Metadata as a JSON object.")] = "{}",
    document_type: Annotated[str, typer.Option(help="What kind of document it is.")] = "file",
    pattern: Annotated[str, typer.Option(help="Of a directory: which names.")] = "*",
) -> None:
    """Add a file, or the files of a directory, to a basket; prints each document's id and name.

    Of a directory, files that cannot be added are told on stderr, and the exit code is 1 if there are any.
    """
    from docex.models.tables import now

    given = parsed(metadata, "--metadata")
    basket = opened_basket(tenant_id, basket_id)
    if not file.is_dir():
        begun = now()
        document = basket.add(file, document_type, given)
        print(f"{document.id}\t{document.name}")
        if document.created_at < begun:
            say(f"It was there already, added at {document.created_at:%Y-%m-%d %H:%M:%S}; nothing was changed.")
        return
    report = basket.add_directory(file, document_type, given, pattern=pattern, progress=_progress)
    for document in (*report.added, *report.duplicates):
        print(f"{document.id}\t{document.name}")
    for path, reason in report.refused:
        say(f"{path}: {reason}")
    say(f"{len(report.added)} added, {len(report.duplicates)} there already, {len(report.refused)} refused.")
    if report.refused:
        raise typer.Exit(1)


@app.command("update")
def update_document(
    document_id: DocumentOption,
    file: Annotated[Path, typer.Option(help="The file whose content it gets.")],
    tenant_id: TenantOption = None,
    basket_id: InBasketOption = None,
) -> None:
    """Give a document another content; the earlier one stays as a version."""
    document = opened_document(tenant_id, document_id, basket_id)
    changed = document.basket.update_document(document.id, file)
    print(f"{changed.id}\t{changed.name}")


@app.command("history")
def document_history(
    document_id: DocumentOption,
    tenant_id: TenantOption = None,
    basket_id: InBasketOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List the contents a document has had, oldest first."""
    versions = opened_document(tenant_id, document_id, basket_id).get_versions()
    columns = ("version", "created_at", "size", "user_id", "original_path", "checksum")
    print_rows(versions, format, columns=columns, simple=("version", "original_path"))


@app.command("export")
def export_document(
    document_id: DocumentOption,
    output: Annotated[str, typer.Option(help="The file to write, or '-' for stdout.")],
    tenant_id: TenantOption = None,
    basket_id: InBasketOption = None,
    version: Annotated[int | None, typer.Option(min=1, help="Which content; by default the present one.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a document's content into a file, whole or not at all.

    Example: docex document export --document-id DOCUMENT --output invoice.pdf
    """
    from docex.exporting import write_content

    document = opened_document(tenant_id, document_id, basket_id)
    if output == "-":
        with document.open(version) as content:
            shutil.copyfileobj(content, sys.stdout.buffer)
        return
    size = write_content(document, Path(output), version=version, replace=force)
    say(f"{size} bytes written to {output}.")


@app.command("rm")
def remove_document(
    document_id: DocumentOption,
    tenant_id: TenantOption = None,
    basket_id: InBasketOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a document with all its versions. Asks unless --yes is given."""
    document = opened_document(tenant_id, document_id, basket_id)
    what = f"document {document.name!r} ({document.size} bytes) with {len(document.get_versions())} version(s)"
    confirm_removal(what, yes=yes)
    document.remove_from_basket()
    say(f"Removed {what}.")


def _condition(text: str) -> tuple[str, str, Any]:
    """``key``, operator and value, such as ``year>=2023``; ``^=`` is a prefix, and a value that is no JSON is text."""
    found = CONDITION.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"expected KEY=VALUE, or != < <= > >= ^=, not {text!r}", param_hint="--where")
    key, operator, value = found.groups()
    if operator == "^=":
        return key, "prefix", value
    try:
        return key, operator, json.loads(value)
    except ValueError:
        return key, operator, value


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} files", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _print(documents: Iterable[Document], format: Format) -> None:
    rows = [_row(document) for document in documents]
    print_rows(rows, format, columns=COLUMNS, simple=("id", "name"))
    if not rows:
        say("No documents found.")


def _row(document: Document) -> dict[str, Any]:
    fields = (*COLUMNS, "path", "content_type", "checksum", "updated_at")
    return {name: getattr(document, name) for name in fields}
