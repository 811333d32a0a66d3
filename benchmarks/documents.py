"""DocEX beside the public package of that name, and beside raw SQL with a file write: one run, one machine.

Both packages run :mod:`benchmarks.documents_load`, which calls only what both have. The public package needs an
environment of its own: name its interpreter in ``DOCEX_PUBLIC_PYTHON`` (``pip install docex==2.9.10 psycopg[binary]``
into a venv of Python 3.13). Without it, ours is measured alone.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from benchmarks.documents_load import FINDS, database, timed

LOAD = Path(__file__).with_name("documents_load.py")
PUBLIC = "DOCEX_PUBLIC_PYTHON"
SIZES = ("0", "5000", "9800")  # documents that are there when adding is timed; 10,000 are listed
LISTED = 10_000
FLOOR = 400  # documents
SINGLE, DIRECTORY = "add, 5000 there (per second)", "add_directory (files per second)"
FIRST, LAST = "add, 0 there (per second)", "add, 9800 there (per second)"
SWITCH = "switch tenant and list its baskets (ms)"
WANTED = {DIRECTORY: 30, SWITCH: 20}  # times the public package; everything else that both have 10 times
LIMIT = 900  # seconds that one package may take


def measure(interpreter: str, target: str) -> dict[str, float]:
    """The figures of the package that an interpreter finds as ``docex``."""
    directory = tempfile.mkdtemp(dir=os.getcwd())
    command = [interpreter, str(LOAD), target, *SIZES]
    ran = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=LIMIT, check=False)
    if ran.returncode != 0:
        raise RuntimeError(f"{interpreter} could not run {LOAD.name}: {ran.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(ran.stdout.strip().splitlines()[-1])
    return figures


def floor(target: str) -> dict[str, float]:
    """The same by SQL alone, without DocEX: a file, and the rows of the eleven tables with all indexes of a tenant."""
    from docex import DocEX, UserContext

    directory, before = tempfile.mkdtemp(dir=os.getcwd()), os.getcwd()
    os.chdir(directory)
    os.environ["DOCEX_HOME"] = directory
    try:
        DocEX.setup(
            database=database(target, directory),
            security={"multi_tenancy_model": "database_level", "tenant_database_routing": True},
        )
        with DocEX(UserContext("alice", tenant_id="floor")) as docex:
            basket = docex.create_basket("invoices").id
        DocEX.reset()
        if target == "sqlite":
            return _floor(sqlite3.connect("storage/tenant_floor/docex.db", isolation_level=None), basket, "?")
        with psycopg.connect(target, autocommit=True, options="-c search_path=tenant_floor") as connection:
            return _floor(connection, basket, "%s")
    finally:
        os.chdir(before)


def _floor(connection: Any, basket: str, mark: str) -> dict[str, float]:
    def written(number: int) -> tuple[int, str]:
        content = (f"document {number} of a benchmark " * 40).encode()[:1024]
        descriptor = os.open(f"{number}.txt", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, content)
        return descriptor, content.decode()

    start = time.perf_counter()
    for number in range(FLOOR):
        descriptor, text = written(number)
        os.fsync(descriptor)
        os.close(descriptor)
        connection.execute("BEGIN")
        for statement, values in _rows(basket, number, text):
            connection.execute(statement.replace("?", mark), values)
        connection.execute("COMMIT")
    added = FLOOR / (time.perf_counter() - start)

    start = time.perf_counter()
    rows = []
    for number in range(FLOOR, LISTED):
        descriptor, text = written(number)
        os.close(descriptor)
        rows.append(_rows(basket, number, text))
    os.sync()
    cursor = connection.cursor()
    cursor.execute("BEGIN")
    for of_table in zip(*rows, strict=True):  # nobody waits for an answer between two rows
        cursor.executemany(of_table[0][0].replace("?", mark), [values for _, values in of_table])
    cursor.execute("COMMIT")
    in_one = (LISTED - FLOOR) / (time.perf_counter() - start)

    columns = "id, name, path, content_type, document_type, size, checksum, status, created_at, updated_at"
    listed = f"SELECT {columns} FROM document WHERE basket_id = ? ORDER BY created_at DESC, id DESC"
    found = (
        f"SELECT {columns} FROM document WHERE id IN (SELECT document_id FROM document_metadata"
        " WHERE key = 'number' AND substr(value, 1, 256) = ?)"
    )
    return {
        "add, 0 there (per second)": added,
        "add_directory (files per second)": in_one,
        f"list all {LISTED} (ms)": 1e3
        * timed(lambda: connection.execute(listed.replace("?", mark), (basket,)).fetchall(), 9),
        "find by metadata, one hit (ms)": 1e3
        * timed(lambda: connection.execute(found.replace("?", mark), (str(LISTED // 2),)).fetchall(), FINDS),
        SWITCH: 1e3 * timed(lambda: _switched(connection, postgres=mark == "%s"), 40),
    }


def _switched(connection: Any, *, postgres: bool) -> None:
    """One transaction of another tenant on a connection that is there, and one SELECT in it."""
    connection.execute("BEGIN")
    if postgres:
        connection.execute("SET LOCAL search_path TO tenant_floor")
    connection.execute("SELECT id, name, description, storage_config, status FROM docbasket").fetchall()
    connection.execute("COMMIT")


def _rows(basket: str, number: int, text: str) -> list[tuple[str, tuple[object, ...]]]:
    document, moment, checksum = f"doc_{uuid4().hex}", "2026-01-01 00:00:00.000000", uuid4().hex * 2
    return [
        (
            "INSERT INTO document (id, basket_id, name, source, path, content, raw_content, size, checksum, status,"
            " created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, 1024, ?, 'RECEIVED', ?, ?)",
            (
                document,
                basket,
                "a.txt",
                "a.txt",
                "a.txt",
                json.dumps({"content": text}),
                text,
                checksum,
                moment,
                moment,
            ),
        ),
        (
            "INSERT INTO document_metadata (id, document_id, key, value, created_at, updated_at)"
            " VALUES (?, ?, 'original_filename', '\"a.txt\"', ?, ?), (?, ?, 'number', ?, ?, ?)",
            (
                f"dmt_{uuid4().hex}",
                document,
                moment,
                moment,
                f"dmt_{uuid4().hex}",
                document,
                str(number),
                moment,
                moment,
            ),
        ),
        (
            "INSERT INTO file_history (id, document_id, internal_path, created_at) VALUES (?, ?, 'a.txt', ?)",
            (f"fhi_{uuid4().hex}", document, moment),
        ),
        (
            "INSERT INTO operations (id, document_id, operation_type, status, created_at)"
            " VALUES (?, ?, 'ADD', 'success', ?)",
            (f"ope_{uuid4().hex}", document, moment),
        ),
    ]


def section(targets: dict[str, str]) -> str:
    """The section for RESULTS.md; ``targets`` are ``sqlite`` and a URL, by the name of the database."""
    # Emptied at the very end: a file system that has just removed thousands of files makes new ones more slowly, and
    # the package that comes next would pay for it.
    with tempfile.TemporaryDirectory(dir=os.getcwd()) as directory:
        before = os.getcwd()
        os.chdir(directory)
        try:
            return _section(targets)
        finally:
            os.chdir(before)


def _beyond(ours: dict[str, float], theirs: dict[str, float], least: dict[str, float]) -> list[str]:
    """Of every figure that is not what is wanted, what that would be, and where the floor is."""
    least = {**least, SINGLE: least[FIRST], LAST: least[FIRST]}
    said = []
    for figure, value in ours.items():
        if figure not in theirs or figure not in least:
            continue
        rate, times = "second" in figure, WANTED.get(figure, 10)
        wanted = theirs[figure] * times if rate else theirs[figure] / times
        reached = value >= wanted if rate else value <= wanted
        if not reached:
            said.append(f"{figure}: {times} x would be {wanted:,.2f}, the floor is {least[figure]:,.2f}.")
    return [" ".join(said)] if said else []


def _section(targets: dict[str, str]) -> str:
    public = os.environ.get(PUBLIC)
    lines = [
        "## Documents",
        "",
        "Documents of 1 KiB, one `add` and so one durable transaction each. To hold: 10 x the public package (2.9.10),",
        "30 x for directories beside its single adds at 5,000 documents, 20 x for switching tenants, 50 ms for full",
        "text. Floor: SQL alone on the same tables and a file for each document, without duplicates, events, quotas,",
        "full text or an audit trail; a directory's rows in one transaction, sent without waiting, and synced once; a",
        "tenant switched on a connection that is open. Each runs once, one after the other: from run to run a figure",
        "moves by a third and more.",
        "",
    ]
    for name, target in targets.items():
        ours = measure(sys.executable, target)
        theirs = measure(public, target) if public else {}
        least = floor(target)
        print(json.dumps({name: [ours, theirs, least]}), file=sys.stderr, flush=True)  # should a later one fail
        # A directory goes in as single files there.
        alike = {DIRECTORY: theirs[SINGLE], **theirs} if theirs else {}
        lines += [
            name,
            "",
            "| | ours | public package | ours is better by | floor |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        for figure, value in ours.items():
            other, bound = alike.get(figure), least.get(figure)
            better = "" if other is None else f"{value / other if 'second' in figure else other / value:.1f} x"
            shown = ["" if number is None else f"{number:,.2f}" for number in (value, other, bound)]
            lines.append(f"| {figure} | {shown[0]} | {shown[1]} | {better} | {shown[2]} |")
        lines += ["", *_beyond(ours, alike, least), ""]
    if not public:
        lines += [f"The public package was not run: {PUBLIC} names no interpreter.", ""]
    return "\n".join(lines)
