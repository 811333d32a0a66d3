"""The current tenant in threads, processes, tasks and Celery jobs: there when carried, absent when not."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import celery
import pytest
from canaries import owner
from celery.contrib.testing.worker import start_worker
from house import House
from neighbours import APPLICATION

from tenantry import scope
from tenantry.errors import NoTenant
from tenantry.propagation import HEADER, CarryingExecutor, carry, connect_celery, detached


def whose(house: House) -> str | None:
    with house.tenancy.session() as session:
        found: str | None = session.scalar(owner)
        return found


# -- threads and processes


def test_plain_thread_has_no_tenant(row: House) -> None:
    found: list[Any] = []
    with row.tenancy.scope("acme"):
        for work in (scope.open_tenant, carry(scope.open_tenant)):
            thread = threading.Thread(target=lambda work=work: found.append(work()))
            thread.start()
            thread.join()
    assert found == [None, "acme"]


def test_executor_carries_the_tenant_and_nothing_of_the_work_before(street: House) -> None:
    with ThreadPoolExecutor(1) as plain:
        pool = CarryingExecutor(plain)
        for slug in ("acme", "beta", "acme"):
            with street.tenancy.scope(slug):
                assert pool.submit(whose, street).result() == slug
                assert list(pool.map(whose, [street, street])) == [slug, slug]
            with pytest.raises(NoTenant):
                pool.submit(whose, street).result()
        with street.tenancy.scope("acme"), pytest.raises(ZeroDivisionError):
            pool.submit(lambda: 1 / 0).result()
        assert plain.submit(scope.open_tenant).result() is None


def test_executor_carries_into_processes(row: House) -> None:
    with CarryingExecutor(ProcessPoolExecutor(1, mp_context=get_context("spawn"))) as pool:
        with row.tenancy.scope("acme"):
            assert pool.submit(scope.current_tenant).result() == "acme"
        assert pool.submit(scope.open_tenant).result() is None


def test_carried_work_leaves_the_thread_as_it_was(row: House) -> None:
    with row.tenancy.scope("acme"):
        work = carry(scope.current_tenant)
    absent = carry(scope.open_tenant)
    with row.tenancy.scope("beta"):
        assert work() == "acme"
        assert absent() is None
        assert scope.current_tenant() == "beta"
        with detached():
            assert scope.open_tenant() is None
        assert scope.current_tenant() == "beta"
    assert scope.open_tenant() is None


def test_thousand_pieces_of_work_in_threads_see_their_own_tenant_only(street: House) -> None:
    with CarryingExecutor(ThreadPoolExecutor(8)) as pool:
        work = []
        for number in range(1_000):
            with street.tenancy.scope(f"t{number % 10}"):
                work.append(pool.submit(whose, street))
        assert [piece.result() for piece in work] == [f"t{number % 10}" for number in range(1_000)]


# -- asyncio


async def test_tasks_begin_with_the_tenant_of_who_made_them(row: House) -> None:
    async def current() -> str | None:
        await asyncio.sleep(0)
        return scope.open_tenant()

    with row.tenancy.scope("acme"):
        task = asyncio.create_task(current())
        work = carry(current)
        in_thread = await asyncio.to_thread(scope.open_tenant)
        in_executor = await asyncio.get_running_loop().run_in_executor(None, scope.open_tenant)
        carried = await asyncio.get_running_loop().run_in_executor(None, carry(scope.open_tenant))
        with detached():
            lone = asyncio.create_task(current())
    assert (await task, await lone, in_thread, in_executor, carried) == ("acme", None, "acme", None, "acme")
    assert scope.open_tenant() is None
    assert await asyncio.create_task(current()) is None
    assert await asyncio.create_task(work()) == "acme"


async def test_coroutine_sent_to_the_loop_by_a_thread_has_the_threads_tenant(row: House) -> None:
    async def current() -> str | None:
        return scope.open_tenant()

    def thread() -> tuple[str | None, str | None]:
        with row.tenancy.scope("beta"):
            ours = asyncio.run_coroutine_threadsafe(current(), loop).result()
        return ours, asyncio.run_coroutine_threadsafe(current(), loop).result()

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as pool:
        assert await loop.run_in_executor(pool, thread) == ("beta", None)


async def test_thousand_tasks_see_their_own_tenant_only(street: House) -> None:
    gate = asyncio.Semaphore(20)

    async def one(slug: str) -> bool:
        async with gate, street.tenancy.async_session() as session:
            await asyncio.sleep(0)
            return bool(await session.scalar(owner) == slug == scope.current_tenant())

    tasks = []
    for number in range(1_000):
        slug = f"t{number % 10}"
        with street.tenancy.scope(slug):
            tasks.append(asyncio.create_task(one(slug)))
    assert all(await asyncio.gather(*tasks))
    await street.aclose()


# -- Celery


class Jobs:
    """A Celery application whose jobs say for whom they run."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.app = celery.Celery("tests", broker="memory://", backend="cache+memory://", set_as_current=False)
        self.app.conf.update(broker_transport_options={"polling_interval": 0.01})
        connect_celery()
        connect_celery()  # changes nothing
        self.tries: list[str | None] = []

        @self.app.task(shared=False, name="whose")
        def owning(before: Any = None) -> str | None:
            return whose(house)

        @self.app.task(shared=False, name="current")
        def current(before: Any = None) -> str | None:
            return scope.open_tenant()

        self.whose, self.current = owning, current

        @self.app.task(shared=False, bind=True, name="again", max_retries=2, default_retry_delay=0)
        def again(task: Any) -> Any:
            self.tries.append(scope.open_tenant())
            if len(self.tries) < 3:
                raise task.retry(countdown=0)
            return self.tries

        @self.app.task(shared=False, name="fail")
        def fail() -> None:
            raise ZeroDivisionError

        @self.app.task(shared=False, name="send")
        def send() -> str:
            inner = self.whose.apply().get(disable_sync_subtasks=False)  # in place: part of this job
            return f"{inner} {self.current.delay().id}"

        @self.app.task(shared=False, name="collect")
        def collect(found: list[Any]) -> list[Any]:
            return [*found, scope.open_tenant()]

        self.again, self.fail, self.send, self.collect = again, fail, send, collect


