"""How long the whole fleet takes: one small revision for every tenant, and a deploy that migrates nothing.

The floor: psycopg sending the revision's DDL statement by statement, a transaction per tenant with its version row, on
one connection. The Alembic loop runs the same revision as Alembic does, on a part of the tenants.
"""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy as sa
from psycopg import sql

from benchmarks.fleet import MIGRATIONS
from benchmarks.timing import Figure, paired
from tenantry import Migrations, PostgresSchemas, Tenancy
from tenantry.fleet.standby import StandbyPool
from tenantry.migrations import online
from tenantry.migrations.plan import Plan
from tenantry.stores.base import Site
from tenantry.tenant import Tenant

ALEMBIC_PART = 40  # tenants of the Alembic loop, which is slow

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


def chain(directory: Path, revisions: int) -> list[str]:
    """The benchmark's revisions with small ones on top; returns those."""
    shutil.copytree(MIGRATIONS, directory, ignore=shutil.ignore_patterns("__pycache__"))
    before, made = "0012", []
    for number in range(revisions):
        revision = f"s{number:03}"
        (directory / "versions" / f"{revision}.py").write_text(REVISION.format(revision=revision, before=before))
        made.append(revision)
        before = revision
    return made


@contextmanager
def fleet(url: str, directory: Path, tenants: int, revisions: int) -> Iterator[tuple[Tenancy, list[str]]]:
    """An application with so many tenants at the revision before the small ones."""
    shutil.copytree(MIGRATIONS, directory / "old", ignore=shutil.ignore_patterns("__pycache__"))
    old = Tenancy(PostgresSchemas(url, "org_{slug}"), Migrations(directory / "old"))
    old.initialize()
    for number in range(tenants):
        old.provision(f"t{number:05}")
    old.close()
    small = chain(directory / "new", revisions)
    tenancy = Tenancy(PostgresSchemas(url, "org_{slug}"), Migrations(directory / "new"))
    try:
        yield tenancy, small
    finally:
        tenancy.close()


def small_revision(url: str, directory: Path, *, tenants: int, rounds: int, jobs: int = 4) -> list[Spread]:
    """One small revision for all tenants; the first is the floor."""
    with fleet(url, directory, tenants, 3 * rounds + 1) as (tenancy, small):
        names = [tenant.location for tenant in tenancy.list()]
        todo = iter(small)
        driver = psycopg.connect(sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))
        before = ["0012"]

        def floor(revision: str) -> int:
            statements = [text.encode() for text, _ in tenancy.planner.plan(before[0], revision).statements]
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

        variants: dict[str, Callable[[str], int]] = {
            "driver, statement by statement (floor)": floor,
            f"tenancy.fleet.rollout, {jobs} jobs": rollout,
            "Alembic loop": alembic_loop,
        }
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        try:
            rollout(next(todo))
            before[0] = small[0]
            for _ in range(rounds):
                for name, run in variants.items():
                    revision = next(todo)
                    tenancy.planner.plan(before[0], revision)  # compiled once for all of them
                    start = time.perf_counter()
                    count = run(revision)
                    seconds[name].append((time.perf_counter() - start) / count)
                    if run is not rollout:
                        tenancy.fleet.verify()
                        tenancy.fleet.rollout(revision)
                    before[0] = revision
        finally:
            driver.close()
    base = seconds["driver, statement by statement (floor)"]
    return [
        Spread(
            name,
            statistics.median(times),
            statistics.median(mine / other for mine, other in zip(times, base, strict=True)),
            tenants,
        )
        for name, times in seconds.items()
    ]


def _floor(driver: psycopg.Connection[tuple[object, ...]], names: list[str], statements: list[bytes]) -> int:
    for name in names:
        driver.execute(sql.SQL("SET LOCAL search_path TO {}").format(sql.Identifier(name)))
        for statement in statements:
            driver.execute(statement)
        driver.commit()
    return len(names)


@dataclass(frozen=True)
class Nothing:
    """A deploy that migrates nothing. Times in seconds."""

    tenants: int
    call: float  # tenancy.fleet.rollout()
    command: float  # `tenant migrate --all` from the shell
    start: float  # the shortest command that opens the registry, from the shell
    verified: float  # reading every version table, for as many tenants as really have one


