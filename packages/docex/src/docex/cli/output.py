"""How listings are printed: as a table, as JSON, or one line each with tabs between id and name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer

from tenantry.cli.output import one_line, print_json

Row = TypeVar("Row")


class Format(StrEnum):
    """A table for people, JSON for programs, id and name for scripts."""

    TABLE = "table"
    JSON = "json"
    SIMPLE = "simple"


FormatOption = Annotated[Format, typer.Option("--format", help="How to print.")]


def print_rows(
    rows: Iterable[Mapping[str, Any]], format: Format, *, columns: Sequence[str], simple: Sequence[str]
) -> None:
    """Print records to stdout; the table shows ``columns``, a simple line ``simple``."""
    records = list(rows)
    if format is Format.JSON:
        print_json(records)
    elif format is Format.SIMPLE:
        for record in records:
            print("\t".join(_cell(record[name]) for name in simple))
    elif records:
        _print_table(records, columns)


def print_fields(record: Mapping[str, Any], format: Format, *, simple: Sequence[str] = ("id", "name")) -> None:
    """Print one record to stdout; the table has a line for each of its fields."""
    if format is Format.TABLE:
        print_rows(
            [{"field": name, "value": value} for name, value in record.items()],
            format,
            columns=("field", "value"),
            simple=(),
        )
    else:
        print_rows([record], format, columns=(), simple=simple)


def _print_table(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for name in columns:
        # An id in two pieces could not be copied.
        table.add_column(name.replace("_", " ").capitalize(), overflow="fold", no_wrap=name in ("id", "tenant_id"))
    for record in records:
        table.add_row(*(Text(_cell(record[name])) for name in columns))
    Console().print(table)


def _cell(value: object) -> str:
    isoformat: Callable[..., str] | None = getattr(value, "isoformat", None)
    if isoformat is not None:
        return isoformat(sep=" ", timespec="seconds")
    if isinstance(value, Mapping):
        value = json.dumps(value, ensure_ascii=False, default=str)
    elif isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        value = ", ".join(value)
    return "" if value is None else one_line(str(value))
