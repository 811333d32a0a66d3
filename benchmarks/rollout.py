"""How long the whole fleet takes: one small revision for every tenant, and a deploy that migrates nothing.

The floor: psycopg sending the revision's DDL statement by statement, a transaction per tenant with its version row, on
one connection. The Alembic loop runs the same revision as Alembic does, on a part of the tenants; django-tenants is
measured on a part, too.

Run as a program it is a process that rolls out one revision and prints its highest resident memory in bytes.
"""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy as sa
from psycopg import sql

from benchmarks.fleet import MIGRATIONS, SMALL, peer
from benchmarks.timing import Figure, paired
from tenantry import Migrations, PostgresSchemas, SqliteFiles, Tenancy
from tenantry.fleet.standby import StandbyPool
from tenantry.migrations import online
from tenantry.migrations.plan import Plan
from tenantry.stores.base import Site
from tenantry.tenant import Tenant

ALEMBIC_PART = 40  # tenants of the Alembic loop, which is slow
MAKERS = 3  # threads that make the tenants, which is not measured
GROWTH = (100, 1_000, 10_000)  # tenants of five tables
FILES = 300  # tenants on SQLite
HEAD = "| | ms per tenant | s for all | x floor |\n| --- | ---: | ---: | ---: |\n"
LEDGER = 10_000  # tenants of a deploy that migrates nothing
FLOOR, ALEMBIC = "driver, statement by statement (floor)", "Alembic loop"

REVISION = '''"""Add a column."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "{revision}", "{before}"


def upgrade() -> None:
    op.add_column("account", sa.Column("extra_{revision}", sa.String(40)))
    op.create_index("ix_account_extra_{revision}", "account", ["extra_{revision}"])


def downgrade() -> None:
    op.drop_index("ix_account_extra_{revision}")
    op.drop_column("account", "extra_{revision}")
'''

APPLICATION = """
from pathlib import Path

from tenantry import Migrations, PostgresSchemas, Tenancy

tenancy = Tenancy(PostgresSchemas({url!r}, "org_{{slug}}"), Migrations(Path(__file__).parent / "migrations"))
"""


@dataclass(frozen=True)
class Spread:
    """Seconds per tenant, and to the floor."""

    name: str
    seconds: float
    ratio: float
    tenants: int


def chain(directory: Path, origin: Path, revisions: int) -> list[str]:
    """The revisions of an origin with small ones on top; returns those."""
    shutil.copytree(origin, directory, ignore=shutil.ignore_patterns("__pycache__"))
    before, made = str(Migrations(origin).head()), []
    for number in range(revisions):
        revision = f"s{number:03}"
        (directory / "versions" / f"{revision}.py").write_text(REVISION.format(revision=revision, before=before))
        made.append(revision)
        before = revision
    return made


def declare(url: str, migrations: Path) -> Tenancy:
    """The application."""
    return Tenancy(PostgresSchemas(url, "org_{slug}"), Migrations(migrations))


@contextmanager
def fleet(
    url: str, directory: Path, tenants: int, revisions: int, origin: Path = MIGRATIONS
) -> Iterator[tuple[Tenancy, list[str]]]:
    """An application with so many tenants at the revision before the small ones."""
    old = declare(url, origin)
    old.initialize()
    old.provision("t00000")
    with ThreadPoolExecutor(MAKERS) as makers:
        list(makers.map(lambda number: old.provision(f"t{number:05}"), range(1, tenants)))
    old.close()
    small = chain(directory / "migrations", origin, revisions)
    tenancy = declare(url, directory / "migrations")
    try:
        yield tenancy, small
    finally:
        tenancy.close()


