"""What :mod:`benchmarks.documents` measures, in calls that both DocEX packages have. Prints figures as JSON.

Run in a process of its own, so that either package can be in its own environment: ``documents_load.py sqlite 1000
5000`` with numbers of documents at which adding is measured; for PostgreSQL a URL in place of ``sqlite``.
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

ADDS = 200  # timed at each size
FINDS = 100  # timed each; PostgreSQL makes up its mind about a plan in the first ten
MANY = 100_000  # documents, of which there are so many only where directories can be added


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


def main(target: str, sizes: list[int]) -> None:
    """Fill a basket and measure on the way."""
    logging.disable(logging.CRITICAL)  # a log line per statement is not what is compared
    directory = tempfile.mkdtemp(dir=os.getcwd())
    os.chdir(directory)
    os.environ["DOCEX_HOME"] = os.environ["HOME"] = directory
    from docex import DocEX
    from docex.context import UserContext

    DocEX.setup(
        database=database(target, directory),
        storage={"type": "filesystem", "filesystem": {"path": f"{directory}/documents"}},
        security={"multi_tenancy_model": "database_level", "tenant_database_routing": True},
        logging={"level": "ERROR"},
    )
    docex = DocEX(user_context=UserContext(user_id="alice", tenant_id=f"first_{os.getpid()}"))
    basket = docex.create_basket("invoices")
    made = 0

    def files(count: int) -> list[tuple[str, int]]:
        nonlocal made
        paths = []
        for _ in range(count):
            path = f"{directory}/in-{made}.txt"
            with open(path, "wb") as file:
                file.write((f"document {made} of a benchmark " * 40).encode()[:1024])
            paths.append((path, made))
            made += 1
        return paths

    def add(given: list[tuple[str, int]]) -> None:
        for path, number in given:
            basket.add(path, metadata={"number": number})

    figures: dict[str, float] = {}
    for size in sizes:
        add(files(max(0, size - made)))
        given = files(ADDS)
        start = time.perf_counter()
        add(given)
        figures[f"add, {size} there (per second)"] = ADDS / (time.perf_counter() - start)
    count = len(basket.list_documents())
    figures[f"list all {count} (ms)"] = timed(basket.list_documents, 9) * 1e3
    wanted = {"number": count // 2}
    figures["find by metadata, one hit (ms)"] = timed(lambda: basket.find_documents_by_metadata(wanted), FINDS) * 1e3
    if hasattr(basket, "search"):
        directory_of("some", 2000)
        figures["add_directory (files per second)"] = 2000 / timed(lambda: basket.add_directory("some"), 1)
        directory_of("rest", MANY - count - 2000)
        basket.add_directory("rest")
        given = files(ADDS)
        figures[f"add, {MANY} there (per second)"] = ADDS / timed(lambda: add(given), 1)
        figures[f"find by metadata, {MANY} there (ms)"] = (
            timed(lambda: basket.find_documents_by_metadata(wanted), FINDS) * 1e3
        )
        figures[f"full text over {MANY}, a word of all, ten best (ms)"] = timed(lambda: basket.search("of"), 9) * 1e3
        two = f"file {MANY // 2}"
        figures[f"full text over {MANY}, two words, ten best (ms)"] = timed(lambda: basket.search(two), 9) * 1e3

    def opened(number: int) -> Any:
        return DocEX(user_context=UserContext(user_id="alice", tenant_id=f"other_{os.getpid()}_{number}"))

    docex.close()

    def provision(number: int) -> float:
        start = time.perf_counter()
        one = opened(number)
        one.list_baskets()
        elapsed = time.perf_counter() - start
        one.close()
        return elapsed

    figures["provision on first access (ms)"] = statistics.median(provision(n) for n in range(6)) * 1e3
    switches = []
    for turn in range(40):
        start = time.perf_counter()
        one = opened(turn % 6)
        one.list_baskets()
        one.close()
        switches.append(time.perf_counter() - start)
    figures["switch tenant and list its baskets (ms)"] = statistics.median(switches) * 1e3
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1], [int(size) for size in sys.argv[2:]])
