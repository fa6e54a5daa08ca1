"""HTTP/1.1 of the mock registry, on asyncio streams: one connection, read and answered as told.

It is lenient where that costs nothing, and obeys its faults to the letter: a length that lies, a
body that stops, a connection that is reset. No HTTP/2, no pipelined replies out of order.
"""

import asyncio
import fcntl
import socket
import struct
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from entrepot.testing.mock_exchange import BLOCK, Exchange, HangUp, Reply, Request

HEAD_LIMIT: Final = 256 << 10
_NO_BODY: Final = frozenset({204, 304})
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
_GIVE_UP: Final = 2.0
"""How long, in seconds, sent bytes may take to reach the peer before a reset."""

Answer = Callable[[Request, "RequestBody"], Exchange]
Done = Callable[[Exchange, Exception | None], None]


class RequestBody:
    """The body of one request. The client is told to go on when it is first read."""

    def __init__(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader, self._writer = reader, writer
        coding = (request.header("transfer-encoding") or "").lower()
        self._chunked = "chunked" in coding
        self._left = 0 if self._chunked else int(request.header("content-length") or 0)
        self.expected = (request.header("expect") or "").lower() == "100-continue"
        self.done = not self._chunked and self._left == 0

    async def read(self) -> bytes:
        if self.done:
            return b""
        if self.expected:
            self.expected = False
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._chunked and not self._left:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                raise HangUp
            self._left = int(line.partition(b";")[0], 16)
            if not self._left:
                while (await self._reader.readline()).strip():
                    pass  # trailers
                self.done = True
                return b""
        data = await self._reader.read(min(self._left, BLOCK))
        if not data:
            raise HangUp
        self._left -= len(data)
        if self._chunked and not self._left:
            await self._reader.readline()
        self.done = not self._chunked and not self._left
        return data


class Connection:
    """One connection from its first byte to its last.

    `answer` makes the exchange of a request; `done` is told when it has ended, and of what a
    fault has raised by mistake.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answer: Answer,
        done: Done,
    ) -> None:
        self._reader, self._writer = reader, writer
        self._answer, self._done = answer, done
        writer.transport.set_write_buffer_limits(high=BLOCK)

    async def run(self) -> None:
        """Answer requests until either side has had enough; the connection is closed then."""
        try:
            while await self._one():
                pass
            self._writer.close()
            await self._writer.wait_closed()
        except HangUp as hang_up:
            await self._end(hang_up.reset)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass  # the client has left, or does not speak HTTP
        finally:
            self._writer.transport.abort()

    async def _one(self) -> bool:
        first = await self._reader.readexactly(1)
        if not first.isalpha():
            # TLS, mostly: clients try that first, and would wait long for a server that waits.
            self._writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            return False
        head = first + await self._reader.readuntil(b"\r\n\r\n")
        request, version = _parse_head(head)
        body = RequestBody(request, self._reader, self._writer)
        exchange = self._answer(request, body)
        problem = None
        try:
            try:
                reply = await exchange.proceed()
            except (HangUp, OSError):
                raise
            except Exception as error:
                problem = error
                reply = Reply.of_error(500, "UNKNOWN", f"a fault failed: {error!r}")
            keep = version != "HTTP/1.0" and not reply.close and not body.expected
            keep = keep and (request.header("connection") or "").lower() != "close"
            await self._send(exchange, reply, keep)
            if keep:
                # A client that is still sending reads its reply only when it is rid of the body.
                await exchange.discard()
            return keep
        finally:
            exchange.ended = time.monotonic()
            self._done(exchange, problem)

    async def _send(self, exchange: Exchange, reply: Reply, keep: bool) -> None:
        reason = _REASONS.get(reply.status, "Unknown")
        lines = [f"HTTP/1.1 {reply.status} {reason}", *(f"{k}: {v}" for k, v in reply.headers)]
        has_body = reply.status not in _NO_BODY
        chunked = has_body and reply.length is None
        if has_body:
            lines.append(
                "Transfer-Encoding: chunked" if chunked else f"Content-Length: {reply.length}"
            )
        if not keep:
            lines.append("Connection: close")
        exchange.status = reply.status
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        if has_body and exchange.request.method != "HEAD" and reply.body is not None:
            async for chunk in reply.body():
                exchange.bytes_sent += len(chunk)
                framed = b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk
                if chunk:
                    self._writer.write(framed)
                    await self._writer.drain()
            if chunked:
                self._writer.write(b"0\r\n\r\n")
            elif exchange.bytes_sent != reply.length:
                raise HangUp  # nothing that follows could be understood
        await self._writer.drain()

    async def _end(self, reset: bool) -> None:
        if not reset:
            with suppress(OSError):
                self._writer.close()
                await self._writer.wait_closed()
            return
        bound = self._writer.get_extra_info("socket")
        deadline = time.monotonic() + _GIVE_UP
        # Nothing tells when the kernel has sent all; a reset would take back what it has not.
        while self._writer.transport.get_write_buffer_size() or _unsent(bound):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.001)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


def _parse_head(head: bytes) -> tuple[Request, str]:
    first, *rest = head.decode("latin-1").split("\r\n")
    method, target, version = first.split(" ")
    parts = urlsplit(target)
    headers = tuple(
        (name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in rest)
    )
    query = tuple(parse_qsl(parts.query, keep_blank_values=True))
    return Request(method, parts.path, query, tuple(line for line in headers if line[0])), version


def _unsent(bound: socket.socket) -> int:
    """Return how many bytes the peer's kernel has not acknowledged."""
    with suppress(OSError):
        answer = fcntl.ioctl(bound.fileno(), termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(answer, "little")
    return 0
