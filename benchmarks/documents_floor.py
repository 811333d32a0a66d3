"""What :mod:`benchmarks.documents` measures, done by SQL alone: a file, and the rows of a document in the tables and
indexes that a tenant of DocEX has; no duplicates, events, quotas, full text or audit trail.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
import time
from types import TracebackType
from typing import Any
from uuid import uuid4

import psycopg

from benchmarks.documents_load import database, timed
from docex.services.details import PACKED

COLUMNS = "id, name, path, content_type, document_type, size, checksum, status, created_at, updated_at"


class Floor:
    """A tenant made by DocEX, written and read without it. Called like a process of a package: a method of
    :class:`~benchmarks.documents_load.Load` and its arguments; returns seconds.
    """

    def __init__(self, target: str) -> None:
        from docex import DocEX, UserContext

        self.directory, before = tempfile.mkdtemp(dir=os.getcwd()), os.getcwd()
        os.chdir(self.directory)
        os.environ["DOCEX_HOME"] = self.directory
        try:
            DocEX.setup(
                database=database(target, self.directory),
                security={"multi_tenancy_model": "database_level", "tenant_database_routing": True},
            )
            with DocEX(UserContext("alice", tenant_id="floor")) as docex:
                self.basket = docex.create_basket("invoices").id
            DocEX.reset()
        finally:
            os.chdir(before)
        self.connection: Any
        self.postgres = target != "sqlite"
        if self.postgres:
            self.connection = psycopg.connect(target, autocommit=True, options="-c search_path=tenant_floor")
        else:
            self.connection = sqlite3.connect(f"{self.directory}/storage/tenant_floor/docex.db", isolation_level=None)
        self.added = 0

    def __enter__(self) -> Floor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def __call__(self, method: str, *arguments: int) -> float:
        seconds: float = getattr(self, method)(*arguments)
        return seconds

    def add(self, count: int) -> float:
        """A file and a transaction for each."""
        start = time.perf_counter()
        for _ in range(count):
            descriptor, text = self._written()
            os.fsync(descriptor)
            os.close(descriptor)
            self._execute("BEGIN")
            for statement, values in _rows(self.basket, self.added, text):
                self._execute(statement, *values)
            self._execute("COMMIT")
        return time.perf_counter() - start

    def add_directory(self, count: int) -> float:
        """All rows in one transaction; nobody waits for an answer between two of them."""
        start = time.perf_counter()
        rows = []
        for _ in range(count):
            descriptor, text = self._written()
            os.close(descriptor)
            rows.append(_rows(self.basket, self.added, text))
        os.sync()
        cursor = self.connection.cursor()
        cursor.execute("BEGIN")
        for of_table in zip(*rows, strict=True):
            cursor.executemany(self._marked(of_table[0][0]), [values for _, values in of_table])
        cursor.execute("COMMIT")
        return time.perf_counter() - start

    def listed(self) -> float:
        """One SELECT of what a list shows, most of it as one text, in the order in which it came."""
        shown = ", ".join(map(str, PACKED["postgresql" if self.postgres else "sqlite"]))
        last = 'document.id COLLATE "C"' if self.postgres else "document.id"
        query = f"SELECT {shown} FROM document WHERE basket_id = ? ORDER BY created_at, {last}"
        return timed(lambda: self._execute(query, self.basket).fetchall(), 1)

    def find(self, rounds: int) -> float:
        """One SELECT through the index of metadata."""
        query = (
            f"SELECT {COLUMNS} FROM document WHERE id IN (SELECT document_id FROM document_metadata"
            " WHERE key = 'number' AND substr(value, 1, 256) = ?)"
        )
        return timed(lambda: self._execute(query, str(self.added // 2)).fetchall(), rounds)

    def switch(self, rounds: int) -> float:
        """One transaction of another tenant on a connection that is there, and one SELECT in it."""

        def switch() -> None:
            self._execute("BEGIN")
            if self.postgres:
                self._execute("SET LOCAL search_path TO tenant_floor")
            self._execute("SELECT id, name, description, storage_config, status FROM docbasket").fetchall()
            self._execute("COMMIT")

        return timed(switch, rounds)

    def _written(self) -> tuple[int, str]:
        self.added += 1
        content = (f"document {self.added} of a benchmark " * 40).encode()[:1024]
        descriptor = os.open(f"{self.directory}/{self.added}.txt", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, content)
        return descriptor, content.decode()

    def _execute(self, statement: str, *values: object) -> Any:
        return self.connection.execute(self._marked(statement), values)

    def _marked(self, statement: str) -> str:
        return statement.replace("?", "%s") if self.postgres else statement


def _rows(basket: str, number: int, text: str) -> list[tuple[str, tuple[object, ...]]]:
    document, moment, checksum = f"doc_{uuid4().hex}", "2026-01-01 00:00:00.000000", uuid4().hex * 2
    content = json.dumps({"content": text})
    metadata = (f"dmt_{uuid4().hex}", document, moment, moment)
    return [
        (
            "INSERT INTO document (id, basket_id, name, source, path, content, raw_content, size, checksum, status,"
            " created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, 1024, ?, 'RECEIVED', ?, ?)",
            (document, basket, "a.txt", "a.txt", "a.txt", content, text, checksum, moment, moment),
        ),
        (
            "INSERT INTO document_metadata (id, document_id, key, value, created_at, updated_at)"
            " VALUES (?, ?, 'original_filename', '\"a.txt\"', ?, ?), (?, ?, 'number', ?, ?, ?)",
            (*metadata, f"dmt_{uuid4().hex}", document, str(number), moment, moment),
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
