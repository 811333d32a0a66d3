"""`make bench`: run every benchmark on this machine and write benchmarks/RESULTS.md.

`make bench PARTS="sessions http"` measures those anew and keeps the rest. The embedded server runs with its own
settings, durable as in use. Figures of one section compare with each other only.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psycopg
import sqlalchemy as sa
from psycopg import sql
from rich.console import Console

from benchmarks import (
    archive,
    documents,
    http,
    laboratory,
    laboratory_load,
    memory,
    provisioning,
    resolution,
    rollout,
    sessions,
    startup,
)
from benchmarks.timing import Figure
from tenantry.embedded import EmbeddedPostgres

RESULTS = Path(__file__).parent / "RESULTS.md"
SCRATCH = Path(__file__).parents[1] / ".bench"
console = Console(stderr=True)


def main() -> None:
    """Run everything, or the parts that are named on the command line, and write the results."""
    parts: dict[str, Callable[[str], str]] = {
        "provisioning": _provisioning,
        "sessions": _sessions,
        "memory": _memory,
        "startup": _startup,
        "resolution": _resolution,
        "http": _http,
        "laboratory": _laboratory,
        "laboratory_load": _laboratory_load,
        "archive": _archive,
        "fleet": _fleet,
        "growth": _growth,
        "standby": _standby,
        "documents": _documents,
    }
    chosen = sys.argv[1:] or list(parts)
    if unknown := sorted(set(chosen) - set(parts)):
        sys.exit(f"error: there is no part {', '.join(unknown)}; choose from {', '.join(parts)}.")
    SCRATCH.mkdir(exist_ok=True)
    os.chdir(SCRATCH)
    server = EmbeddedPostgres(SCRATCH / "postgres")
    try:
        url = server.start()
        for name in chosen:
            # What was measured is kept when a later part fails.
            write(_header(url), f"{parts[name](url).rstrip()}\n\n{datetime.now(UTC):%Y-%m-%d}\n")
    finally:
        server.stop()
    console.print(f"written: {RESULTS}")


def write(header: str, section: str) -> None:
    """Put a section in the place of the one with its heading, or behind the others."""
    kept = ["## " + text for text in RESULTS.read_text().split("\n## ")[1:]] if RESULTS.exists() else []
    heading = section.partition("\n")[0]
    place = next((number for number, text in enumerate(kept) if text.partition("\n")[0] == heading), len(kept))
    kept[place : place + 1] = [section]
    RESULTS.write_text("\n".join([header, *(text.rstrip("\n") + "\n" for text in kept)]))


@contextmanager
def database(url: str, name: str) -> Iterator[str]:
    """An empty database for one benchmark."""
    console.print(f"running: {name}")
    plain = sa.make_url(url).set(drivername="postgresql")
    with psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield plain.set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _header(url: str) -> str:
    with psycopg.connect(sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)) as server:
        postgres = server.info.server_version // 10_000
    packages = ", ".join(f"{name} {version(name)}" for name in ("sqlalchemy", "alembic", "psycopg"))
    cores, memory_size = os.cpu_count(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        "# Benchmarks\n\n"
        "Made by `make bench`. Each variant in turn, round after round; a figure is a median, a ratio the median of\n"
        "the ratios round by round. Figures of one section compare with each other only.\n\n"
        f"{cores} cores ({platform.machine()}), {memory_size:.0f} GiB, "
        f"{platform.system()};\n"
        f"Python {platform.python_version()}, {packages}, PostgreSQL {postgres} (embedded, durable), "
        f"SQLite {sqlite3.sqlite_version}.\n"
    )


def _table(figures: list[Figure], unit: float, name: str) -> str:
    lines = [f"| | {name} | x floor |", "| --- | ---: | ---: |"]
    lines += [f"| {figure.name} | {figure.median * unit:.3g} | {figure.ratio:.3f} |" for figure in figures]
    return "\n".join(lines) + f"\n\n{figures[0].rounds} rounds.\n"


def _documents(url: str) -> str:
    with database(url, "bench_documents") as own:
        return documents.section({"SQLite": "sqlite", "PostgreSQL": own})


def _fleet(url: str) -> str:
    return rollout.section(lambda name: database(url, name))


def _growth(url: str) -> str:
    return rollout.growth_section(lambda name: database(url, name))


def _standby(url: str) -> str:
    return rollout.standby_section(lambda name: database(url, name))


def _provisioning(url: str) -> str:
    with database(url, "bench_provisioning") as fresh:
        on_postgres = provisioning.on_postgres(fresh, rounds=12)
    on_sqlite = provisioning.on_sqlite(rounds=40)
    return (
        "## One new tenant\n\n30 tables, 240 columns, 44 foreign keys, 63 further indexes in 12 revisions;\n"
        f"ours with its record, journal, role and grants. {provisioning.BATCH} are made in a row.\n"
        "To hold: <= 1.0 on PostgreSQL, <= 0.25 on SQLite.\n\n"
        f"PostgreSQL\n\n{_table(on_postgres, 1_000, 'ms')}\nSQLite\n\n{_table(on_sqlite, 1_000, 'ms')}"
    )


def _sessions(url: str) -> str:
    parts = [
        "## One row by key, another tenant every time\n\nA session opened, BEGIN, one SELECT, COMMIT. "
        "To hold: <= 1.1 of the floor, and faster than schema_translate_map.\n"
    ]
    for count in (50, 400):
        with database(url, f"bench_sessions_{count}") as fresh:
            figures = sessions.reading(fresh, count=count, rounds=120)
        parts.append(f"{count:,} tenants\n\n{_table(figures, 1_000_000, 'us')}")
        with database(url, f"bench_async_{count}") as fresh:
            figures = sessions.reading_async(fresh, count=count, rounds=120)
        parts.append(f"{count:,} tenants, asyncio\n\n{_table(figures, 1_000_000, 'us')}")
    return "\n".join(parts)


def _resolution(url: str) -> str:
    parts = [
        "## A request led to its tenant\n\nA FastAPI route that does nothing, with the headers of a browser; the "
        "tenant known. To hold: < 1.05 of the\nserved request.\n"
    ]
    with database(url, "bench_resolution") as fresh:
        measured = {"PostgreSQL": resolution.measure(fresh, rounds=120)}
    with tempfile.TemporaryDirectory() as root:
        measured["SQLite"] = resolution.measure(root, rounds=120)
    for name, (served, in_place) in measured.items():
        parts.append(f"{name}, served by uvicorn\n\n{_table(served, 1_000_000, 'us')}")
        parts.append(f"{name}, called in place\n\n{_table(in_place, 1_000_000, 'us')}")
        added = in_place[1].median - in_place[0].median
        parts.append(
            f"By header {added * 1_000_000:.1f} us are added: {added / served[0].median:.1%} of the served request.\n"
        )
    with database(url, "bench_telling") as fresh:
        told, delay = resolution.telling(fresh, rounds=60)
    parts.append(f"A tenant's record changed, and listeners told of it\n\n{_table(told, 1_000_000, 'us')}")
    parts.append(f"A listener knows {delay * 1_000:.2g} ms after the commit.\n")
    return "\n".join(parts)


def _http(url: str) -> str:
    with database(url, "bench_http") as fresh, tempfile.TemporaryDirectory() as home:
        pages, smallest, seconds = http.measure(fresh, Path(home))
    lines = [
        f"| {name} | {load.per_second:,.0f} | {load.median * 1_000:.1f} | {load.p99 * 1_000:.1f} |"
        for name, load in (("`GET /tenants`, 100 of 10,000", pages), ("`GET /auth/me`", smallest))
    ]
    return (
        "## The platform over HTTP\n\n`tenantry serve --workers 2`, 4 clients; client, server and database share the "
        "processors.\nTo hold: >= 300 requests/s with p99 < 50 ms; all provisionings active.\n\n"
        "| | requests/s | median, ms | p99, ms |\n| --- | ---: | ---: | ---: |\n"
        + "\n".join(lines)
        + f"\n\n{http.AT_ONCE} provisionings asked at once were all active after {seconds:.1f} s.\n"
    )


def _memory(url: str) -> str:
    with database(url, "bench_memory") as fresh:
        figures = memory.resident(fresh)
    lines = [f"| | {memory.FEW} tenants, MB | {memory.MANY:,} tenants, MB | ratio |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {kind} | {few / 1e6:.1f} | {many / 1e6:.1f} | {many / few:.2f} |" for kind, (few, many) in figures.items()
    ]
    return (
        "## Memory\n\nResident memory of a process after 2,000 transactions. To hold: <= 1.3.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def _archive(url: str) -> str:
    with database(url, "bench_archive") as fresh:
        savings = archive.measure(fresh)
        small, large = archive.resident(fresh)
    lines = [
        "| tenants | backup, s | restore, s | `pg_dump -n`, s | x faster |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in savings:
        seconds = f"{one.backup:.3f} | {one.restore:.3f} | {one.pg_dump:.2f}"
        lines.append(f"| {one.tenants:,} | {seconds} | {one.ratio:.0f} |")
    return (
        f"## One tenant saved\n\n31 tables, {archive.ROWS:,} rows, of one tenant among others; "
        "medians, of pg_dump among many one run.\n"
        f"To hold: >= 50 x faster than pg_dump at {archive.TENANTS:,} tenants.\n\n"
        + "\n".join(lines)
        + f"\n\nA process that saves and restores holds at most {small / 1e6:.0f} MB for {archive.ROWS:,} rows, "
        f"{large / 1e6:.0f} MB for {archive.GROWN:,}.\n"
    )


def _laboratory(url: str) -> str:
    with database(url, "bench_laboratory") as fresh:
        return laboratory.told(laboratory.measure(fresh))


def _laboratory_load(url: str) -> str:
    with database(url, "bench_laboratory_load") as fresh:
        return laboratory_load.told(laboratory_load.measure(fresh))


def _startup(_: str) -> str:
    console.print("running: commands")
    lines = ["| command | s |", "| --- | ---: |"]
    lines += [f"| `{command}` | {seconds:.2f} |" for command, seconds in startup.commands().items()]
    return "## Commands\n\nFrom the shell, the server up. To hold: < 0.5 s.\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
