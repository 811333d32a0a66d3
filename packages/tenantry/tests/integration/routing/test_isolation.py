"""No statement ever sees another tenant's row: generated interleavings of threads and tasks on very few connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from house import House
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from interleaving import ANSWERS, WHOLE, Interleaving, Visit, plans

SLUGS = [f"tenant{number}" for number in range(5)]
FEW = {"pool_size": 2, "max_overflow": 0}
SETTINGS: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    "database": None,
    "print_blob": False,
}

Open = Callable[[House], Interleaving]


def few_connections(house: House, **more: Any) -> Interleaving:
    house.provision(*SLUGS)
    few = {**FEW, **more} if house.kind == "schema" else {"max_open_files": 3}
    tenancy = house.open(**few)
    if house.kind == "schema":
        # SQLAlchemy does not wake those that wait for a connection when one cannot be made: a killed backend's place
        # stays free, unseen, until their timeout.
        tenancy.store._pool["pool_timeout"] = 1  # type: ignore[attr-defined]
    return Interleaving(house, tenancy, SLUGS)


@pytest.fixture(params=["prepared", "unprepared", "no roles"])
def on_postgres(schemas: House, request: pytest.FixtureRequest) -> Iterator[Interleaving]:
    if request.param == "no roles":
        schemas.tenancy.close()
        schemas._opened.insert(0, schemas.open(role_per_tenant=False))
        yield few_connections(schemas, role_per_tenant=False)
    else:
        yield few_connections(schemas, prepare_threshold=2 if request.param == "prepared" else None)


@pytest.fixture
def on_sqlite(files: House) -> Interleaving:
    return few_connections(files)


@settings(max_examples=12, **SETTINGS)
@given(threads=plans, tasks=plans, kills=st.integers(0, 2))
def test_postgres_statements_see_their_own_tenant(
    on_postgres: Interleaving, threads: list[list[Visit]], tasks: list[list[Visit]], kills: int
) -> None:
    on_postgres.run(threads, tasks, kills)
    on_postgres.check()


@settings(max_examples=12, **SETTINGS)
@given(threads=plans, tasks=plans)
def test_sqlite_statements_see_their_own_tenant(
    on_sqlite: Interleaving, threads: list[list[Visit]], tasks: list[list[Visit]]
) -> None:
    on_sqlite.run(threads, tasks, 0)
    on_sqlite.check()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=400, **SETTINGS)
@given(threads=plans, tasks=plans, kills=st.integers(0, 4))
def test_postgres_statements_see_their_own_tenant_for_long(
    on_postgres: Interleaving, threads: list[list[Visit]], tasks: list[list[Visit]], kills: int
) -> None:
    on_postgres.run(threads, tasks, kills)
    on_postgres.check()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=400, **SETTINGS)
@given(threads=plans, tasks=plans)
def test_sqlite_statements_see_their_own_tenant_for_long(
    on_sqlite: Interleaving, threads: list[list[Visit]], tasks: list[list[Visit]]
) -> None:
    on_sqlite.run(threads, tasks, 0)
    on_sqlite.check()


def test_work_that_nothing_disturbs_is_all_done(house: House) -> None:
    """The test of the test: errors are passed over, so it must be known that there are answers."""
    run = few_connections(house)
    if house.kind == "schema":
        run.tenancy.store._pool["pool_timeout"] = 30  # type: ignore[attr-defined]
    plan: list[Visit] = [(number, WHOLE) for number in range(5)] * 2
    run.run([plan] * 2, [plan] * 2, 0)
    run.check()
    assert run.refused == []
    assert len(run.seen) == 4 * len(plan) * ANSWERS
    for slug in SLUGS:
        assert house.bodies(slug) == [slug] * 8


def test_a_leak_would_be_seen(schemas: House) -> None:
    """The test of the test: a store that routes one tenant to another's schema is found out."""
    run = few_connections(schemas)
    with schemas.admin() as admin:
        admin.execute("UPDATE org_tenant1.canary SET owner = 'tenant2'")
    run.run([[(1, ["see"])]], [[(1, ["see prepared"])]], 0)
    assert set(run.wrong) == {"tenant1 saw ['tenant2']"}
