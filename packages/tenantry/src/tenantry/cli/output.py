"""What commands print: a table at a terminal, tab-separated lines into a pipe, JSON on request.

Text that comes from a database never reaches the terminal as control characters or markup.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from tenantry.provisioning import Provisioned

Row = TypeVar("Row")


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column of a listing; empty cells at the end of a plain line are left out."""

    title: str
    value: Callable[[Row], object]
    style: str | None = None


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """A list of things as people, scripts and machines read it. ``record`` gives the JSON object of a row."""

    columns: Sequence[Column[Row]]
    record: Callable[[Row], Mapping[str, Any]]

    def print(self, rows: Iterable[Row], *, as_json: bool = False) -> None:
        """Print to stdout: JSON if asked for, else a table at a terminal, else a line per row."""
        if as_json:
            print_json([self.record(row) for row in rows])
        elif sys.stdout.isatty():
            self._print_table(rows)
        else:
            for row in rows:
                print("\t".join(self._cells(row)).rstrip("\t"))

    def _cells(self, row: Row) -> list[str]:
        return [one_line("" if (value := column.value(row)) is None else str(value)) for column in self.columns]

    def _print_table(self, rows: Iterable[Row]) -> None:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD)
        filled = [self._cells(row) for row in rows]
        shown = [n for n in range(len(self.columns)) if not filled or any(cells[n] for cells in filled)]
        for n in shown:
            table.add_column(self.columns[n].title, style=self.columns[n].style, overflow="fold")
        for cells in filled:
            table.add_row(*(Text(cells[n]) for n in shown))
        Console().print(table)


def print_json(value: object) -> None:
    """Print one JSON document to stdout; dates in ISO format."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def print_provisioned(provisioned: Provisioned) -> None:
    """Say where a new tenant lies, and hand over, once, what its seeds made for the administrator."""
    tenant = provisioned.tenant
    print(f"Provisioned tenant: {tenant.slug} -> {tenant.location}")
    print_receipts(provisioned.receipts)


def print_receipts(receipts: Mapping[str, str]) -> None:
    """Print what is told only once, such as a one-time password."""
    for name, value in receipts.items():
        print(f"{one_line(name)}: {one_line(value)}")
    if receipts:
        say("This is shown only once.")


def say(text: str) -> None:
    """Tell the person something that is no data: on stderr, after what was printed before it."""
    sys.stdout.flush()
    print(one_line(text), file=sys.stderr)


def one_line(text: str) -> str:
    """The text without line breaks, tabs and other control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _plain(value: object) -> str:
    isoformat: Callable[[], str] | None = getattr(value, "isoformat", None)
    return isoformat() if isoformat is not None else str(value)
