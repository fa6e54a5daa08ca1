"""Lanes keep the order of their jobs over many threads, and stop at the first failure."""

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial

import pytest

from entrepot.adapters.content_stores.threads import Lane, Threads, uncancelled


def wait_for(gate: threading.Event | threading.Barrier) -> None:
    gate.wait(30)


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    threads = Threads(4, cores=4)
    yield threads
    await threads.close()


async def test_jobs_are_done_in_order(threads: Threads) -> None:
    lane, done = Lane(threads), list[int]()
    await asyncio.gather(*(lane.submit(partial(done.append, number)) for number in range(1000)))
    assert done == list(range(1000))


async def test_lanes_move_beside_each_other(threads: Threads) -> None:
    """Each lane waits for the other: they would stand for ever on one thread."""
    barrier = threading.Barrier(2)
    jobs = [Lane(threads).submit(lambda: wait_for(barrier)) for _ in range(2)]
    await asyncio.gather(*jobs)


async def test_after_a_failure_nothing_more_is_done(threads: Threads) -> None:
    lane, done = Lane(threads), list[int]()

    def fail() -> None:
        raise OSError("broken")

    jobs = [lane.submit(job) for job in (partial(done.append, 1), fail, partial(done.append, 2))]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [str(result) for result in results] == ["None", "broken", "broken"]
    assert done == [1]
    with pytest.raises(OSError, match="broken"):
        await lane.submit(partial(done.append, 3))


async def test_a_cancelled_wait_does_not_cancel_the_job(threads: Threads) -> None:
    lane, gate, done = Lane(threads), threading.Event(), list[int]()
    lane.submit(lambda: wait_for(gate))
    second = lane.submit(partial(done.append, 2))
    second.cancel()
    third = lane.submit(partial(done.append, 3))
    gate.set()
    async with asyncio.timeout(30):
        await third
    assert done == [2, 3]


async def test_lanes_are_one_where_no_core_is_idle(threads: Threads) -> None:
    gate = threading.Event()
    waiting = []
    for apart in (True, True, True, False):  # two lanes need two of the four cores
        first, second = threads.lanes()
        assert (first is not second) is apart
        waiting.append(first.submit(lambda: wait_for(gate)))
    gate.set()
    await asyncio.gather(*waiting)


async def test_lanes_at_rest_take_no_core(threads: Threads) -> None:
    await asyncio.gather(*(Lane(threads).submit(lambda: None) for _ in range(50)))
    await threads.close()
    assert threads.moving == 0


async def test_uncancelled_work_comes_to_its_end_before_the_cancellation() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        for _ in range(5):
            await asyncio.sleep(0)
        ended.set()

    waiting = asyncio.create_task(uncancelled(work()))
    await started.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