def small_revision(
    url: str, tenancy: Tenancy, small: Iterator[str], *, rounds: int, jobs: int = 4, alembic: bool = True
) -> list[Spread]:
    """One small revision for all tenants; the first is the floor. Takes three revisions a round, and one before."""
    names = [tenant.location for tenant in tenancy.list()]
    driver = psycopg.connect(sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))
    before = ""

    def floor(revision: str) -> int:
        statements = [text.encode() for text, _ in tenancy.planner.plan(before, revision).statements]
        return _floor(driver, names, statements)

    def rollout(revision: str) -> int:
        report = tenancy.fleet.rollout(revision, jobs=jobs)
        assert report.complete, report
        return len(names)

    def alembic_loop(revision: str) -> int:
        engine = tenancy.store.control_engine()
        for name in names[:ALEMBIC_PART]:
            with engine.connect() as connection, connection.begin():
                connection.execute(sa.text("SELECT set_config('search_path', :name, true)"), {"name": name})
                online.run(connection, tenancy.migrations, revision)
        return min(ALEMBIC_PART, len(names))

    variants: dict[str, Callable[[str], int]] = {FLOOR: floor, f"tenancy.fleet.rollout, {jobs} jobs": rollout}
    if alembic:
        variants[ALEMBIC] = alembic_loop
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    try:
        before = next(small)
        rollout(before)
        for _ in range(rounds):
            for name, run in variants.items():
                revision = next(small)
                tenancy.planner.plan(before, revision)  # compiled once for all of them
                start = time.perf_counter()
                count = run(revision)
                seconds[name].append((time.perf_counter() - start) / count)
                if run is not rollout:
                    tenancy.fleet.verify()
                    tenancy.fleet.rollout(revision)
                before = revision
    finally:
        driver.close()
    return _spreads(seconds, len(names))


def _floor(driver: psycopg.Connection[tuple[object, ...]], names: list[str], statements: list[bytes]) -> int:
    for name in names:
        driver.execute(sql.SQL("SET LOCAL search_path TO {}").format(sql.Identifier(name)))
        for statement in statements:
            driver.execute(statement)
        driver.commit()
    return len(names)


def on_files(directory: Path, tenants: int, rounds: int) -> list[Spread]:
    """One small revision for so many SQLite files; the floor is the driver doing it to one after the other."""

    def declared(migrations: Path) -> Tenancy:
        return Tenancy(SqliteFiles(directory / "storage", "{slug}.db"), Migrations(migrations))

    old = declared(MIGRATIONS)
    old.initialize()
    for number in range(tenants):
        old.provision(f"t{number:05}")
    old.close()
    small = iter(chain(directory / "migrations", MIGRATIONS, 3 * rounds + 1))
    tenancy = declared(directory / "migrations")
    paths = [directory / "storage" / tenant.location for tenant in tenancy.list()]
    names = {f"tenancy.fleet.rollout, {jobs} job{'s' if jobs > 1 else ''}": jobs for jobs in (1, 4)}
    seconds: dict[str, list[float]] = {name: [] for name in (FLOOR, *names)}
    before = next(small)
    tenancy.fleet.rollout(before)
    for _ in range(rounds):
        for name in seconds:
            revision = next(small)
            plan = tenancy.planner.plan(before, revision)
            start = time.perf_counter()
            if name == FLOOR:
                _floor_of_files(paths, plan)
            else:
                assert tenancy.fleet.rollout(revision, jobs=names[name]).complete
            seconds[name].append((time.perf_counter() - start) / tenants)
            if name == FLOOR:
                tenancy.fleet.verify()
                tenancy.fleet.rollout(revision)
            before = revision
    tenancy.close()
    return _spreads(seconds, tenants)


def _floor_of_files(paths: list[Path], plan: Plan) -> None:
    for path in paths:
        with closing(sqlite3.connect(path, isolation_level=None)) as driver:
            driver.execute("BEGIN IMMEDIATE")
            for text, values in plan.statements:
                driver.execute(text, values)
            driver.execute("COMMIT")


def _spreads(seconds: dict[str, list[float]], tenants: int) -> list[Spread]:
    return [
        Spread(
            name,
            statistics.median(times),
            statistics.median(mine / other for mine, other in zip(times, seconds[FLOOR], strict=True)),
            tenants,
        )
        for name, times in seconds.items()
    ]


@dataclass(frozen=True)
class Nothing:
    """A deploy that migrates nothing. Times in seconds."""

    call: float  # tenancy.fleet.rollout()
    command: float  # `tenant migrate --all` from the shell
    start: float  # the shortest command that opens the registry, from the shell
    verified: float  # reading every version table


def enlist(tenancy: Tenancy, tenants: int) -> None:
    """Have the registry hold so many tenants: rows at the head without tables, for who asks nothing but the ledger."""
    known = len(tenancy.list())
    with tenancy.store.control_engine().begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO platform.tenant (uid, slug, slug_key, name, location, status, revision, attributes,"
                " created_at, updated_at) SELECT 'n' || n, 'n' || n, 'n' || n, 'n', 'org_n' || n, 'active', :head,"
                " '{}', now(), now() FROM generate_series(1, :count) n"
            ),
            {"head": tenancy.head(), "count": tenants - known},
        )


