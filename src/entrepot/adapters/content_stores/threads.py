"""The threads of one content store: what blocks is done there, in order where order matters."""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

Result = TypeVar("Result")


class Threads:
    """A pool of at most `count` threads, which start when first needed, for `cores` processors
    (those this process may use, unless told otherwise)."""

    def __init__(self, count: int, *, cores: int | None = None) -> None:
        self.pool = ThreadPoolExecutor(count, thread_name_prefix="content-store")
        self.lock = Lock()
        self.moving = 0
        """How many lanes are at work; changed under `lock`."""
        self._cores = cores or len(os.sched_getaffinity(0))

    async def run(self, work: Callable[..., Result], *arguments: object) -> Result:
        """Do `work` in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.pool, work, *arguments)

    def lanes(self) -> "tuple[Lane, Lane]":
        """Return two lanes to share work between, the same one twice if the cores are taken:
        then it is faster to do one thing after the other with warm caches."""
        first = Lane(self)
        return first, Lane(self) if self.moving + 2 <= self._cores else first

    async def close(self) -> None:
        """End the threads; what has been begun is finished first."""
        await asyncio.to_thread(self.pool.shutdown)


class Lane:
    """Jobs done one after another, in order.

    After a job has failed the later ones are not done, and fail with its error (`failure`).
    """

    def __init__(self, threads: Threads) -> None:
        self.failure: BaseException | None = None
        self._threads = threads
        self._jobs: deque[tuple[Callable[[], None], Future[None]]] = deque()
        self._moving = False

    def submit(self, job: Callable[[], None]) -> asyncio.Future[None]:
        """Add a job; return at once with the future of its end. Called on the event loop."""
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # who waits may be cancelled, the job may not
        with self._threads.lock:
            self._jobs.append((job, done))
            starts = not self._moving
            if starts:
                self._moving = True
                self._threads.moving += 1
        if starts:
            self._threads.pool.submit(self._move)
        return asyncio.wrap_future(done)

    def _move(self) -> None:
        while True:
            with self._threads.lock:
                if not self._jobs:
                    self._moving = False
                    self._threads.moving -= 1
                    return
                job, done = self._jobs.popleft()
            if self.failure is None:
                try:
                    job()
                except BaseException as error:
                    self.failure = error
            if self.failure is None:
                done.set_result(None)
            else:
                done.set_exception(self.failure)


async def uncancelled(work: Coroutine[Any, Any, Result]) -> Result:
    """Await `work` to its end also when the caller is cancelled meanwhile; then say so."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
