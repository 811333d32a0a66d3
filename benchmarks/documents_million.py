"""DocEX among ever more documents of one tenant, up to a million: does it stay as quick?

Ten thousand documents come in by ``add_directory``. The others are copies of their rows in all tables, made by SQL
with ids, keys, names and times of their own, which is no part of what is measured; indexes and full text are filled
by the database as by an ``add``. Filling takes minutes and is kept in ``.bench``: ``fill`` and ``measure`` are two
runs, ``python -m benchmarks.documents_million fill`` (or ``measure``).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from benchmarks.documents_load import database, directory_of, timed

SCRATCH = Path(__file__).parents[1] / ".bench"
PLACE = SCRATCH / "million"
BASE = 10_000  # documents that come in as they do in use
SIZES = (10_000, 100_000, 1_000_000)
TENANT = "large"
ADDS, WARM = 200, 50  # timed, and before
KIND = "invoice-2024"  # of every document that was there before
TABLES = ("document", "document_metadata", "file_history", "operations", "doc_events", "audit_trail")
TIMES = {"created_at", "updated_at", "completed_at", "event_timestamp", "happened_at"}


def main(stage: str) -> None:
    """Fill both databases, or measure what was filled and write the section."""
    from tenantry.embedded import EmbeddedPostgres

    logging.disable(logging.CRITICAL)
    PLACE.mkdir(parents=True, exist_ok=True)
    os.chdir(SCRATCH)
    server = EmbeddedPostgres(SCRATCH / "postgres")
    try:
        url = server.start()
        plain = sa.make_url(url).set(drivername="postgresql")
        address = plain.render_as_string(hide_password=False)
        found: dict[str, dict[int, dict[str, float]]] = {"SQLite": {}, "PostgreSQL": {}}
        for name, figures in found.items():
            for size in SIZES:
                target = "sqlite"
                if name == "PostgreSQL":
                    target = plain.set(database=f"bench_million_{size}").render_as_string(hide_password=False)
                if stage == "fill":
                    if name == "PostgreSQL":
                        _database(address, f"bench_million_{size}")
                    fill(target, size)
                else:
                    figures[size] = measure(target, size)
                    print(name, size, figures[size], file=sys.stderr, flush=True)
        if stage == "measure":
            from benchmarks.__main__ import _header, write

            write(_header(url), f"{section(found)}\n{datetime.now(UTC):%Y-%m-%d}\n")
    finally:
        server.stop()


def _database(address: str, name: str) -> None:
    with psycopg.connect(address, autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


@contextmanager
def opened(target: str, size: int) -> Iterator[Any]:
    """The tenant's DocEX, in a directory of its own."""
    from docex import DocEX, UserContext

    before, directory = os.getcwd(), PLACE / f"{'sqlite' if target == 'sqlite' else 'postgres'}-{size}"
    directory.mkdir(exist_ok=True)
    os.chdir(directory)
    os.environ["DOCEX_HOME"] = str(directory)
    try:
        DocEX.setup(
            database=database(target, str(directory)),
            storage={"type": "filesystem", "filesystem": {"path": f"{directory}/documents"}},
            security={"multi_tenancy_model": "database_level", "tenant_database_routing": True},
            logging={"level": "ERROR"},
        )
        with DocEX(UserContext("alice", tenant_id=TENANT)) as docex:
            yield docex
        DocEX.reset()
    finally:
        os.chdir(before)


# -- filling -----------------------------------------------------------------------------------------------------------