def nothing(url: str, tenancy: Tenancy, directory: Path, *, ledger: int | None = None) -> Nothing:
    """What a deploy costs when every tenant is at the head, ``ledger`` of them by the registry's word alone."""
    verified = _seconds(tenancy.fleet.verify)
    if ledger is not None:
        enlist(tenancy, ledger)
    (directory / "fleet_app.py").write_text(APPLICATION.format(url=url))
    call = statistics.median(_seconds(tenancy.fleet.rollout) for _ in range(5))
    environment = os.environ | {"PYTHONPATH": str(directory), "TENANTRY_APP": "fleet_app:tenancy"}

    def command(*arguments: str) -> float:
        line = [str(Path(sys.executable).with_name("tenantry")), *arguments]
        return statistics.median(
            _seconds(lambda: subprocess.run(line, env=environment, check=True, capture_output=True)) for _ in range(5)
        )

    start = command("tenant", "list", "--status", "failed")
    return Nothing(call, command("tenant", "migrate", "--all"), start, verified)


@dataclass(frozen=True)
class Grown:
    """A fleet of so many tenants of five tables."""

    tenants: int
    floor: Spread
    rollout: Spread
    resident: int  # bytes, the most that a process held which rolled out one revision
    nothing: Nothing


def growth(url: str, directory: Path, tenants: int) -> Grown:
    """What a tenant costs among so many."""
    rounds = 1 if tenants > GROWTH[1] else 3
    with fleet(url, directory, tenants, 2 * rounds + 2, SMALL) as (tenancy, small):
        todo = iter(small)
        floor, rollout = small_revision(url, tenancy, todo, rounds=rounds, alembic=False)
        line = [sys.executable, "-m", "benchmarks.rollout", url, str(directory / "migrations"), next(todo)]
        root = Path(__file__).parents[1]
        found = subprocess.run(line, check=True, capture_output=True, text=True, cwd=root)
        assert tenancy.fleet.standing().behind == 0
        return Grown(tenants, floor, rollout, int(found.stdout), nothing(url, tenancy, directory))


def standby(tenancy: Tenancy, rounds: int) -> list[Figure]:
    """One new tenant, made from nothing (the floor here) and taken from standby. The pool is filled before and not
    refilled while it is measured: that another process does, or a thread afterwards.
    """
    tenancy.initialize()
    numbers = itertools.count()
    pool = tenancy.fleet.standby
    pool.keep(rounds + 1)
    ready = tenancy._provisioner.pool

    def full(_: int) -> None:
        tenancy._provisioner.pool = None
        tenancy.provision(f"full{next(numbers)}")

    def taken(_: int) -> None:
        tenancy._provisioner.pool = _Unfilled(pool)
        tenancy.provision(f"taken{next(numbers)}")

    try:
        return paired({"tenancy.provision (floor)": full, "... from standby": taken}, rounds=rounds)
    finally:
        tenancy._provisioner.pool = ready
        tenancy.close()


class _Unfilled:
    """A pool that is not refilled while it is measured."""

    def __init__(self, pool: StandbyPool) -> None:
        self._pool = pool

    def take(self, site: Site, tenant: Tenant, plan: Plan) -> bool:
        """As the pool's; there must be one."""
        assert self._pool.take(site, tenant, plan)
        return True

    def promising(self) -> bool:
        """Always."""
        return True

    def refill(self) -> None:
        """Nothing."""


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _rows(spreads: Sequence[Spread]) -> str:
    return "\n".join(
        f"| {each.name} | {each.seconds * 1_000:.2f} | {each.seconds * each.tenants:.1f} | {each.ratio:.2f} |"
        for each in spreads
    )


