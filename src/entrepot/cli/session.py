"""How a command runs its asynchronous part: with a client of its own, that is closed in every
case, and so that Ctrl-C and SIGTERM end it cleanly."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from entrepot.cli.failures import warn
from entrepot.cli.words import debugging
from entrepot.client import Client

Result = TypeVar("Result")

_TERMINATED = 128 + signal.SIGTERM


def with_client(work: Callable[[Client], Awaitable[Result]]) -> Result:
    """Run `work` with a client and return its result. Raise KeyboardInterrupt on Ctrl-C, and
    SystemExit on SIGTERM, both after the client has been closed."""
    if debugging.get():
        _log_everything()
    return asyncio.run(_within(work))


async def _within(work: Callable[[Client], Awaitable[Result]]) -> Result:
    task, terminated = asyncio.current_task(), False
    assert task is not None

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        task.cancel()

    with suppress(NotImplementedError, RuntimeError):  # not the main thread, as in tests
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    try:
        async with Client(os.environ, debug=debugging.get(), warn=warn) as client:
            return await work(client)
    except asyncio.CancelledError:
        if terminated:
            raise SystemExit(_TERMINATED) from None
        raise


def _log_everything() -> None:
    from entrepot import logs
    from entrepot.config import LogSettings

    logs.configure(LogSettings(level="debug"))
