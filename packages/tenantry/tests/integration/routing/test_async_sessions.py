"""asyncio sessions: the same as the others, and whole when a task is cancelled in the middle of a query."""

# ruff: noqa: PT012 - what is undone or refused is a whole block
from __future__ import annotations

import asyncio
import time

import pytest
import sqlalchemy as sa
from canaries import item, owner
from house import House
from sqlalchemy.ext.asyncio import AsyncSession

from tenantry.errors import DeclarationError, TenantNotActive, TenantNotFound
from tenantry.tenant import TenantStatus

# Takes seconds on either store unless something ends it.
SLOW = {
    "schema": "SELECT pg_sleep(20), owner FROM canary",
    "file": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 30000000) SELECT count(*) FROM n",
}


async def add(session: AsyncSession, *bodies: str) -> None:
    for body in bodies:
        await session.execute(sa.insert(item).values(body=body))


@pytest.fixture
async def tenants(async_house: House) -> House:
    async_house.provision("acme", "beta")
    return async_house


async def test_each_session_sees_its_own_tenant(tenants: House) -> None:
    for _ in range(3):
        for slug in ("acme", "beta"):
            async with tenants.tenancy.async_session(slug) as session:
                assert (await session.scalars(owner)).all() == [slug]


async def test_session_commits_or_rolls_back(tenants: House) -> None:
    async with tenants.tenancy.async_session("acme") as session:
        await add(session, "kept")
    with pytest.raises(ZeroDivisionError):
        async with tenants.tenancy.async_session("acme") as session:
            await add(session, "lost")
            _ = 1 / 0

    assert tenants.bodies("acme") == ["kept"]
    assert tenants.bodies("beta") == []


async def test_commit_in_the_middle_keeps_the_tenant(tenants: House) -> None:
    async with tenants.tenancy.async_session("acme") as session:
        await add(session, "one")
        await session.commit()
        assert (await session.scalars(owner)).all() == ["acme"]
        await add(session, "lost")
        await session.rollback()
        assert (await session.scalars(owner)).all() == ["acme"]
        await add(session, "two")

    assert tenants.bodies("acme") == ["one", "two"]


async def test_savepoints_undo_their_own_work_only(tenants: House) -> None:
    async with tenants.tenancy.async_session("acme") as session:
        await add(session, "before")
        with pytest.raises(ZeroDivisionError):
            async with session.begin_nested():
                await add(session, "undone")
                _ = 1 / 0
        async with session.begin_nested():
            await add(session, "after")
        assert (await session.scalars(owner)).all() == ["acme"]

    assert tenants.bodies("acme") == ["before", "after"]


async def test_first_statement_may_be_many(tenants: House) -> None:
    for _ in range(8):
        async with tenants.tenancy.async_session("acme") as session:
            await session.execute(sa.text("INSERT INTO item (body) VALUES (:body)"), [{"body": "a"}, {"body": "b"}])

    assert tenants.bodies("acme") == ["a", "b"] * 8


async def test_refusals_are_the_same(tenants: House) -> None:
    tenants.tenancy.registry.set_status(tenants.tenancy.get("beta"), TenantStatus.SUSPENDED)
    with pytest.raises(TenantNotFound):
        async with tenants.tenancy.async_session("nobody"):
            pytest.fail("entered")
    with pytest.raises(TenantNotActive, match=r"^Tenant 'beta' is not active"):
        async with tenants.tenancy.async_session("beta"):
            pytest.fail("entered")


async def test_autocommit_is_refused(async_schemas: House) -> None:
    async_schemas.provision("acme")
    for _ in range(3):
        with pytest.raises(DeclarationError, match="AUTOCOMMIT"):
            async with async_schemas.tenancy.async_session("acme") as session:
                await session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
                await session.scalar(owner)
        async with async_schemas.tenancy.async_session("acme") as session:
            await session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
            assert await session.scalar(sa.text("SHOW transaction_isolation")) == "serializable"
            assert await session.scalar(owner) == "acme"