def section(database: Callable[[str], AbstractContextManager[str]]) -> str:
    """The whole of it as a chapter of the results; ``database`` gives an empty one of that name."""
    parts = [
        "## The whole fleet\n\nOne small revision (a column and an index) for every tenant of 30 tables, ours with the"
        " ledger and an outcome\nper tenant. To hold: <= 1.3 of the floor.\n"
    ]
    with database("bench_peer") as own, tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        other = peer.measure(own, Path(directory))
    for tenants in (100, 1_000):
        with (
            database(f"bench_rollout_{tenants}") as own,
            tempfile.TemporaryDirectory(dir=Path.cwd()) as directory,
            fleet(own, Path(directory), tenants, 10) as (tenancy, small),
        ):
            spreads = small_revision(own, tenancy, iter(small), rounds=3)
            idle = nothing(own, tenancy, Path(directory), ledger=LEDGER)
        rows = list(spreads)
        if other is not None:
            rows.append(Spread(other.versions, other.small, other.small / spreads[0].seconds, tenants))
        parts.append(f"{tenants:,} tenants\n\n{HEAD}" + _rows(rows) + "\n\n3 rounds.\n")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        files = on_files(Path(directory), FILES, rounds=3)
    parts.append(f"{FILES:,} tenants on SQLite\n\n{HEAD}" + _rows(files) + "\n\n3 rounds.\n")
    part = f"The Alembic loop was run on {ALEMBIC_PART} tenants, and its time for all is extrapolated from those."
    if other is None:
        part += f"\ndjango-tenants was not measured: {peer.VARIABLE} names no interpreter that has it."
    else:
        part += (
            f"\nSo is that of django-tenants (`migrate_schemas`, {other.tenants} tenants of 30 tables); where nothing"
            f"\nis to be done it takes {other.nothing * 1_000:.0f} ms per tenant."
        )
    parts.append(part + "\n")
    parts.append(
        f"A deploy that migrates nothing, {LEDGER:,} tenants at the head by the ledger, 1,000 of them with tables:"
        f"\n{idle.call * 1_000:.1f} ms, `tenant migrate --all` {idle.command:.2f} s of which {idle.start:.2f} s are the"
        f" start of a command. To hold: < 1 s beyond that.\nReading the 1,000 version tables (`--verify`):"
        f" {idle.verified * 1_000:.0f} ms.\n"
    )
    return "\n".join(parts)


def standby_section(database: Callable[[str], AbstractContextManager[str]]) -> str:
    """Tenants from standby as a chapter of the results."""
    parts = [
        "## One new tenant from standby\n\n30 tables. To hold: <= 0.1 of a full provisioning on PostgreSQL, <= 0.8 on"
        " SQLite, where\na full one is the copy of a file.\n"
    ]
    with database("bench_standby") as own, tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        stores = {
            "PostgreSQL": PostgresSchemas(own, "org_{slug}"),
            "SQLite": SqliteFiles(Path(directory) / "storage", "{slug}.db"),
        }
        for name, store in stores.items():
            figures = standby(Tenancy(store, Migrations(MIGRATIONS), readiness=["account"]), rounds=40)
            lines = [f"| {each.name} | {each.median * 1_000:.2f} | {each.ratio:.3f} |" for each in figures]
            head = "| | ms | x |\n| --- | ---: | ---: |\n"
            parts.append(f"{name}\n\n{head}" + "\n".join(lines) + f"\n\n{figures[0].rounds} rounds.\n")
    return "\n".join(parts)


def growth_section(database: Callable[[str], AbstractContextManager[str]]) -> str:
    """What one tenant costs among few and among many, as a chapter of the results."""
    found = []
    for tenants in GROWTH:
        with (
            database(f"bench_growth_{tenants}") as own,
            tempfile.TemporaryDirectory(dir=Path.cwd()) as directory,
        ):
            found.append(growth(own, Path(directory), tenants))
    few = found[0]
    work = ["| tenants | floor, ms per tenant | rollout, ms per tenant | x floor | memory, MB | x |"]
    work.append("| ---: | ---: | ---: | ---: | ---: | ---: |")
    idle = ["| tenants | call, ms | command, s | of which start-up, s | `--verify`, s |"]
    idle.append("| ---: | ---: | ---: | ---: | ---: |")
    for each in found:
        work.append(
            f"| {each.tenants:,} | {each.floor.seconds * 1_000:.2f} | {each.rollout.seconds * 1_000:.2f} |"
            f" {each.rollout.ratio:.2f} | {each.resident / 1e6:.0f} | {each.resident / few.resident:.2f} |"
        )
        none = each.nothing
        idle.append(
            f"| {each.tenants:,} | {none.call * 1_000:.1f} | {none.command:.2f} | {none.start:.2f} |"
            f" {none.verified:.2f} |"
        )
    return (
        "## The fleet as it grows\n\nTenants of 5 small tables, all of them real: 30 tables for each of 10,000 would be"
        " 2 million relations. One\nsmall revision for every tenant, 3 rounds (1 of 10,000); memory is the most that"
        " the process held which\nrolled it out.\nTo hold: flat.\n\n"
        + "\n".join(work)
        + "\n\nA deploy that migrates nothing, `tenant migrate --all`. To hold: < 1 s beyond start-up at 10,000.\n\n"
        + "\n".join(idle)
        + "\n"
    )


if __name__ == "__main__":
    process = declare(sys.argv[1], Path(sys.argv[2]))
    assert process.fleet.rollout(sys.argv[3]).complete
    process.close()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
