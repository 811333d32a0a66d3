"""Whatever ends a tenant's transaction, the pooled connection it ran on belongs to no tenant afterwards."""

# ruff: noqa: PT012 - what ends is a whole block
from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from canaries import item, owner
from house import House

from tenantry import Tenancy
from tenantry.errors import NoTenant

DEFAULTS = (True, '"$user", public', "")


@pytest.fixture
def house(schemas: House) -> House:
    """One connection for every tenant, and tables of the same names in public, where a leak would find them."""
    schemas.provision("acme", "beta")
    with schemas.admin() as admin:
        admin.execute("CREATE TABLE public.item (id serial, body text)")
        admin.execute("CREATE TABLE public.only_in_public (id int)")
        admin.execute("GRANT ALL ON public.item, public.only_in_public TO public")
    schemas.open(pool_size=1, max_overflow=0)
    return schemas


@pytest.fixture
def tenancy(house: House) -> Tenancy:
    return house._opened[-1]


def commit(tenancy: Tenancy) -> None:
    with tenancy.session("acme") as session:
        session.execute(sa.insert(item).values(body="x"))


def roll_back(tenancy: Tenancy) -> None:
    with tenancy.session("acme") as session:
        session.execute(sa.insert(item).values(body="x"))
        session.rollback()


def raise_in_it(tenancy: Tenancy) -> None:
    with pytest.raises(ZeroDivisionError), tenancy.session("acme") as session:
        session.execute(owner)
        raise ZeroDivisionError


def fail_in_sql(tenancy: Tenancy) -> None:
    with pytest.raises(sa.exc.ProgrammingError), tenancy.session("acme") as session:
        session.execute(sa.text("SELECT * FROM nowhere"))


def commit_as_sql(tenancy: Tenancy) -> None:
    with tenancy.session("acme") as session:
        session.execute(owner)
        session.execute(sa.text("COMMIT"))


def abandon(tenancy: Tenancy) -> None:
    session = sa.orm.Session(tenancy.store.engine(tenancy.get("acme")))
    session.execute(owner)
    session.close()


def send_many(tenancy: Tenancy) -> None:
    with tenancy.session("acme") as session:
        session.execute(sa.text("INSERT INTO item (body) VALUES (:body)"), [{"body": "a"}, {"body": "b"}])


def begin_as_autocommit(tenancy: Tenancy) -> None:
    with pytest.raises(Exception, match="AUTOCOMMIT"), tenancy.session("acme") as session:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"}).execute(owner)


def lose_the_backend(tenancy: Tenancy) -> None:
    with pytest.raises(sa.exc.DBAPIError), tenancy.session("acme") as session:
        session.execute(sa.text("SET LOCAL client_min_messages TO 'error'"))
        session.execute(sa.text("RESET ROLE"))  # a tenant's role may not end even itself
        session.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))


def copy_by_the_wrong_door(tenancy: Tenancy) -> None:
    with pytest.raises(sa.exc.DBAPIError, match="COPY cannot be used as"), tenancy.session("acme") as session:
        session.execute(sa.text("COPY item TO STDOUT"))


ENDINGS: list[Callable[[Tenancy], None]] = [
    commit,
    roll_back,
    raise_in_it,
    fail_in_sql,
    commit_as_sql,
    abandon,
    send_many,
    begin_as_autocommit,
    lose_the_backend,
    copy_by_the_wrong_door,
]


def state_of(driver: psycopg.Connection[Any]) -> tuple[Any, ...] | None:
    """What the server thinks of this connection, asked past the engine's route."""
    driver.route = type(driver).route  # type: ignore[attr-defined]
    found = driver.execute(
        "SELECT current_user = session_user, current_setting('search_path'),"
        " coalesce(string_agg(name, ' '), '') FROM pg_settings WHERE source = 'session'"
        " AND name NOT IN ('application_name', 'client_encoding', 'DateStyle', 'TimeZone',"
        " 'transaction_isolation')"  # BEGIN's own
    ).fetchone()
    driver.rollback()
    driver.route = None  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
def test_connection_goes_back_as_the_owners(tenancy: Tenancy, ending: Callable[[Tenancy], None]) -> None:
    for _ in range(7):  # past the threshold of prepared statements
        ending(tenancy)
        pooled = tenancy.store.control_engine().pool.connect()
        try:
            assert pooled.driver_connection.route is None  # type: ignore[union-attr]
            assert state_of(pooled.driver_connection) == DEFAULTS  # type: ignore[arg-type]
        finally:
            pooled.close()
        with tenancy.session("beta") as session:
            assert session.scalars(owner).all() == ["beta"]


def test_statement_with_more_parameters_than_a_message_holds_leaves_the_session_usable(tenancy: Tenancy) -> None:
    parameters = ", ".join(f":p{number}" for number in range(65_536))
    values = {f"p{number}": number for number in range(65_536)}
    with tenancy.session("acme") as session:
        with pytest.raises(sa.exc.OperationalError, match="number of parameters"):
            session.execute(sa.text(f"SELECT 1 WHERE 1 IN ({parameters})"), values)
        session.rollback()
        assert session.scalars(owner).all() == ["acme"]
    assert tenancy.store.gauges()["connections"] == 1


