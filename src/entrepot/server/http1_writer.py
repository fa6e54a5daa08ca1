"""Responses on an HTTP/1.1 connection: heads, bodies in memory, files, streams."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Final

from entrepot.ports.delivery import File, Follow, Inline, Redirect, Stream
from entrepot.server.content_wait import ContentWait
from entrepot.server.framing import NO_CONTENT, sends_body
from entrepot.server.sendfile import FileTransfer, SpoolTransfer
from entrepot.web.chunks import chunks_of, read_blocks, read_spool
from entrepot.web.message import Request, Response

STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus
}


class Http1Writer:
    """The sending half of one connection. `on_body` runs when a body of some length starts:
    from then on progress counts."""

    __slots__ = (
        "_on_body",
        "_paused",
        "_tls",
        "_transfer",
        "_transport",
        "_wait",
        "_waiter",
        "_written",
        "lost",
    )

    def __init__(
        self, transport: asyncio.Transport, *, tls: bool, on_body: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._tls = tls
        self._on_body = on_body
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._wait = ContentWait()
        self._transfer: FileTransfer | None = None
        self._written = 0
        self.lost = False

    # ── what the transport tells ─────────────────────────────────────────────────────────────

    def pause(self) -> None:
        """The transport's buffer is full."""
        self._paused = True

    def resume(self) -> None:
        """The transport's buffer has room again."""
        self._paused = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def half_close(self) -> None:
        """The client sends nothing more."""
        self._wait.finish()

    def lose(self) -> None:
        """The connection is gone."""
        self.lost = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionResetError("the client left"))
        if self._transfer is not None:
            self._transfer.abort()
        self._wait.leave()

    # ── sending ──────────────────────────────────────────────────────────────────────────────

    @property
    def sent(self) -> int:
        """Bytes of the present response's body that have left this process."""
        if self._transfer is not None:
            return self._transfer.sent
        if self.lost or not self._paused:
            return self._written
        return max(0, self._written - self._transport.get_write_buffer_size())

    @property
    def starved(self) -> bool:
        """Whether the client waits for content to come, such as a spool that grows: that it gets
        nothing is not its fault, and where the content comes from its patience has an end."""
        return self._wait.waiting

    async def send(
        self, request: Request, response: Response, file: int, date: str, *, close: bool
    ) -> bool:
        """Send a response; return whether the connection must close to end its body.

        `file` is the open descriptor of a File or Follow body, closed here; -1 for others. Raise
        OSError if the client leaves or a file fails, what a spool raises, ValueError for a
        response that is no valid one; what was announced can then not be kept.
        """
        try:
            return await self._send(request, response, file, date, close=close)
        finally:
            if file >= 0:
                os.close(file)

    async def _send(
        self, request: Request, response: Response, file: int, date: str, *, close: bool
    ) -> bool:
        self._written = 0
        if self.lost:
            raise ConnectionResetError("the client left")
        body = response.body
        only_head = not sends_body(request, response)
        if isinstance(body, Redirect):
            raise ValueError("a face renders redirects")
        unframed = body.length is None and request.version != "1.1" and not only_head
        head = self.head(response, body.length, date, close=close or unframed)
        if only_head:
            self._transport.write(head)
        elif isinstance(body, Inline):
            self._written = body.length
            self._transport.write(head + body.content)
        elif isinstance(body, File | Follow):
            await self._send_file(head, body, file)
        else:
            await self._send_stream(head, body, chunked=body.length is None and not unframed)
        if self._paused:
            self._on_body()
            await self._drained()
        return close or unframed

    def head(self, response: Response, length: int | None, date: str, *, close: bool) -> bytes:
        """Return status line and headers. Raise ValueError if one holds a line break."""
        lines = [STATUS_LINES[response.status], date]
        if response.reason:
            lines[0] = f"HTTP/1.1 {response.status} {response.reason}\r\n"
        lines += [f"{name}: {value}\r\n" for name, value in response.headers]
        if response.status in NO_CONTENT:
            pass
        elif length is not None:
            lines.append(f"Content-Length: {length}\r\n")
        elif not close:
            lines.append("Transfer-Encoding: chunked\r\n")
        if close:
            lines.append("Connection: close\r\n")
        head = "".join(lines)
        if head.count("\n") != len(lines) or head.count("\r") != len(lines):
            raise ValueError("a response header holds a line break")
        return (head + "\r\n").encode("latin-1")

    async def _send_file(self, head: bytes, body: File | Follow, file: int) -> None:
        self._on_body()
        if self._tls:
            self._transport.write(head)
            if isinstance(body, File):
                await self._write_all(read_blocks(file, body.offset, body.length))
            else:
                await self._write_all(read_spool(body, file))
            return
        await self._flushed()
        # The loop's transport lets nobody else wait on its socket; on a duplicate we may.
        shared = self._transport.get_extra_info("socket")
        with socket.socket(fileno=os.dup(shared.fileno())) as sock:
            sock.setblocking(False)
            try:
                # A spool's bytes may be long in coming: its head does not wait for them.
                taken = sock.send(head, socket.MSG_MORE if isinstance(body, File) else 0)
            except BlockingIOError:
                taken = 0
            if taken < len(head):
                self._transport.write(head[taken:])
                await self._flushed()
            self._transfer = self._transfer_of(body, file, sock)
            try:
                await self._transfer.run()
            finally:
                self._written, self._transfer = self._transfer.sent, None

    def _transfer_of(self, body: File | Follow, file: int, sock: socket.socket) -> FileTransfer:
        if isinstance(body, File):
            return FileTransfer(sock, file, body.offset, body.length)
        return SpoolTransfer(sock, file, body, wait=self._wait)

    async def _flushed(self) -> None:
        """Wait until the transport has nothing more to send."""
        self._transport.set_write_buffer_limits(high=0)
        try:
            if self._transport.get_write_buffer_size():
                self._paused = True
                await self._drained()
        finally:
            self._transport.set_write_buffer_limits()

    async def _send_stream(self, head: bytes, body: Stream, *, chunked: bool) -> None:
        self._on_body()
        self._transport.write(head)
        chunks = chunks_of(body)
        await self._write_all(_framed(chunks) if chunked else chunks)
        if body.length is not None and self._written != body.length:
            raise OSError("the content ended early")

    async def _write_all(self, chunks: AsyncIterator[bytes]) -> None:
        while True:
            with self._wait:
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            self._written += len(chunk)
            self._transport.write(chunk)
            if self._paused:
                await self._drained()

    async def _drained(self) -> None:
        if self.lost:
            raise ConnectionResetError("the client left")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


async def _framed(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        if chunk:
            yield b"%x\r\n%b\r\n" % (len(chunk), chunk)
    yield b"0\r\n\r\n"
