"""How one schema differs from another, object by object, and the statements that make the first like the second.

Nothing is sent from here. The order of columns is no difference: a column that was dropped and made again stands last,
and no statement can move it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tenantry.migrations.catalog import TENANT, Item, Kind, Shape, body, quote

_PARTS = re.compile(
    r"(?P<type>.+?)(?: COLLATE (?P<collation>\S+))?"
    r"(?: DEFAULT (?P<default>.+?)| GENERATED (?P<generated>.+?))?(?P<required> NOT NULL)?",
    re.DOTALL,
)
_INSIDE = (Kind.COLUMN, Kind.CONSTRAINT, Kind.INDEX, Kind.TRIGGER, Kind.POLICY)  # named after their table
_REPLACED = (Kind.CONSTRAINT, Kind.INDEX, Kind.VIEW, Kind.TRIGGER, Kind.POLICY)  # dropped and made again


@dataclass(frozen=True)
class Difference:
    """One object that is not as it should be."""

    kind: Kind
    name: str
    found: str | None  # what it is; None: it is missing
    expected: str | None  # what it should be; None: it should not be there
    repair: tuple[str, ...] | None  # None: no statement can do it without knowing what was meant
    loses_rows: bool = False  # the repair drops what people may have entered
    rank: int = 0

    def __str__(self) -> str:
        if self.found is None:
            return f"missing {self.kind.value} {self.name}: {self.expected}"
        if self.expected is None:
            return f"unknown {self.kind.value} {self.name}: {self.found}"
        return f"changed {self.kind.value} {self.name}: {self.found}, expected {self.expected}"


def differences(found: Shape, expected: Shape) -> list[Difference]:
    """Everything in which the first is not like the second, in the order in which it can be repaired."""
    return sorted(_differences(found, expected), key=lambda difference: (difference.rank, difference.name))


def _differences(found: Shape, expected: Shape) -> Iterator[Difference]:
    keys = found.by_key.keys() | expected.by_key.keys()
    unknown = {name for kind, name in keys if kind is Kind.TABLE and (kind, name) not in expected.by_key}
    missing = {name for kind, name in keys if kind is Kind.TABLE and (kind, name) not in found.by_key}
    owned = {sequence.name for sequence in found.sequences if sequence.table in unknown}
    rebuilt: set[str] = set()
    if found.dialect == "sqlite":
        rebuilt = {name for kind, name in keys if kind is Kind.TABLE and _differ(found, expected, (kind, name))}
        rebuilt -= unknown | missing
    for kind, name in keys:
        there, wanted = found.by_key.get((kind, name)), expected.by_key.get((kind, name))
        if there is not None and wanted is not None and there.text == wanted.text:
            continue
        table = _table_of(kind, name, unknown | missing)
        if table in unknown or (kind is Kind.SEQUENCE and name.removesuffix(" owned") in owned):
            continue  # goes with its table
        if kind in (Kind.RIGHT, Kind.OWNER) and wanted is None:
            continue  # of what is unknown itself
        if table in missing and kind in (Kind.COLUMN, Kind.OWNER):
            continue  # comes with its table
        if wanted is not None:
            yield _wanting(found, expected, there, wanted, rebuilt)
        elif there is not None:
            # What others stand on goes last.
            yield Difference(kind, name, there.text, None, there.drop, there.holds_rows, -there.rank)


def _differ(found: Shape, expected: Shape, key: tuple[Kind, str]) -> bool:
    there, wanted = found.by_key.get(key), expected.by_key.get(key)
    return (there.text if there else None) != (wanted.text if wanted else None)


def _table_of(kind: Kind, name: str, tables: set[str]) -> str | None:
    if kind in (Kind.RIGHT, Kind.OWNER, Kind.COMMENT) and name in tables:
        return name
    if kind in (*_INSIDE, Kind.COMMENT):
        return next((table for table in tables if name.startswith((f"{table}.", f"{table} "))), None)
    return None


def _wanting(found: Shape, expected: Shape, there: Item | None, wanted: Item, rebuilt: set[str]) -> Difference:
    if there is None:
        return Difference(wanted.kind, wanted.name, None, wanted.text, wanted.create, False, wanted.rank + 1_000)
    repair: tuple[str, ...] | None = None
    loses = False
    if wanted.kind is Kind.COLUMN:
        repair = _column(wanted.name, there, wanted)
    elif wanted.kind is Kind.SEQUENCE:
        repair = (f"ALTER SEQUENCE {quote(wanted.name)} {wanted.text}",)
    elif wanted.kind in (Kind.FUNCTION, Kind.COMMENT):
        repair = wanted.create
    elif wanted.kind in (Kind.RIGHT, Kind.OWNER):
        repair = (*_strangers(there, wanted), *wanted.create)
    elif wanted.kind is Kind.TABLE and wanted.name in rebuilt:
        repair, loses = _rebuild(found, expected, wanted)
    elif wanted.kind in _REPLACED:
        repair = (*there.drop, *wanted.create)
    return Difference(wanted.kind, wanted.name, there.text, wanted.text, repair, loses, wanted.rank + 1_000)


def _column(name: str, there: Item, wanted: Item) -> tuple[str, ...] | None:
    before, after = _PARTS.fullmatch(there.text), _PARTS.fullmatch(wanted.text)
    head = wanted.create[0].partition(" ADD COLUMN ")[0]
    column = quote(name[len(_name_in(head)) + 1 :])
    if before is None or after is None or before["generated"] != after["generated"]:
        return None
    alter, made = f"{head} ALTER COLUMN {column}", []
    if (before["type"], before["collation"]) != (after["type"], after["collation"]):
        if before["default"] is not None:
            made.append(f"{alter} DROP DEFAULT")  # it may not fit the new type
        collation = f" COLLATE {after['collation']}" if after["collation"] else ""
        made.append(f"{alter} TYPE {after['type']}{collation} USING {column}::{after['type']}")
        if after["default"] is not None:
            made.append(f"{alter} SET DEFAULT {after['default']}")
    elif before["default"] != after["default"]:
        made.append(f"{alter} SET DEFAULT {after['default']}" if after["default"] else f"{alter} DROP DEFAULT")
    if before["required"] != after["required"]:
        made.append(f"{alter} {'SET' if after['required'] else 'DROP'} NOT NULL")
    return tuple(made)


def _name_in(head: str) -> str:
    """The table's name in ``ALTER TABLE "name"``."""
    return head[len('ALTER TABLE "') : -1].replace('""', '"')


