"""Waiting for content that is still on its way, no longer than the client does."""

import asyncio
from types import TracebackType
from typing import Final

PATIENCE: Final = 1.0
"""Seconds without content after which a client that sends nothing more counts as gone. One that
only said so would wait on, but nothing tells them apart until there is something to send."""


class ContentWait:
    """Where one client's handler waits: `with wait: await …`. If the client leaves meanwhile, what
    is awaited is cancelled, and ConnectionResetError is raised."""

    __slots__ = ("_finished", "_left", "_task", "_timer")

    def __init__(self) -> None:
        self._finished = False
        self._left = False
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None

    @property
    def waiting(self) -> bool:
        """Whether the handler waits now."""
        return self._task is not None

    def leave(self) -> None:
        """The client has left."""
        if not self._left:
            self._left = True
            if self._task is not None:
                self._task.cancel()

    def finish(self) -> None:
        """The client sends nothing more: it wants what it has asked for, or it has left."""
        self._finished = True
        if self._task is not None:
            self._doubt()

    def _doubt(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE, self.leave)

    def __enter__(self) -> None:
        if self._left:
            raise ConnectionResetError("the client left")
        self._task = asyncio.current_task()
        if self._finished:
            self._doubt()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # As in asyncio.timeout: with a cancellation beside ours, it is that one that counts.
        if self._left and task is not None and task.uncancel() == 0:
            raise ConnectionResetError("the client left") from None
