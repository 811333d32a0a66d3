"""psycopg has no public hook for the text of BEGIN. If a release stops calling the private one, no tenant is served."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from canaries import owner
from house import House

from tenantry.errors import DeclarationError
from tenantry.stores.routing import AsyncRoutedConnection, Joining, Routed, RoutedConnection


@pytest.fixture
def unproved(schemas: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A process that has not seen psycopg take a route yet, and tables in public that the owner would find."""
    schemas.provision("acme")
    with schemas.admin() as admin:
        admin.execute("CREATE TABLE canary (owner text)")
        admin.execute("INSERT INTO canary VALUES ('leak')")
    for kind in (RoutedConnection, AsyncRoutedConnection):
        monkeypatch.setattr(kind, "_proved", False)
    schemas.tenancy.close()
    yield schemas
    schemas.tenancy.close()


def unhooked(connection: Any) -> Generator[Any, Any, None]:
    """How a release without the hook would begin."""
    if not connection._autocommit and connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE:
        yield from connection._exec_command(b"BEGIN")


def test_process_proves_the_hook_once(unproved: House) -> None:
    with unproved.tenancy.session("acme") as session:
        assert session.scalars(owner).all() == ["acme"]
    assert RoutedConnection._proved
    assert not AsyncRoutedConnection._proved


async def test_process_proves_the_hook_for_tasks_once(unproved: House) -> None:
    async with unproved.tenancy.async_session("acme") as session:
        assert (await session.scalars(owner)).all() == ["acme"]
    assert AsyncRoutedConnection._proved
    await unproved.aclose()


def test_no_tenant_is_served_when_psycopg_begins_by_itself(unproved: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Routed, "_start_query", unhooked)
    for _ in range(2):
        with pytest.raises(DeclarationError, match=rf"psycopg {psycopg.__version__}"), unproved.tenancy.session("acme"):
            pytest.fail("entered")
    assert not RoutedConnection._proved


def test_no_tenant_is_served_when_psycopg_sends_statements_by_itself(
    unproved: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BEGIN waits for a statement that does not take it along."""
    monkeypatch.setattr(Joining, "_maybe_prepare_gen", psycopg.Cursor._maybe_prepare_gen)
    with pytest.raises(DeclarationError), unproved.tenancy.session("acme") as session:
        session.execute(owner)
    assert not RoutedConnection._proved


def test_no_tenant_is_served_when_psycopg_ignores_the_override(
    unproved: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psycopg's own method of that name, and its own text of BEGIN: the route is refused before anything is sent."""
    monkeypatch.setattr(Routed, "_start_query", psycopg.Connection._start_query)
    with pytest.raises(DeclarationError), unproved.tenancy.session("acme"):
        pytest.fail("entered")


async def test_no_task_is_served_when_psycopg_begins_by_itself(
    unproved: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unproved.tenancy.session("acme"):
        pass  # the tenant is remembered
    monkeypatch.setattr(Routed, "_start_query", unhooked)
    with pytest.raises(DeclarationError):
        async with unproved.tenancy.async_session("acme") as session:
            await session.execute(owner)
    await unproved.aclose()


def test_route_that_the_server_refuses_runs_nothing(unproved: House) -> None:
    """The role is gone: the transaction is lost, and with it every statement."""
    role = unproved.tenancy.get("acme").role
    with unproved.admin() as admin:
        admin.execute(f'ALTER ROLE "{role}" RENAME TO "elsewhere@test"')
        try:
            for _ in range(2):
                with (
                    pytest.raises(sa.exc.DBAPIError, match="does not exist"),
                    unproved.tenancy.session("acme") as session,
                ):
                    session.execute(owner)
        finally:
            admin.execute(f'ALTER ROLE "elsewhere@test" RENAME TO "{role}"')
    with unproved.tenancy.session("acme") as session:
        assert session.scalars(owner).all() == ["acme"]