async def test_two_phase_transactions_are_refused(tenants: House) -> None:
    tenancy = tenants.tenancy
    engine = await tenancy.store.async_engine(tenancy.get("acme"))
    async with engine.connect() as connection:
        with pytest.raises((DeclarationError, NotImplementedError)):
            await connection.run_sync(lambda joined: joined.begin_twophase())


async def test_registry_is_not_waited_for_in_the_event_loop(tenants: House) -> None:
    """The loop goes on while the registry answers slowly."""
    tenancy = tenants.open()
    read = tenancy.registry.get

    def slowly(slug: str) -> object:
        time.sleep(1)
        return read(slug)

    tenancy.registry.get = slowly  # type: ignore[assignment, method-assign]

    async def work() -> None:
        async with tenancy.async_session("acme") as session:
            assert await session.scalar(owner) == "acme"

    working = asyncio.create_task(work())
    longest, before = 0.0, time.monotonic()
    while not working.done():
        await asyncio.sleep(0.005)
        longest, before = max(longest, time.monotonic() - before), time.monotonic()
    await working
    assert longest < 0.8


async def stuck(house: House, slug: str, started: asyncio.Event) -> None:
    async with house.tenancy.async_session(slug, write=True) as session:
        await add(session, "lost")
        started.set()
        await session.execute(sa.text(SLOW[house.kind]))


async def test_cancelled_query_loses_its_work_and_frees_the_tenant(tenants: House) -> None:
    for _ in range(3):
        started = asyncio.Event()
        working = asyncio.create_task(stuck(tenants, "acme", started))
        await asyncio.wait_for(started.wait(), 10)
        await asyncio.sleep(0.05)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        for slug in ("acme", "beta"):
            begun = time.monotonic()
            async with tenants.tenancy.async_session(slug, write=True) as session:
                assert (await session.scalars(owner)).all() == [slug]
                await add(session, "kept")
            assert time.monotonic() - begun < 5

    assert tenants.bodies("acme") == ["kept"] * 3
    assert tenants.bodies("beta") == ["kept"] * 3


async def test_query_past_its_timeout_loses_its_work(tenants: House) -> None:
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await stuck(tenants, "acme", asyncio.Event())
    async with tenants.tenancy.async_session("beta") as session:
        assert (await session.scalars(owner)).all() == ["beta"]

    assert tenants.bodies("acme") == []


async def test_tasks_cancelled_at_any_moment_leave_the_pool_whole(tenants: House) -> None:
    """Also between the connection's checkout and its BEGIN, and in its COMMIT."""

    async def work(slug: str) -> None:
        async with tenants.tenancy.async_session(slug) as session:
            assert (await session.scalars(owner)).all() == [slug]
            await session.commit()
            assert (await session.scalars(owner)).all() == [slug]

    for number in range(60):
        working = asyncio.create_task(work(("acme", "beta")[number % 2]))
        await asyncio.sleep(number / 60 * 0.006)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    await asyncio.gather(*(work(slug) for slug in ("acme", "beta") * 20))


def test_event_loops_may_follow_one_another(house: House) -> None:
    house.provision("acme")

    async def visit(times: int) -> None:
        async def once() -> None:
            async with house.tenancy.async_session("acme") as session:
                assert await session.scalar(owner) == "acme"

        await asyncio.gather(*(once() for _ in range(times)))
        await house.aclose()

    for _ in range(2):
        asyncio.run(visit(8))


def test_file_is_free_again_when_its_event_loop_closed_before_the_statement_ended(files: House) -> None:
    files.provision("acme")

    async def leave_while_waiting() -> None:
        async def wait() -> None:
            async with files.tenancy.async_session("acme", write=True) as session:
                await add(session, "lost")

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0.3)
        waiting.cancel()

    with files.tenancy.session("acme", write=True) as session:
        session.execute(sa.insert(item).values(body="kept"))
        # BEGIN waits for this session's lock, which nothing interrupts, and nobody is there any more when it has it.
        asyncio.run(leave_while_waiting())

    with files.tenancy.session("acme", write=True) as session:
        session.execute(sa.insert(item).values(body="later"))
    assert files.bodies("acme") == ["kept", "later"]
