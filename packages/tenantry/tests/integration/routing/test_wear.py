"""A connection that has served many tenants is closed as it comes back, and nobody notices."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tenantry import Migrations, PostgresSchemas, Tenancy

PID = sa.text("SELECT pg_backend_pid(), current_schema()")


@pytest.fixture
def tenancy(postgres_url, chain):
    chain.add("r1", 'op.create_table("t", sa.Column("id", sa.Integer(), primary_key=True))')
    store = PostgresSchemas(postgres_url, "wear_{slug}", pool_size=1, max_overflow=0, tenants_per_connection=4)
    tenancy = Tenancy(store, Migrations(chain.directory))
    tenancy.initialize()
    for number in range(6):
        tenancy.provision(f"t{number}")
    yield tenancy
    tenancy.close()


def visit(tenancy, slug) -> int:
    with tenancy.session(slug) as session:
        pid, schema = session.execute(PID).one()
    assert schema == f"wear_{slug}"
    return pid


def test_connection_is_retired_after_so_many_tenants_and_not_after_so_many_transactions(tenancy) -> None:
    tenancy.close()
    before = tenancy.store.wear.retired
    visit(tenancy, "t0")
    same = {visit(tenancy, "t0") for _ in range(10)}
    assert len(same) == 1  # one tenant, however often
    assert tenancy.store.wear.retired == before
    pids = [visit(tenancy, f"t{number % 6}") for number in range(18)]
    assert len(set(pids)) >= 4
    gauges = tenancy.store.gauges()
    assert gauges["connections_retired"] - before >= 3
    assert gauges["connections"] <= 1
    assert gauges["connection_tenants_most"] < 4


async def test_connections_of_asyncio_are_retired_too(tenancy) -> None:
    pids = []
    for number in range(12):
        async with tenancy.async_session(f"t{number % 6}") as session:
            pid, schema = (await session.execute(PID)).one()
            assert schema == f"wear_t{number % 6}"
            pids.append(pid)
    assert len(set(pids)) >= 3
    await tenancy.aclose()


def test_without_a_limit_connections_stay(shared_postgres_url) -> None:
    store = PostgresSchemas(shared_postgres_url, "wear_{slug}", pool_size=1, tenants_per_connection=None)
    for _ in range(3):
        with store.control_engine().connect() as connection:
            connection.exec_driver_sql("SELECT 1")
    assert store.gauges() == {"connections": 1, "connection_tenants_most": 0, "connections_retired": 0}
    store.close()