def test_transaction_without_a_tenant_sees_no_tenants_tables(tenancy: Tenancy) -> None:
    commit(tenancy)
    with tenancy.store.control_engine().connect() as connection:
        with pytest.raises(sa.exc.ProgrammingError, match='relation "canary" does not exist'):
            connection.execute(owner)
        connection.rollback()
        assert connection.scalar(sa.text("SELECT current_user = session_user"))


def test_connection_that_left_the_pool_without_a_tenant_sends_nothing(tenancy: Tenancy) -> None:
    commit(tenancy)
    pooled = tenancy.store.control_engine().pool.connect()
    try:
        cursor = pooled.cursor()
        with pytest.raises(NoTenant):
            cursor.execute("SELECT 1")
        with pytest.raises(NoTenant):
            cursor.executemany("INSERT INTO item (body) VALUES (%s)", [("a",), ("b",)])
    finally:
        pooled.close()


def test_search_path_holds_the_tenants_schema_alone(tenancy: Tenancy) -> None:
    with tenancy.session("acme") as session:
        assert session.scalar(sa.text("SHOW search_path")) == "org_acme"
        assert session.scalar(sa.text("SELECT current_schemas(false)::text")) == "{org_acme}"


def test_extensions_stand_in_the_one_schema_declared_for_them(house: House) -> None:
    with house.admin() as admin:
        admin.execute("CREATE SCHEMA extensions")
        admin.execute("CREATE FUNCTION extensions.answer() RETURNS int LANGUAGE sql AS 'SELECT 42'")
        admin.execute("GRANT USAGE ON SCHEMA extensions TO public")
    with house.open(extensions="extensions").session("acme") as session:
        assert session.scalar(sa.text("SHOW search_path")) == "org_acme, extensions"
        assert session.scalar(sa.text("SELECT answer()")) == 42
        assert session.scalar(owner) == "acme"


@pytest.mark.parametrize("role_per_tenant", [True, False])
def test_table_that_stands_in_public_alone_is_missing(house: House, role_per_tenant: bool) -> None:
    tenancy = house.open(role_per_tenant=role_per_tenant)
    slug = f"new-{role_per_tenant}".lower()
    tenancy.provision(slug)
    with (
        pytest.raises(sa.exc.ProgrammingError, match='relation "only_in_public" does not exist'),
        tenancy.session(slug) as session,
    ):
        session.execute(sa.text("SELECT * FROM only_in_public"))


def test_nothing_was_written_to_public(house: House, tenancy: Tenancy) -> None:
    for ending in ENDINGS:
        ending(tenancy)
    with house.admin() as admin:
        assert admin.execute("SELECT count(*) FROM public.item").fetchone() == (0,)


def test_killed_backends_lose_work_and_no_route(house: House, tenancy: Tenancy) -> None:
    for slug in ("acme", "beta") * 3:
        with tenancy.session(slug) as session:
            session.execute(owner)
        house.kill_backends()
        with pytest.raises(sa.exc.OperationalError), tenancy.session(slug) as session:
            session.execute(owner)
        with tenancy.session(slug) as session:
            assert session.scalars(owner).all() == [slug]
            session.execute(sa.insert(item).values(body=slug))
            house.kill_backends()
            with pytest.raises(sa.exc.OperationalError):
                session.execute(sa.insert(item).values(body="lost"))
            session.rollback()
            assert session.scalars(owner).all() == [slug]
    with house.admin() as admin:
        assert admin.execute("SELECT body FROM org_acme.item UNION SELECT body FROM org_beta.item").fetchall() == []


async def test_cancelled_task_leaves_nothing(async_schemas: House) -> None:
    async_schemas.provision("acme", "beta")
    tenancy = async_schemas.open(pool_size=1, max_overflow=0)

    async def work() -> None:
        async with tenancy.async_session("acme") as session:
            await session.execute(sa.text("SELECT pg_sleep(20), owner FROM canary"))

    for _ in range(3):
        working = asyncio.create_task(work())
        await asyncio.sleep(0.1)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        async with tenancy.async_session("beta") as session:
            assert (await session.scalars(owner)).all() == ["beta"]
            found = await session.execute(
                sa.text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%' AND state = 'active'")
            )
            assert found.scalar() == 0
    await tenancy.aclose()


def test_closing_under_an_open_session_loses_no_connection(house: House, tenancy: Tenancy) -> None:
    """The session ends on the connection it has, and that is closed when it comes back."""
    with tenancy.session("acme") as session:
        session.execute(sa.insert(item).values(body="kept"))
        backend = session.scalar(sa.text("SELECT pg_backend_pid()"))
        tenancy.close()
    with house.admin() as admin:
        assert admin.execute("SELECT body FROM org_acme.item").fetchall() == [("kept",)]
        for _ in range(100):  # the server notices a moment later
            if admin.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [backend]).fetchone() is None:
                break
            admin.execute("SELECT pg_sleep(0.02)")
        else:
            pytest.fail("left open")
    with tenancy.session("beta") as session:
        assert session.scalars(owner).all() == ["beta"]
