"""What a process holds after it visited many tenants, beside one that visited few.

Run as a program it is such a process: it visits tenants that exist and prints its resident memory in bytes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.sessions import by_key, declare, table, tenants
from tenantry import PostgresSchemas, SqliteFiles
from tenantry.stores.base import Store

FEW, MANY = 10, 1_000  # tenants


def store(kind: str, where: str) -> Store:
    """The store of one kind: where is a URL or a directory."""
    return (
        PostgresSchemas(where, "org_{slug}", pool_size=2) if kind == "postgresql" else SqliteFiles(where, "{slug}.db")
    )


def resident(url: str) -> dict[str, tuple[int, int]]:
    """Resident memory in bytes after few and after many tenants, by kind of store."""
    figures: dict[str, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory() as directory:
        for kind, where in (("postgresql", url), ("sqlite", str(Path(directory) / "storage"))):
            tenants(store(kind, where), Path(directory) / "migrations", MANY).close()
            few, many = (_visitor(kind, where, directory, count) for count in (FEW, MANY))
            figures[kind] = (few, many)
    return figures


def _visitor(kind: str, where: str, directory: str, count: int) -> int:
    arguments = [sys.executable, "-m", "benchmarks.memory", kind, where, directory, str(count)]
    root = Path(__file__).parents[1]
    return int(subprocess.run(arguments, check=True, capture_output=True, text=True, cwd=root).stdout)


def visit(kind: str, where: str, directory: str, count: int) -> int:
    """Read a row of so many tenants in turn, 2,000 times; return this process' resident memory in bytes."""
    tenancy = declare(store(kind, where), Path(directory) / "migrations")
    statement = by_key(table())
    for number in range(2 * MANY):
        with tenancy.session(f"t{number % count}") as session:
            session.execute(statement, {"key": 7}).scalar_one()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS in /proc/self/status")


if __name__ == "__main__":
    print(visit(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
