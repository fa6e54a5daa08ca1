"""Threads that move bodies: so many, and for whoever waits, in the order in which they came."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

MOST: Final = 64
"""How many bodies a transport moves at the same moment."""


class NoThread(Exception):
    """No thread was free for `seconds`: all have been at work, or waited for a disk."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Threads:
    """The threads of one transport. Who finds none free waits for `patience` seconds at most."""

    def __init__(self, patience: float, most: int = MOST) -> None:
        self.pool = ThreadPoolExecutor(most, "pour")
        self._patience = patience
        self._free = asyncio.Semaphore(most)
        self._waiting = 0

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for a thread. From any thread."""
        return self._waiting > 0

    async def take(self) -> None:
        """Wait for the right to have a job run in `pool`. Raise NoThread."""
        if not self._free.locked():
            await self._free.acquire()
            return
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._free.acquire()
        except TimeoutError:
            raise NoThread(self._patience) from None
        finally:
            self._waiting -= 1

    def give_back(self) -> None:
        """Let the next one have the thread."""
        self._free.release()

    def close(self) -> None:
        """Let the threads end after what they do now."""
        self.pool.shutdown(wait=False)
