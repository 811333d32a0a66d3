"""A lane does so much at once, lets so much wait, and refuses the rest at once."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Iterator

import pytest

from tenantry.http.errors import TooBusy, TookTooLong
from tenantry.http.lanes import Lane

word: contextvars.ContextVar[str] = contextvars.ContextVar("word")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


async def test_work_beyond_the_bound_is_refused_at_once_and_the_rest_is_done(gate: threading.Event) -> None:
    lane = Lane("test", threads=2, waiting=3, timeout=20, retry_after=7)
    running = [asyncio.create_task(lane.run(lambda: gate.wait(20))) for _ in range(5)]
    await asyncio.sleep(0.05)

    before = time.perf_counter()
    with pytest.raises(TooBusy) as refused:
        await lane.run(lambda: True)
    assert time.perf_counter() - before < 5
    assert refused.value.retry_after == 7

    gate.set()
    assert await asyncio.gather(*running) == [True] * 5
    assert await lane.run(lambda: "again") == "again"
    assert lane.taken == 0
    assert not lane.close()


async def test_a_full_lane_leaves_others_and_the_loop_alone(gate: threading.Event) -> None:
    full, other = (Lane(name, threads=1, waiting=0, timeout=20, retry_after=1) for name in ("full", "other"))
    blocked = asyncio.create_task(full.run(lambda: gate.wait(20)))
    await asyncio.sleep(0.01)
    assert await asyncio.wait_for(other.run(lambda: 1), 2) == 1
    gate.set()
    await blocked


async def test_work_that_takes_too_long_goes_on_and_its_place_is_not_given_away(gate: threading.Event) -> None:
    lane = Lane("test", threads=1, waiting=0, timeout=0.1, retry_after=1)
    ended = threading.Event()

    def work() -> None:
        gate.wait(20)
        ended.set()
        raise ValueError("nobody hears this")

    with pytest.raises(TookTooLong):
        await lane.run(work)
    with pytest.raises(TooBusy):
        await lane.run(lambda: None)
    gate.set()
    assert ended.wait(5)
    for _ in range(500):
        if not lane.taken:
            break
        await asyncio.sleep(0.01)
    assert await lane.run(lambda: 2) == 2


async def test_work_that_never_got_a_thread_was_not_done(gate: threading.Event) -> None:
    lane = Lane("test", threads=1, waiting=5, timeout=0.2, retry_after=1)
    done: list[int] = []
    first = asyncio.create_task(lane.run(lambda: gate.wait(20)))
    await asyncio.sleep(0.01)
    with pytest.raises(TooBusy):
        await lane.run(lambda: done.append(1))
    gate.set()
    with pytest.raises(TookTooLong):
        await first
    await asyncio.sleep(0.1)
    assert done == []
    assert lane.taken == 0


async def test_the_callers_context_and_errors_travel() -> None:
    lane = Lane("test", threads=1, waiting=0, timeout=5, retry_after=1)
    word.set("here")
    assert await lane.run(word.get) == "here"
    with pytest.raises(ZeroDivisionError):
        await lane.run(lambda: 1 / 0)
    assert lane.taken == 0