def nothing(url: str, directory: Path, *, tenants: int, real: int = 0) -> Nothing:
    """A fleet at the head: rows of the registry are all that is asked, so only ``real`` tenants have tables."""
    shutil.copytree(MIGRATIONS, directory / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "fleet_app.py").write_text(APPLICATION.format(url=url))
    tenancy = Tenancy(PostgresSchemas(url, "org_{slug}"), Migrations(directory / "migrations"))
    tenancy.initialize()
    for number in range(real):
        tenancy.provision(f"real{number:05}")
    verified = 0.0
    if real:
        verified = _seconds(tenancy.fleet.verify)
    with tenancy.store.control_engine().begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO platform.tenant (uid, slug, slug_key, name, location, status, revision, attributes,"
                " created_at, updated_at) SELECT 'n' || n, 't' || n, 't' || n, 't', 'org_t' || n, 'active', :head,"
                " '{}', now(), now() FROM generate_series(1, :count) n"
            ),
            {"head": tenancy.head(), "count": tenants - real},
        )
    tenancy.fleet.rollout()
    call = statistics.median(_seconds(tenancy.fleet.rollout) for _ in range(5))
    tenancy.close()
    environment = os.environ | {"PYTHONPATH": str(directory), "TENANTRY_APP": "fleet_app:tenancy"}

    def command(*arguments: str) -> float:
        line = [str(Path(sys.executable).with_name("tenantry")), *arguments]
        return statistics.median(
            _seconds(lambda: subprocess.run(line, env=environment, check=True, capture_output=True)) for _ in range(5)
        )

    start = command("tenant", "list", "--status", "failed")
    return Nothing(tenants, call, command("tenant", "migrate", "--all"), start, verified)


def standby(url: str, rounds: int) -> list[Figure]:
    """One new tenant, made from nothing (the floor here) and taken from standby."""
    tenancy = Tenancy(PostgresSchemas(url, "org_{slug}"), Migrations(MIGRATIONS), readiness=["account"])
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


def section(database: Callable[[str], AbstractContextManager[str]]) -> str:
    """The whole of it as a chapter of the results; ``database`` gives an empty one of that name."""
    parts = [
        "## The whole fleet\n\nOne small revision (a column and an index) for every tenant of 30 tables, ours with the"
        " ledger and an outcome\nper tenant. To hold: <= 1.3 of the floor.\n"
    ]
    for tenants in (100, 1_000):
        with database(f"bench_rollout_{tenants}") as own, tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
            spreads = small_revision(own, Path(directory), tenants=tenants, rounds=3)
        lines = [f"| {each.name} | {each.seconds * 1_000:.2f} | {each.ratio:.2f} |" for each in spreads]
        table = "| | ms per tenant | x floor |\n| --- | ---: | ---: |\n" + "\n".join(lines)
        parts.append(f"{tenants:,} tenants\n\n{table}\n\n3 rounds.\n")
    with database("bench_nothing") as own, tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        found = nothing(own, Path(directory), tenants=10_000, real=200)
    parts.append(
        f"A deploy that migrates nothing, {found.tenants:,} tenants at the head: {found.call * 1_000:.1f} ms, from the"
        f" shell {found.command:.2f} s of which\n{found.start:.2f} s are the start of a command. To hold: < 1 s beyond"
        f" that. Reading 200 version tables (`--verify`): {found.verified * 1_000:.0f} ms.\n"
    )
    with database("bench_standby") as own:
        figures = standby(own, rounds=20)
    lines = [f"| {each.name} | {each.median * 1_000:.2f} | {each.ratio:.3f} |" for each in figures]
    parts.append(
        "One new tenant from standby. To hold: <= 0.1 of a full provisioning.\n\n"
        "| | ms | x |\n| --- | ---: | ---: |\n" + "\n".join(lines) + f"\n\n{figures[0].rounds} rounds.\n"
    )
    return "\n".join(parts)
