"""Flights: a question that several clients have at once is asked once, and goes on when the client
that began it leaves. And which of them are late."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

Answer = TypeVar("Answer")


class Flights(Generic[Answer]):
    """Questions under way in this process, by key."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Answer]] = {}

    def join(
        self, key: Hashable, ask: Callable[[], Coroutine[Any, Any, Answer]]
    ) -> tuple[asyncio.Task[Answer], bool]:
        """Return the task that answers `key`, and whether somebody else had begun it."""
        task = self._tasks.get(key)
        if task is not None and not task.done():  # an answer that is there may be of yesterday
            return task, True
        task = self._tasks[key] = asyncio.get_running_loop().create_task(ask())
        task.add_done_callback(lambda done: self._landed(key, done))
        return task, False

    async def close(self) -> None:
        """Cancel what is still under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _landed(self, key: Hashable, task: asyncio.Task[Answer]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled():
            task.exception()  # whoever waited has it; if nobody did, it is no news


class LateAnswers:
    """Questions whose answer did not come in time and has not come since, by who was asked."""

    def __init__(self) -> None:
        self._late: dict[str, set[asyncio.Task[Any]]] = {}

    def note(self, asked: str, task: asyncio.Task[Any]) -> None:
        """Remember that an answer is late, until it comes."""
        if task.done() or self.has(asked, task):
            return
        self._late.setdefault(asked, set()).add(task)
        task.add_done_callback(lambda done: self._came(asked, done))

    def has(self, asked: str, task: asyncio.Task[Any]) -> bool:
        """Say whether this very answer is late."""
        return task in self._late.get(asked, ())

    def any(self, asked: str) -> bool:
        """Say whether any answer of theirs is late."""
        return asked in self._late

    def _came(self, asked: str, task: asyncio.Task[Any]) -> None:
        late = self._late[asked]
        late.discard(task)
        if not late:
            del self._late[asked]
