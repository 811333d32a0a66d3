"""Routing costs no round trip, and saves one: counted between psycopg and the server, against SQLAlchemy alone."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from canaries import item, owner
from house import House
from proxy import Relay, relay
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

TIMES = 8  # past the threshold of prepared statements
MANY = sa.text("INSERT INTO item (body) VALUES (:body)")

Work = Callable[[Session], None]


def read(session: Session) -> None:
    session.execute(owner).all()


def write(session: Session) -> None:
    session.execute(sa.insert(item).values(body="x"))
    session.execute(sa.select(item.c.body)).all()


def nest(session: Session) -> None:
    with session.begin_nested():
        session.execute(owner).all()


WORKS: list[Work] = [read, write, nest]


@pytest.fixture
def wire(schemas: House) -> Iterator[Relay]:
    schemas.provision("acme", "beta")
    with schemas.admin() as admin:  # the same tables, for an engine that knows no tenants
        admin.execute("CREATE TABLE canary (owner text)")
        admin.execute("CREATE TABLE item (id serial PRIMARY KEY, body text)")
    # A path of its own: a socket's may not be long.
    with tempfile.TemporaryDirectory() as directory, relay(Path(directory), schemas.where) as between:
        yield between


@pytest.fixture
def house(wire: Relay) -> Iterator[House]:
    """The application, reached by way of the relay."""
    found = House("schema", wire.url)
    yield found
    found.close()


def messages(between: Relay, begin: Callable[[], Any], work: Work) -> list[tuple[int, list[str]]]:
    """For each of several transactions: how often the client waited, and the types of its messages."""
    with begin() as session:
        session.execute(sa.text("SELECT 1"))  # connects
    counted = []
    for _ in range(TIMES):
        between.clear()
        with begin() as session:
            work(session)
        counted.append((between.waits, [kind for kind, _ in between.sent]))
    return counted


def plainly(engine: sa.Engine) -> Callable[[], Any]:
    @contextmanager
    def begin() -> Iterator[Session]:
        with Session(engine) as session, session.begin():
            yield session

    return begin


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
def test_tenants_transaction_waits_once_less_than_a_plain_one(house: House, wire: Relay, work: Work) -> None:
    plain = sa.create_engine(wire.url)
    bare = messages(wire, plainly(plain), work)
    plain.dispose()
    tenancy = house.open()
    routed = messages(wire, lambda: tenancy.session("acme"), work)

    # Twice less where the first statement is prepared: psycopg waits for that by itself.
    assert {before - after for (before, _), (after, _) in zip(bare, routed, strict=True)} in ({1}, {1, 2})
    for _, kinds in routed:
        assert kinds[:3] == ["P", "B", "D"]  # nothing goes before the message with the statement
        assert kinds[-1] == "Q"  # COMMIT


def test_statement_carries_begin_and_the_tenant(house: House, wire: Relay) -> None:
    tenancy = house.open()
    for slug in ("acme", "beta", "acme"):
        role = tenancy.get(slug).role
        wire.clear()
        with tenancy.session(slug) as session:
            session.execute(owner).all()
        parsed = [content.split(b"\0")[1].decode() for kind, content in wire.sent if kind == "P"]
        assert parsed[-4:-1] == ["BEGIN", f'SET LOCAL search_path TO "org_{slug}"', f'SET LOCAL ROLE "{role}"']
        assert "SELECT" in parsed[-1]
        assert [content for kind, content in wire.sent if kind == "Q"][-1] == b"COMMIT"
    with tenancy.session("acme") as session:
        wire.clear()
        session.connection(execution_options={"isolation_level": "SERIALIZABLE", "postgresql_readonly": True})
        session.execute(owner).all()
        assert b"BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY" in wire.sent[0][1]


def test_text_of_several_statements_follows_begin_and_the_tenant(house: House, wire: Relay) -> None:
    tenancy = house.open()
    role = tenancy.get("acme").role
    with tenancy.session("acme") as session:
        session.execute(sa.text("SELECT 1; SELECT 2"))
    sent = [content.decode() for kind, content in wire.sent if kind == "Q"]
    assert sent[-3] == f'BEGIN; SET LOCAL search_path TO "org_acme"; SET LOCAL ROLE "{role}"'
    assert sent[-2].endswith("SELECT 1; SELECT 2")
    assert sent[-1] == "COMMIT"


def test_session_of_a_remembered_tenant_waits_twice(house: House, wire: Relay) -> None:
    """The statement and COMMIT: the registry is not asked, and nothing is sent at checkout or return."""
    tenancy = house.open()
    for slug in ("acme", "beta"):
        with tenancy.session(slug) as session:
            session.execute(owner).all()
    for slug in ("acme", "beta", "acme", "beta"):
        wire.clear()
        with tenancy.session(slug) as session:
            session.execute(owner).all()
        assert wire.waits == 2
    wire.clear()
    with tenancy.session("acme"):
        pass
    assert wire.sent == []


def test_statement_alone_waits_once(house: House, wire: Relay) -> None:
    """Its COMMIT travels with it. One that fails is rolled back; a transaction that is open is not ended by it."""
    tenancy = house.open()

    def alone(session: Session, statement: str) -> list[Any]:
        driver: Any = session.connection().connection.driver_connection
        with driver.cursor() as cursor:
            return cursor.execute_alone(statement, {}).fetchall()

    for _ in range(TIMES):
        for slug in ("acme", "beta"):
            with tenancy.session(slug) as session:
                wire.clear()
                assert alone(session, "SELECT owner FROM canary") == [(slug,)]
            assert wire.waits == 1
    with tenancy.session("acme") as session:
        with pytest.raises(psycopg.errors.UndefinedTable):
            alone(session, "SELECT owner FROM nothing")
        session.rollback()
        assert session.scalars(owner).all() == ["acme"]
    with tenancy.session("acme") as session:
        session.execute(sa.insert(item).values(body="taken back"))
        assert alone(session, "SELECT body FROM item") == [("taken back",)]
        session.rollback()
    with tenancy.session("acme") as session:
        assert alone(session, "INSERT INTO item (body) VALUES ('kept') RETURNING body") == [("kept",)]
    with tenancy.session("acme") as session:
        assert session.scalars(sa.select(item.c.body)).all() == ["kept"]


def test_many_rows_wait_no_oftener_than_plainly(house: House, wire: Relay) -> None:
    """In a pipeline the route is messages of its own, but nobody waits for their answers."""

    def send_many(session: Session) -> None:
        session.execute(MANY, [{"body": "a"}, {"body": "b"}])

    plain = sa.create_engine(wire.url)
    bare = messages(wire, plainly(plain), send_many)
    plain.dispose()
    tenancy = house.open()
    routed = messages(wire, lambda: tenancy.session("acme"), send_many)

    assert [waits for waits, _ in routed] <= [waits for waits, _ in bare]


async def test_tasks_transaction_waits_once_less_than_a_plain_one(house: House, wire: Relay) -> None:
    async def read(session: AsyncSession) -> None:
        await session.execute(owner)

    async def count(begin: Callable[[], Any]) -> list[tuple[int, list[str]]]:
        async with begin() as session:
            await session.execute(sa.text("SELECT 1"))
        counted = []
        for _ in range(TIMES):
            wire.clear()
            async with begin() as session:
                await read(session)
            counted.append((wire.waits, [kind for kind, _ in wire.sent]))
        return counted

    plain = create_async_engine(wire.url)

    @asynccontextmanager
    async def plainly() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(plain) as session, session.begin():
            yield session

    bare = await count(plainly)
    await plain.dispose()
    tenancy = house.open()
    routed = await count(lambda: tenancy.async_session("acme"))
    await tenancy.aclose()

    assert {before - after for (before, _), (after, _) in zip(bare, routed, strict=True)} in ({1}, {1, 2})