def _strangers(there: Item, wanted: Item) -> list[str]:
    """Take from other roles what they should not have."""
    expected = {part.partition(":")[0] for part in wanted.text.split("; ")}
    words = wanted.create[0].split(" FROM ")[0] if wanted.create else ""
    held = [part.partition(":")[0] for part in there.text.split("; ") if ": " in part]
    return [
        f"{words} FROM {quote(who)}"
        for who in held
        if wanted.kind is Kind.RIGHT and who not in expected and who not in ("PUBLIC", TENANT)
    ]


def _rebuild(found: Shape, expected: Shape, wanted: Item) -> tuple[tuple[str, ...], bool]:
    """SQLite changes a table by making it anew. Tells also whether a column's values are lost."""
    name, draft = quote(wanted.name), quote(f"tenantry_new_{wanted.name}")
    before = _columns(found, wanted.name)
    after = _columns(expected, wanted.name)
    kept = ", ".join(quote(column) for column in after if column in before)
    inside = [
        statement
        for item in sorted(expected.items, key=lambda item: item.rank)
        if item.kind in (Kind.INDEX, Kind.TRIGGER) and item.name.startswith(f"{wanted.name}.")
        for statement in item.create
        if _same(found, item)  # those that are missing too are a difference of their own
    ]
    statements = (
        "PRAGMA legacy_alter_table = ON",  # else views that read the table keep it from being renamed
        f"CREATE TABLE {draft} {body(wanted.create[0])}",
        f"INSERT INTO {draft} ({kept}) SELECT {kept} FROM {name}",
        f"DROP TABLE {name}",
        f"ALTER TABLE {draft} RENAME TO {name}",
        "PRAGMA legacy_alter_table = OFF",
        *inside,
    )
    return statements, not set(before) <= set(after)


def _columns(shape: Shape, table: str) -> Sequence[str]:
    return [column.name for entry in shape.tables if entry.name == table for column in entry.columns]


def _same(found: Shape, item: Item) -> bool:
    there = found.by_key.get((item.kind, item.name))
    return there is not None and there.text == item.text
