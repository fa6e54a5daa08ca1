"""Files to sockets by sendfile(2): the kernel copies, the event loop only waits. Also files that
are still being written.

The event loop's transport owns its socket and lets nobody else wait on it, so a transfer works
on a duplicate of the descriptor: the same socket, with an epoll registration of its own.
"""

import asyncio
import os
import socket
from typing import Final

from entrepot.ports.delivery import Follow
from entrepot.server.content_wait import ContentWait

STEP: Final = 2 * 1024 * 1024
"""Most bytes handed to the kernel at once, so that transfers take turns."""


class FileTransfer:
    """One file range on its way to a client. `sent` counts bytes taken by the kernel."""

    __slots__ = ("_count", "_done", "_end", "_file", "_loop", "_offset", "_socket", "sent")

    def __init__(self, sock: socket.socket, file: int, offset: int, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock.fileno()
        self._file = file
        self._offset = offset
        self._count = self._end = count
        self._done: asyncio.Future[None] | None = None
        self.sent = 0

    async def run(self) -> None:
        """Send the range. Raise ConnectionError if the client leaves, OSError if the file fails."""
        await self._send_until(self._count)

    async def _send_until(self, end: int) -> None:
        """Send the range's first `end` bytes, as far as they are not sent yet."""
        self._end = end
        self._step()
        if self.sent == end:
            return
        self._done = self._loop.create_future()
        self._loop.add_writer(self._socket, self._writable)
        try:
            await self._done
        finally:
            self._loop.remove_writer(self._socket)

    def abort(self) -> None:
        """Make `run` raise ConnectionResetError."""
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionResetError("the client left"))

    def _step(self) -> None:
        try:
            count = os.sendfile(
                self._socket,
                self._file,
                self._offset + self.sent,
                min(self._end - self.sent, STEP),
            )
        except BlockingIOError:
            return
        if count == 0:
            raise OSError(f"the file ended {self._end - self.sent} bytes early")
        self.sent += count

    def _writable(self) -> None:
        done = self._done
        if done is None or done.done():
            return
        try:
            self._step()
        except OSError as error:
            done.set_exception(error)
            return
        if self.sent == self._end:
            done.set_result(None)


class SpoolTransfer(FileTransfer):
    """A range of a spool on its way to a client, as the spool grows."""

    __slots__ = ("_body", "_wait")

    def __init__(
        self,
        sock: socket.socket,
        file: int,
        body: Follow,
        *,
        wait: ContentWait,
    ) -> None:
        super().__init__(sock, file, body.offset, body.length)
        self._body = body
        self._wait = wait

    async def run(self) -> None:
        """As of a file; also raise what the spool raises when it fails."""
        while self.sent < self._count:
            with self._wait:
                ready = await self._body.available(self._offset + self.sent)
            await self._send_until(ready - self._offset)
