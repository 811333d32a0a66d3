"""A saved tenant's schema and rows made anew inside a site: as they were, or as the other database keeps them.

All of it happens in the site's one transaction (or its file that no one knows yet), so a failure leaves nothing. The
statements of a saved schema are run as they stand in the file: restore only what you trust.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from typing import Any, cast

import sqlalchemy as sa
from psycopg import sql

from tenantry.archive.manifest import Manifest, SequenceEntry, TableEntry
from tenantry.archive.rows import Converter, Value, lines, to_postgres, to_sqlite, untagged
from tenantry.errors import ArchiveUnfit
from tenantry.migrations import catalog
from tenantry.migrations.catalog import Item, Kind, Shape
from tenantry.stores.base import Site, Statement
from tenantry.tenant import Tenant

BATCH = 500  # rows per message to SQLite
MAX_TOLD = 10  # objects named in an error

Chunks = Callable[[str], Iterator[bytes]]  # a member's content by its name
Lay = Callable[[], None]  # makes the application's own schema at the revision that was saved


def rebuild(site: Site, tenant: Tenant, manifest: Manifest, chunks: Chunks, path: str) -> None:
    """Make the schema as it was saved, and its rows.

    :raises ArchiveUnfit: what came of it is not what was saved.
    """
    _run(site, tenant, manifest.before_rows)
    for entry in manifest.tables:
        if entry.shadow:
            site.connection.exec_driver_sql(f"DELETE FROM {catalog.quote(entry.name)}")
        _load(site.connection, entry, [name for name, _, _ in entry.columns], chunks(entry.member))
    _run(site, tenant, manifest.after_rows)
    _set_sequences(site.connection, manifest.sequences, catalog.read(site.connection, tenant.role))
    _prove(site.connection, catalog.read(site.connection, tenant.role), manifest, path)


def _prove(connection: sa.Connection, made: Shape, manifest: Manifest, path: str) -> None:
    """Check that every object is there, and is what it was. Servers of another major version write expressions in their
    own way, so there it is the objects' names alone that must be the same.
    """
    if made.digest() == manifest.fingerprint:
        return
    here, saved = made.outline(), manifest.objects
    wrong = [f"{name} was not made" for name in sorted(saved.keys() - here.keys())]
    wrong += [f"{name} was not saved" for name in sorted(here.keys() - saved.keys())]
    if manifest.server.split(".")[0] == str((connection.dialect.server_version_info or (0,))[0]):
        wrong += [
            f"{name} is not what it was" for name in sorted(saved.keys() & here.keys()) if saved[name] != here[name]
        ]
    if wrong:
        raise ArchiveUnfit(path, [*wrong[:MAX_TOLD], *(["and more"] if len(wrong) > MAX_TOLD else [])])


def translate(site: Site, tenant: Tenant, manifest: Manifest, chunks: Chunks, path: str, lay: Lay) -> None:
    """Make the application's schema as this database has it, and the saved rows of the other one in it.

    :raises ArchiveUnfit: a table, a column or a value has no equal here.
    """
    lay()
    shape = catalog.read(site.connection, tenant.role)
    wanted = [table for table in manifest.tables if not table.shadow and table.name != manifest.version_table]
    converters = _fitted(wanted, shape, path)
    # What revisions wrote into new tables was saved with the rest; keys and triggers would see half of it.
    aside = [item for item in shape.items if item.kind is Kind.TRIGGER or item.text.startswith("FOREIGN KEY")]
    _run(site, tenant, [statement for item in aside for statement in item.drop])
    _empty(site.connection, shape, manifest.version_table)
    for table in wanted:
        if table.rows:
            names, converter = converters[table.name]
            _load_converted(site.connection, table, names, converter, chunks(table.member))
    _rebuild_searches(site.connection, shape)
    _run(site, tenant, [statement for item in _in_order(aside) for statement in item.create])
    _set_sequences(site.connection, manifest.sequences, shape)


def _run(site: Site, tenant: Tenant, statements: tuple[str, ...] | list[str]) -> None:
    made = [catalog.for_role(statement, tenant.role) for statement in statements]
    batch: list[Statement] = [(statement, ()) for statement in made if statement is not None]
    if batch:
        site.send(batch)


def _in_order(items: list[Item]) -> list[Item]:
    return sorted(items, key=lambda item: item.rank)


# -- rows as they were


def _load(connection: sa.Connection, entry: TableEntry, names: list[str], chunks: Iterator[bytes]) -> None:
    if not entry.rows:
        return
    if connection.dialect.name == "postgresql":
        _copy_in(connection, entry.name, names, chunks)
    else:
        rows = (tuple(untagged(field) for field in line.split(b"\t")) for line in lines(chunks))
        _insert(connection, entry.name, names, rows)


def _copy_in(connection: sa.Connection, table: str, names: list[str], chunks: Iterator[bytes]) -> None:
    columns = sql.SQL(", ").join(sql.Identifier(name) for name in names)
    listed = sql.SQL("({})").format(columns) if names else sql.SQL("")
    statement = sql.SQL("COPY {} {} FROM STDIN").format(sql.Identifier(table), listed)
    driver = cast(Any, connection.connection.driver_connection)
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for chunk in chunks:
            copy.write(chunk)


def _insert(connection: sa.Connection, table: str, names: list[str], rows: Iterator[tuple[Value, ...]]) -> None:
    columns = ", ".join(catalog.quote(name) for name in names)
    marks = ", ".join("?" * len(names))
    statement = f"INSERT INTO {catalog.quote(table)} ({columns}) VALUES ({marks})"
    driver = cast(Any, connection.connection.driver_connection)
    with closing(driver.cursor()) as cursor:
        while batch := list(islice(rows, BATCH)):
            cursor.executemany(statement, batch)


# -- rows as the other database keeps them


def _fitted(entries: list[TableEntry], shape: Shape, path: str) -> dict[str, tuple[list[str], Converter]]:
    """The columns of each table and how their values are turned; everything that does not fit is named at once."""
    here = {table.name: {column.name: column for column in table.columns} for table in shape.tables}
    unfit: list[str] = []
    found = {}
    for entry in entries:
        if not entry.rows:
            continue
        if entry.name not in here:
            unfit.append(f"table {entry.name}, which this application does not have")
            continue
        turned = []
        for name, type_, base in entry.columns:
            column = here[entry.name].get(name)
            if column is None:
                unfit.append(f"column {entry.name}.{name}, which this application does not have")
                continue
            convert = to_postgres(type_, column.base) if shape.dialect == "postgresql" else to_sqlite(base, column.type)
            if convert is None:
                unfit.append(f"{entry.name}.{name} ({type_} into {column.type or 'no type'})")
            else:
                turned.append((name, convert))
        found[entry.name] = ([name for name, _ in turned], Converter(entry.name, turned))
    if unfit:
        raise ArchiveUnfit(path, unfit)
    return found


def _load_converted(
    connection: sa.Connection, entry: TableEntry, names: list[str], converter: Converter, chunks: Iterator[bytes]
) -> None:
    if connection.dialect.name == "postgresql":
        _copy_in(connection, entry.name, names, converter.copied(chunks))
    else:
        _insert(connection, entry.name, names, converter.values(chunks))


def _empty(connection: sa.Connection, shape: Shape, version_table: str) -> None:
    names = [table.name for table in shape.tables if not table.shadow and table.name != version_table]
    if not names:
        return
    if shape.dialect == "postgresql":
        listed = sql.SQL(", ").join(sql.Identifier(name) for name in names)
        connection.exec_driver_sql(sql.SQL("TRUNCATE {}").format(listed).as_string(None))
    else:
        for name in names:
            connection.exec_driver_sql(f"DELETE FROM {catalog.quote(name)}")


def _rebuild_searches(connection: sa.Connection, shape: Shape) -> None:
    """Have full-text tables of SQLite read their content anew: the triggers that feed them were set aside."""
    for item in shape.items:
        text = item.text.lower()
        if item.kind is Kind.TABLE and text.startswith("virtual using fts5") and "content=" in text.replace(" ", ""):
            name = catalog.quote(item.name)
            connection.exec_driver_sql(f"INSERT INTO {name} ({name}) VALUES ('rebuild')")


# -- sequences


def _set_sequences(connection: sa.Connection, entries: tuple[SequenceEntry, ...], shape: Shape) -> None:
    """Have every sequence go on where the saved one stood, and never before what is in its column."""
    by_column = {(entry.table, entry.column): entry for entry in entries if entry.table}
    by_name = {entry.name: entry for entry in entries}
    for sequence in shape.sequences:
        entry = by_column.get((sequence.table, sequence.column)) if sequence.table else by_name.get(sequence.name)
        if shape.dialect == "sqlite":
            if entry is not None and entry.called:
                _raise_sqlite(connection, sequence.name, entry.value)
        elif entry is not None:
            connection.execute(
                sa.text("SELECT setval(CAST(:name AS regclass), :value, :called)"),
                {"name": catalog.quote(sequence.name), "value": entry.value, "called": entry.called},
            )
        elif sequence.table and sequence.column:
            # SQLite keeps no sequence for an ordinary key: it takes the one after the largest.
            statement = sql.SQL("SELECT setval({}, max({})) FROM {} HAVING max({}) > 0").format(
                sql.Literal(catalog.quote(sequence.name)),
                sql.Identifier(sequence.column),
                sql.Identifier(sequence.table),
                sql.Identifier(sequence.column),
            )
            connection.exec_driver_sql(statement.as_string(None))


def _raise_sqlite(connection: sa.Connection, table: str, value: int) -> None:
    changed = connection.exec_driver_sql(
        "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (value, table)
    ).rowcount
    if not changed:
        connection.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, value))