def fill(target: str, size: int) -> None:
    """So many documents, unless they are there."""
    with opened(target, size) as docex:
        basket = docex.basket("invoices")
        start, there = time.monotonic(), docex.get_usage().documents
        if there >= size:
            return
        if there == 0:
            directory_of("files", BASE)
            basket.add_directory("files", metadata={"kind": KIND})
            there = BASE
    for copy in range(there // BASE, size // BASE):
        with _past(target) as execute:
            for statement in _copies(copy, sqlite=target == "sqlite"):
                execute(statement)
    with _past(target) as execute:
        execute("ANALYZE")
    print(f"{target.partition(':')[0]} {size}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


@contextmanager
def _past(target: str) -> Iterator[Callable[[str], object]]:
    """The tenant's database past DocEX, in one transaction that need not survive a power failure."""
    if target == "sqlite":
        file = PLACE / f"sqlite-{os.environ['DOCEX_HOME'].rpartition('-')[2]}" / "storage" / f"tenant_{TENANT}"
        connection = sqlite3.connect(file / "docex.db", isolation_level=None)
        for pragma in ("synchronous = OFF", "cache_size = -400000", "wal_autocheckpoint = 50000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        yield connection.execute
        connection.execute("COMMIT")
        connection.close()
        return
    with psycopg.connect(target, options=f"-c search_path=tenant_{TENANT} -c synchronous_commit=off") as server:
        yield server.execute


def _copies(copy: int, *, sqlite: bool) -> Iterator[str]:
    """Copies of the first documents, with everything that is unique made so and older by an hour for each copy."""
    from docex.models.schema import metadata

    mark = f"{copy:08x}"

    def value(table: str, column: str) -> str:
        if column in ("id", "document_id") and table != "document_text":
            return f"substr({column}, 1, 4) || '{mark}' || substr({column}, 13)"
        if column == "dedup_key":
            return f"'{mark}' || substr(dedup_key, 9)"
        if column in TIMES:
            if sqlite:
                return f"strftime('%Y-%m-%d %H:%M:%f000', {column}, '-{copy} hours')"
            return f"{column} - interval '{copy} hours'"
        if table == "document_metadata" and column in ("value", "word"):
            quote = '"' if column == "value" else ""
            rest = f"substr({column}, 2)" if column == "value" else column
            return f"CASE WHEN key = 'original_filename' THEN '{quote}{copy}-' || {rest} ELSE {column} END"
        return column

    # Those of the first documents, whose ids begin with a time of our days.
    for name in TABLES:
        names = [column.name for column in metadata.tables[name].c]
        chosen = ", ".join(value(name, column) for column in names)
        own = "id" if name == "document" else "document_id"
        yield f"INSERT INTO {name} ({', '.join(names)}) SELECT {chosen} FROM {name} WHERE {own} > 'doc_1'"
    document = f"substr(document_id, 1, 4) || '{mark}' || substr(document_id, 13)"
    if sqlite:
        shift = copy * BASE
        yield (
            "INSERT INTO document_text (id, document_id, body)"
            f" SELECT id + {shift}, {document}, body FROM document_text WHERE id <= {BASE}"
        )
        yield (
            "INSERT INTO document_fts (rowid, body)"
            f" SELECT id, body FROM document_body WHERE id > {shift} AND id <= {shift + BASE}"
        )
    else:
        yield (
            "INSERT INTO document_text (document_id, body, search)"
            f" SELECT {document}, body, search FROM document_text WHERE document_id > 'doc_1'"
        )
    yield f"UPDATE content SET refs = refs / {copy} * {copy + 1}"
    yield f"UPDATE usage SET documents = documents / {copy} * {copy + 1}, bytes = bytes / {copy} * {copy + 1}"


# -- measuring ---------------------------------------------------------------------------------------------------------


def measure(target: str, size: int) -> dict[str, float]:
    """What single calls take among so many documents."""
    with opened(target, size) as docex:
        basket = docex.basket("invoices")
        paths = []
        for number in range(ADDS + WARM):
            paths.append(f"in-{time.time_ns()}-{number}.txt")
            Path(paths[-1]).write_bytes((f"document {number} of {paths[-1]} " * 40).encode()[:1024])
        for number, path in enumerate(paths):
            if number == WARM:
                start = time.perf_counter()
            basket.add(path, metadata={"number": number})
        figures = {"add (per second)": ADDS / (time.perf_counter() - start)}
        last = f"{size // BASE - 1}-77.txt" if size > BASE else "77.txt"
        after = basket.page_documents(size=100).next
        figures |= {
            f"{name} (ms)": timed(work, 21) * 1e3  # a server plans a statement for good at the sixth time
            for name, work in {
                "find by metadata, one hit": lambda: basket.find_documents_by_metadata({"original_filename": last}),
                "list a page of 100": lambda: basket.list_documents(limit=100),
                "the page after it, by cursor": lambda: basket.page_documents(size=100, after=after),
                "full text, a word of all, ten best": lambda: basket.search("directory"),
                "full text, two words, ten best": lambda: basket.search("file 77"),
                "a prefix that all share, ten newest": lambda: basket.find_documents_where(
                    [("kind", "prefix", "invoice")], limit=10
                ),
            }.items()
        }
        return figures


def section(found: dict[str, dict[int, dict[str, float]]]) -> str:
    """The section for RESULTS.md."""
    lines = [
        "## Documents, up to a million",
        "",
        "One tenant with one basket, documents of 1 KiB, single calls. To hold: as quick among a million as among few.",
        "",
    ]
    for name, by_size in found.items():
        lines += [
            name,
            "",
            "| | " + " | ".join(f"{size:,}" for size in by_size) + " |",
            "| --- |" + " ---: |" * len(by_size),
        ]
        for figure in next(iter(by_size.values())):
            values = " | ".join(f"{figures[figure]:,.2f}" for figures in by_size.values())
            lines.append(f"| {figure} | {values} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1])
