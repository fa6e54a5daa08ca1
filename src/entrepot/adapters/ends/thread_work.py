"""Long work in a thread that ends soon after whoever waits for it has been cancelled."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class StopWork(Exception):
    """What work raises when it finds its event set; nobody sees it."""


async def stoppable(
    work: Callable[[threading.Event], Result], *, drop: Callable[[Result], None] | None = None
) -> Result:
    """Do `work` in a thread; on cancellation set its event and wait for its end.

    A result that nobody takes any more is given to `drop`.
    """
    stop = threading.Event()
    job = asyncio.get_running_loop().run_in_executor(None, work, stop)
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([job])
        if not job.cancelled() and job.exception() is None and drop is not None:
            drop(job.result())
        raise
