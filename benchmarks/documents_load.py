"""What :mod:`benchmarks.documents` measures, in calls that both DocEX packages have.

Run in a process of its own, so that either package can be in its own environment: ``documents_load.py sqlite``, or a
URL of PostgreSQL in place of ``sqlite``. It answers each line of its input, a JSON list of a method of :class:`Load`
and its arguments, with a line: what the method returned. Times are in seconds.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

TENANTS = 6  # switched between


def timed(work: Callable[[], object], rounds: int) -> float:
    """The median of some rounds, in seconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def database(target: str, directory: str) -> dict[str, Any]:
    """The section ``database`` of the configuration."""
    if target == "sqlite":
        template = f"{directory}/storage/tenant_{{tenant_id}}/docex.db"
        return {"type": "sqlite", "sqlite": {"path": f"{directory}/docex.db", "path_template": template}}
    url = urlsplit(target)
    socket = parse_qs(url.query).get("host", [url.hostname])[0]
    if socket and socket.startswith("/") and importlib.util.find_spec("tenantry") is None:
        os.environ["PGHOST"], socket = socket, ""  # the public package cannot name a directory; its driver looks here
    values = {"host": socket, "port": url.port or 5432, "database": url.path[1:], "user": url.username}
    return {"type": "postgres", "postgres": {**values, "password": url.password or ""}, "echo": False}


def directory_of(name: str, count: int) -> None:
    """A directory of so many small files."""
    os.mkdir(name)
    for number in range(count):
        with open(f"{name}/{number}.txt", "wb") as file:
            file.write((f"file {number} of the directory {name} " * 40).encode()[:1024])


class Load:
    """One tenant with one basket, and a few other tenants."""

    def __init__(self, target: str) -> None:
        self.directory = tempfile.mkdtemp(dir=os.getcwd())
        os.chdir(self.directory)
        os.environ["DOCEX_HOME"] = os.environ["HOME"] = self.directory
        from docex import DocEX

        DocEX.setup(
            database=database(target, self.directory),
            storage={"type": "filesystem", "filesystem": {"path": f"{self.directory}/documents"}},
            security={"multi_tenancy_model": "database_level", "tenant_database_routing": True},
            logging={"level": "ERROR"},
        )
        self.docex = self._opened("first")
        self.basket = self.docex.create_basket("invoices")
        self.added = self.switched = self.directories = 0

    def _opened(self, name: object) -> Any:
        from docex import DocEX
        from docex.context import UserContext

        return DocEX(user_context=UserContext(user_id="alice", tenant_id=f"{name}_{os.getpid()}"))

    def add(self, count: int) -> float:
        """Add so many documents, one by one."""
        given = []
        for number in range(self.added, self.added + count):
            path = f"{self.directory}/in-{number}.txt"
            with open(path, "wb") as file:
                file.write((f"document {number} of a benchmark " * 40).encode()[:1024])
            given.append((path, number))
        self.added += count
        start = time.perf_counter()
        for path, number in given:
            self.basket.add(path, metadata={"number": number})
        return time.perf_counter() - start

    def listed(self) -> float:
        """List all documents, which must be as many as were added."""
        start = time.perf_counter()
        found = self.basket.list_documents()
        elapsed = time.perf_counter() - start
        if len(found) != self.added:
            raise RuntimeError(f"{len(found)} documents were listed, {self.added} added.")
        return elapsed

    def find(self, rounds: int) -> float:
        """Find one document by its metadata; the median of some rounds."""
        wanted = {"number": self.added // 2}
        return timed(lambda: self.basket.find_documents_by_metadata(wanted), rounds)

    def add_directory(self, count: int) -> float:
        """Add a directory of so many files; only where a basket can."""
        self.directories += 1
        directory_of(f"directory-{self.directories}", count)
        start = time.perf_counter()
        self.basket.add_directory(f"directory-{self.directories}")
        return time.perf_counter() - start

    def search(self, words: str, rounds: int) -> float:
        """Search the texts for the ten best; only where a basket can. The median of some rounds."""
        return timed(lambda: self.basket.search(words), rounds)

    def leave(self) -> float:
        """Close the first tenant: the public package knows one at a time."""
        self.docex.close()
        return 0.0

    def provision(self, number: int) -> float:
        """Reach a new tenant for the first time."""
        start = time.perf_counter()
        one = self._opened(number)
        one.list_baskets()
        elapsed = time.perf_counter() - start
        one.close()
        return elapsed

    def switch(self, rounds: int) -> float:
        """Open a tenant after another, list its baskets and close it; the median of some rounds."""

        def switch() -> None:
            self.switched += 1
            one = self._opened(self.switched % TENANTS)
            one.list_baskets()
            one.close()

        return timed(switch, rounds)


def main(target: str) -> None:
    """Do what the lines of the input say, until it ends."""
    logging.disable(logging.CRITICAL)  # a log line per statement is not what is compared
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a package prints is no answer
    load = Load(target)
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        print(json.dumps(getattr(load, method)(*arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
