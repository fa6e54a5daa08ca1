"""Waiting for content that is still on its way, no longer than the client does."""

import asyncio
from types import TracebackType


class ContentWait:
    """Where one client's handler waits: `with wait: await …`. If the client leaves meanwhile, what
    is awaited is cancelled, and ConnectionResetError is raised."""

    __slots__ = ("_left", "_task")

    def __init__(self) -> None:
        self._left = False
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

    def __enter__(self) -> None:
        if self._left:
            raise ConnectionResetError("the client left")
        self._task = asyncio.current_task()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        # As in asyncio.timeout: with a cancellation beside ours, it is that one that counts.
        if self._left and task is not None and task.uncancel() == 0:
            raise ConnectionResetError("the client left") from None
