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
from uuid import uuid4

LOAD = Path(__file__).with_name("documents_load.py")
PUBLIC = "DOCEX_PUBLIC_PYTHON"
SIZES = {"sqlite": ("0", "5000"), "postgresql": ("0", "2000")}
FLOOR = 400  # documents
LIMIT = 900  # seconds that one package may take


def measure(interpreter: str, target: str) -> dict[str, float]:
    """The figures of the package that an interpreter finds as ``docex``."""
    kind = "sqlite" if target == "sqlite" else "postgresql"
    with tempfile.TemporaryDirectory(dir=os.getcwd()) as directory:
        command = [interpreter, str(LOAD), target, *SIZES[kind]]
        ran = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=LIMIT, check=False)
    if ran.returncode != 0:
        raise RuntimeError(f"{interpreter} could not run {LOAD.name}: {ran.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(ran.stdout.strip().splitlines()[-1])
    return figures


def floor() -> float:
    """Documents a second that sqlite3 itself takes in: a synced file, and the rows with all indexes of a tenant."""
    from docex import DocEX, UserContext

    with tempfile.TemporaryDirectory(dir=os.getcwd()) as directory:
        before = os.getcwd()
        os.chdir(directory)
        os.environ["DOCEX_HOME"] = directory
        try:
            DocEX.setup(security={"multi_tenancy_model": "database_level", "tenant_database_routing": True})
            with DocEX(UserContext("alice", tenant_id="floor")) as docex:
                basket = docex.create_basket("invoices").id
            DocEX.reset()
            connection = sqlite3.connect("storage/tenant_floor/docex.db", isolation_level=None)
            start = time.perf_counter()
            for number in range(FLOOR):
                _one(connection, basket, number)
            elapsed = time.perf_counter() - start
            connection.close()
            return FLOOR / elapsed
        finally:
            os.chdir(before)


def _one(connection: sqlite3.Connection, basket: str, number: int) -> None:
    content = (f"document {number} of a benchmark " * 40).encode()[:1024]
    descriptor = os.open(f"{number}.txt", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, content)
    os.fsync(descriptor)
    os.close(descriptor)
    document, text, moment = f"doc_{uuid4().hex}", content.decode(), "2026-01-01 00:00:00.000000"
    checksum = uuid4().hex * 2
    for statement, values in (
        ("BEGIN IMMEDIATE", ()),
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
            (f"dmt_{uuid4().hex}", document, moment, moment, f"dmt_{uuid4().hex}", document, number, moment, moment),
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
        ("COMMIT", ()),
    ):
        connection.execute(statement, values)


def section(targets: dict[str, str]) -> str:
    """The section for RESULTS.md; ``targets`` are ``sqlite`` and a URL, by the name of the database."""
    public = os.environ.get(PUBLIC)
    lines = [
        "## Documents",
        "",
        "Documents of 1 KiB, one `add` and so one durable transaction each. To hold: 10 x the public package (2.9.10).",
        "",
    ]
    for name, target in targets.items():
        ours = measure(sys.executable, target)
        theirs = measure(public, target) if public else {}
        print(json.dumps({name: [ours, theirs]}), file=sys.stderr, flush=True)  # should a later one fail
        lines += [f"{name}", "", "| | ours | public package | ours is better by |", "| --- | ---: | ---: | ---: |"]
        for figure, value in ours.items():
            other = theirs.get(figure)
            better = "" if other is None else f"{value / other if 'second' in figure else other / value:.1f} x"
            lines.append(f"| {figure} | {value:,.2f} | {'' if other is None else f'{other:,.2f}'} | {better} |")
        if target == "sqlite":
            lines.append(
                f"| floor: the eleven tables' rows by sqlite3, and a synced file (per second) | {floor():,.2f} | | |"
            )
        lines.append("")
    if not public:
        lines += [f"The public package was not run: {PUBLIC} names no interpreter.", ""]
    return "\n".join(lines)
