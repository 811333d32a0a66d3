"""The current tenant: opened once, inherited by what is called from there, and never switched from within."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from canaries import owner
from house import House

from tenantry import Tenancy
from tenantry.errors import NoTenant, TenantNotActive, TenantNotFound, WrongTenant
from tenantry.scope import current_tenant
from tenantry.tenant import TenantStatus


@pytest.fixture
def tenancy(house: House) -> Tenancy:
    house.provision("acme", "beta")
    return house.tenancy


def seen(tenancy: Tenancy) -> str | None:
    with tenancy.session() as session:
        return session.scalar(owner)


def test_session_without_a_scope_has_no_tenant(tenancy: Tenancy) -> None:
    with pytest.raises(NoTenant), tenancy.session():
        pytest.fail("entered")


def test_session_inside_a_scope_is_that_tenants(tenancy: Tenancy) -> None:
    with tenancy.scope("acme"):
        assert seen(tenancy) == "acme"
        with tenancy.session("acme") as session:  # naming it once more is no switch
            assert session.scalar(owner) == "acme"
    with tenancy.scope("beta"):
        assert seen(tenancy) == "beta"


def test_another_tenant_inside_a_scope_is_wrong(tenancy: Tenancy) -> None:
    with tenancy.scope("acme"):
        with pytest.raises(WrongTenant) as refused, tenancy.session("beta"):
            pytest.fail("entered")
        assert refused.value.args == ("beta", "acme")
        with pytest.raises(WrongTenant), tenancy.scope("beta"):
            pytest.fail("entered")
        with tenancy.scope("acme"):
            assert seen(tenancy) == "acme"
        assert seen(tenancy) == "acme"


def test_wrong_tenant_is_told_even_when_it_does_not_exist(tenancy: Tenancy) -> None:
    """Whether another tenant exists is nobody's business inside a scope."""
    with tenancy.scope("acme"), pytest.raises(WrongTenant), tenancy.session("nobody"):
        pytest.fail("entered")


def test_scope_is_restored_after_an_exception(tenancy: Tenancy) -> None:
    with pytest.raises(ZeroDivisionError), tenancy.scope("acme"):
        _ = 1 / 0
    with pytest.raises(NoTenant):
        current_tenant()
    with tenancy.scope("acme"):
        with pytest.raises(ZeroDivisionError), tenancy.scope("acme"):
            _ = 1 / 0
        assert current_tenant() == "acme"


def test_scope_of_a_tenant_that_cannot_be_worked_on_does_not_open(tenancy: Tenancy) -> None:
    tenancy.registry.set_status(tenancy.get("beta"), TenantStatus.SUSPENDED)
    for slug, error in (("nobody", TenantNotFound), ("beta", TenantNotActive)):
        with pytest.raises(error), tenancy.scope(slug):
            pytest.fail("entered")
        with pytest.raises(NoTenant):
            current_tenant()


def test_scope_is_absent_in_a_new_thread(tenancy: Tenancy) -> None:
    with tenancy.scope("acme"), ThreadPoolExecutor(1) as threads:
        with pytest.raises(NoTenant):
            threads.submit(seen, tenancy).result(10)
        assert seen(tenancy) == "acme"


def test_scopes_of_threads_are_their_own(tenancy: Tenancy) -> None:
    barrier = threading.Barrier(2)

    def work(slug: str) -> set[str | None]:
        found = set()
        with tenancy.scope(slug):
            for _ in range(5):
                barrier.wait(10)
                found.add(seen(tenancy))
        return found

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(work, ("acme", "beta"))) == [{"acme"}, {"beta"}]


async def test_scopes_of_tasks_are_their_own(async_house: House) -> None:
    async_house.provision("acme", "beta")
    tenancy = async_house.tenancy

    async def work(slug: str) -> set[str | None]:
        found = set()
        with tenancy.scope(slug):
            for _ in range(5):
                async with tenancy.async_session() as session:
                    await asyncio.sleep(0)
                    found.add(await session.scalar(owner))
        return found

    assert await asyncio.gather(work("acme"), work("beta")) == [{"acme"}, {"beta"}]
    with pytest.raises(NoTenant):
        async with tenancy.async_session():
            pytest.fail("entered")


async def test_task_inherits_the_scope_it_was_started_in(async_house: House) -> None:
    async_house.provision("acme", "beta")
    tenancy = async_house.tenancy

    async def work() -> str | None:
        await asyncio.sleep(0.01)
        async with tenancy.async_session() as session:
            return await session.scalar(owner)

    with tenancy.scope("acme"):
        started = asyncio.create_task(work())
        with pytest.raises(WrongTenant):
            async with tenancy.async_session("beta"):
                pytest.fail("entered")
        assert await asyncio.to_thread(seen, tenancy) == "acme"
    assert await started == "acme"


def test_open_session_outlives_no_scope_and_changes_no_tenant(tenancy: Tenancy) -> None:
    """A session belongs to the tenant it was opened for, whatever scope is opened inside it."""
    with tenancy.session("acme") as session:
        with tenancy.scope("beta"):
            assert seen(tenancy) == "beta"
            assert session.scalar(owner) == "acme"
        assert session.execute(sa.text("SELECT owner FROM canary")).scalar() == "acme"