@pytest.fixture(scope="module", params=["solo", "threads"])
def working(request: pytest.FixtureRequest, file_street: str) -> Iterator[Jobs]:
    house = House("file", file_street)
    house.open()
    jobs = Jobs(house)
    root = logging.getLogger()
    before = root.level
    with start_worker(jobs.app, pool=request.param, concurrency=2, perform_ping_check=False, shutdown_timeout=30):
        root.setLevel(before)  # Celery raises it for the whole process, and other tests listen for warnings
        yield jobs
    house.close()


@pytest.fixture
def jobs(working: Jobs) -> Jobs:
    """A worker that has run other jobs before."""
    working.tries.clear()
    return working


def got(result: Any) -> Any:
    return result.get(timeout=30, interval=0.01)


def test_job_runs_for_the_tenant_that_it_was_sent_for(jobs: Jobs) -> None:
    sent = []
    for number in range(40):
        slug = f"t{number % 10}"
        with jobs.house.tenancy.scope(slug):
            sent.append((slug, jobs.whose.delay()))
        sent.append((None, jobs.current.delay()))
    assert [got(result) for _, result in sent] == [slug for slug, _ in sent]


def test_job_sent_without_a_tenant_has_none_whatever_ran_before(jobs: Jobs) -> None:
    for _ in range(5):
        with jobs.house.tenancy.scope("acme"):
            before, failing = jobs.whose.delay(), jobs.fail.delay()
        assert got(before) == "acme"
        with pytest.raises(ZeroDivisionError):
            got(failing)
        assert got(jobs.current.delay()) is None
        with pytest.raises(NoTenant):
            got(jobs.whose.delay())
    assert scope.open_tenant() is None


def test_retries_chains_and_chords_stay_with_their_tenant(jobs: Jobs) -> None:
    with jobs.house.tenancy.scope("acme"):
        again = jobs.again.delay()
        chain = celery.chain(jobs.current.s(), jobs.whose.s(), jobs.whose.s()).apply_async()
        chord = celery.chord([jobs.current.s(), jobs.whose.s()], jobs.collect.s()).apply_async()
        later = jobs.whose.apply_async(countdown=0.3)
    assert got(again) == ["acme", "acme", "acme"]
    assert got(chain) == "acme"
    assert got(chord) == ["acme", "acme", "acme"]
    assert got(later) == "acme"


def test_job_that_runs_in_place_belongs_to_its_caller(jobs: Jobs) -> None:
    with jobs.house.tenancy.scope("acme"):
        assert jobs.whose.apply().get() == "acme"
        assert jobs.whose() == "acme"
        inner, _, sent = got(jobs.send.delay()).partition(" ")
    assert inner == "acme"
    assert got(jobs.app.AsyncResult(sent)) == "acme"
    assert jobs.current.apply().get() is None


def test_tenant_of_another_kind_in_a_message_is_none(jobs: Jobs) -> None:
    assert got(jobs.current.apply_async(headers={HEADER: ["acme"]})) is None
    with jobs.house.tenancy.scope("acme"):  # the scope says for whom, not who writes the header
        assert got(jobs.current.apply_async(headers={HEADER: "beta"})) == "acme"


PREFORK = """
import sys
from celery import Celery
from tenantry import scope
from tenantry.propagation import connect_celery
from canaries import open_tenancy, owner

app = Celery("prefork", broker="filesystem://", backend="file://" + sys.argv[-1])
app.conf.broker_transport_options = {
    "polling_interval": 0.05,
    "data_folder_in": sys.argv[-1], "data_folder_out": sys.argv[-1], "control_folder": sys.argv[-1],
}
connect_celery()
tenancy = open_tenancy(sys.argv[-3], sys.argv[-2])

@app.task(name="whose")
def whose():
    import os
    if scope.open_tenant() is None:
        return [os.getpid(), None]
    with tenancy.session() as session:
        return [os.getpid(), session.scalar(owner)]
"""
WORKER = (
    PREFORK
    + """
app.worker_main(["worker", "--pool=prefork", "--concurrency=2", "--loglevel=ERROR", "--without-mingle"])
"""
)
SENDER = (
    PREFORK
    + """
sent = []
for number in range(20):
    slug = f"t{number % 10}"
    with tenancy.scope(slug):
        sent.append((slug, whose.delay()))
    sent.append((None, whose.delay()))
for slug, result in sent:
    pid, found = result.get(timeout=60, interval=0.05)
    assert found == slug, (found, slug)
    assert pid != __import__("os").getpid()
"""
)


def test_jobs_in_processes_of_a_worker_see_their_own_tenant_only(street: House, tmp_path: Path) -> None:
    arguments = [street.kind, street.where, str(tmp_path)]
    environment = {"PYTHONPATH": str(APPLICATION), "PATH": "", "C_FORCE_ROOT": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as worker:
        try:
            done = subprocess.run(
                [sys.executable, "-c", SENDER, *arguments],
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        finally:
            worker.terminate()
            said = worker.communicate(timeout=30)[1].decode()
    assert done.returncode == 0, done.stderr + said
