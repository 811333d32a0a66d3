"""Many SQLite files behind a few open ones: bounded, never closed under a session, and shared with other processes."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from canaries import item, owner
from house import House

Race = Callable[..., list[Any]]
MAX_OPEN = 8
PER_FILE = 2 * 2 + 1  # connections kept x (file and -wal), and one -shm

WRITE = """
def work(tenancy, number):
    for turn in range(25):
        with tenancy.session("acme", write=True) as session:
            count = session.scalar(sa.select(sa.func.count()).select_from(item))
            session.execute(sa.insert(item).values(body=str(count)))
    return "done"
"""


def open_below(root: str) -> list[str]:
    """What this process holds open below the storage root, without the registry."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue
        if target.startswith(root) and "registry.db" not in target:
            found.append(target)
    return found


pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="asks /proc for open files")


@pytest.fixture
def slugs(files: House) -> list[str]:
    names = [f"t{number}" for number in range(48)]
    files.provision(*names)
    return names


def test_two_hundred_tenants_keep_few_files_open(files: House, slugs: list[str]) -> None:
    more = [f"more{number}" for number in range(200 - len(slugs))]
    files.provision(*more)
    tenancy = files.open(max_open_files=MAX_OPEN)
    for _ in range(2):
        for slug in slugs + more:
            with tenancy.session(slug) as session:
                assert session.scalars(owner).all() == [slug]
        assert len(open_below(files.where)) <= MAX_OPEN * PER_FILE
    tenancy.close()
    assert open_below(files.where) == []


def test_threads_keep_few_files_open_and_lose_none_they_use(files: House, slugs: list[str]) -> None:
    """More sessions at once than files may be open: each is served, and closed when nobody needs it any more."""
    tenancy = files.open(max_open_files=MAX_OPEN)
    gc.collect()
    gc.disable()  # what only the collector would close is a leak
    try:

        def visit(number: int) -> None:
            for slug in slugs[number::16]:
                with tenancy.session(slug, write=True) as session:
                    assert session.scalars(owner).all() == [slug]
                    session.execute(sa.insert(item).values(body=slug))
                    time.sleep(0.001)
                    assert session.scalars(sa.select(item.c.body)).all() == [slug]

        with ThreadPoolExecutor(16) as threads:
            list(threads.map(visit, range(16)))
        assert len(open_below(files.where)) <= MAX_OPEN * PER_FILE
        tenancy.close()
        assert open_below(files.where) == []
    finally:
        gc.enable()


async def test_tasks_keep_few_files_open_and_lose_none_they_use(files: House, slugs: list[str]) -> None:
    tenancy = files.open(max_open_files=MAX_OPEN)

    async def visit(number: int) -> None:
        for slug in slugs[number::16]:
            async with tenancy.async_session(slug) as session:
                assert (await session.scalars(owner)).all() == [slug]
                await asyncio.sleep(0.001)
                assert (await session.scalars(owner)).all() == [slug]

    await asyncio.gather(*(visit(number) for number in range(16)))
    assert len(open_below(files.where)) <= MAX_OPEN * PER_FILE
    await tenancy.aclose()
    tenancy.close()
    assert open_below(files.where) == []


def test_session_keeps_its_file_while_others_come_and_go(files: House, slugs: list[str]) -> None:
    tenancy = files.open(max_open_files=2)
    with tenancy.session("t0") as session:
        session.execute(sa.insert(item).values(body="before"))
        for slug in slugs[1:30]:
            with tenancy.session(slug) as other:
                assert other.scalars(owner).all() == [slug]
        assert session.scalars(owner).all() == ["t0"]
    assert files.bodies("t0") == ["before"]


def test_engine_shed_before_its_checkout_leaks_nothing(files: House, slugs: list[str]) -> None:
    """Another thread sheds a file between the look-up of its engine and the session's first statement."""
    tenancy = files.open(max_open_files=1)
    engine = tenancy.store.engine(tenancy.get("t0"))
    with tenancy.session("t1") as session:
        session.scalar(owner)
    with engine.connect() as connection:
        assert connection.scalar(owner) == "t0"
        assert [path for path in open_below(files.where) if "tenant_t0/" in path]
    assert not [path for path in open_below(files.where) if "tenant_t0/" in path]


def test_file_put_in_place_of_another_is_opened_anew(files: House) -> None:
    """A restored backup has another inode; the old file's connections show what is no longer there."""
    files.provision("acme")
    with files.tenancy.session("acme") as session:
        session.execute(sa.insert(item).values(body="old"))
    path = Path(files.where) / files.tenancy.get("acme").location
    copy = path.with_name("copy.db")
    with sqlite3.connect(path) as source, sqlite3.connect(copy) as target:
        source.backup(target)
        target.execute("UPDATE item SET body = 'restored'")
        target.commit()
    source.close()
    target.close()
    with files.tenancy.session("acme") as session:
        assert session.scalars(sa.select(item.c.body)).all() == ["old"]
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    copy.rename(path)

    assert files.bodies("acme") == ["restored"]


def test_two_processes_that_read_then_write_lose_nothing(files: House, race: Race) -> None:
    files.provision("acme")

    assert race(files, WRITE, processes=2) == ["done"] * 2

    assert files.bodies("acme") == [str(number) for number in range(50)]


def test_threads_that_read_then_write_lose_nothing(files: House) -> None:
    files.provision("acme")
    barrier = threading.Barrier(4)

    def write(_: int) -> None:
        barrier.wait(10)
        for _turn in range(10):
            with files.tenancy.session("acme", write=True) as session:
                count = session.scalar(sa.select(sa.func.count()).select_from(item))
                session.execute(sa.insert(item).values(body=str(count)))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))

    assert files.bodies("acme") == [str(number) for number in range(40)]
