"""A relay that makes loopback a long line: a round trip of some time, and so many bytes per second.

It runs in a process of its own and holds any number of lines, each a port that leads to the same
server with a bandwidth of its own. What travels is queued with the time of its delivery, so that
the delay bounds no bandwidth; a connection costs a round trip before its first byte leaves.
Requests and bytes are counted. There is no slow start and no loss.
"""

import asyncio
import multiprocessing
import signal
import socket
import struct
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from types import TracebackType
from typing import Final, Self

from bench.harness.exchange import MeasurementFailed
from bench.harness.servers import Address

_BLOCK: Final = 64 << 10
_IN_FLIGHT: Final = 8 << 20
"""Bytes of one connection that are on their way at most; a client that does not read stops it."""

_BURST_SECONDS: Final = 0.005
"""How far a line may catch up after a pause: timers are late by milliseconds."""

_ANSWER_SECONDS: Final = 10
_RESET: Final = struct.pack("ii", 1, 0)
_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Count:
    """What has passed a line since its start: requests (a body is none), bytes towards clients,
    and connections."""

    requests: int = 0
    received: int = 0
    connections: int = 0

    def since(self, earlier: "Count") -> "Count":
        """Return what has passed since `earlier`."""
        return Count(
            self.requests - earlier.requests,
            self.received - earlier.received,
            self.connections - earlier.connections,
        )


class ShapedRelay:
    """Lines to `server` until the end of the context: `round_trip` is in seconds, `rate` in bytes
    per second and line, for each direction."""

    def __init__(self, server: Address, lines: int, *, round_trip: float, rate: float) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        ports = [socket.create_server(("127.0.0.1", 0), backlog=256) for _ in range(lines)]
        self._ports, self._theirs = ports, theirs
        self.addresses: list[Address] = [("127.0.0.1", one.getsockname()[1]) for one in ports]
        shape = _Shape(server, round_trip / 2, rate)
        self._process = context.Process(
            target=_serve, args=(shape, ports, theirs, self._pipe), daemon=True
        )

    def __enter__(self) -> Self:
        self._process.start()
        self._theirs.close()
        for port in self._ports:
            port.close()
        self._ask(("count", 0))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.join()

    def count(self, line: int) -> Count:
        """Return what has passed a line so far."""
        return self._ask(("count", line))

    def cut(self, line: int) -> None:
        """Reset a line's connections, and every new one as soon as it is made."""
        self._ask(("cut", line))

    def _ask(self, words: tuple[str, int]) -> Count:
        self._pipe.send(words)
        if not self._pipe.poll(_ANSWER_SECONDS):
            raise MeasurementFailed("the relay does not answer")
        answer = self._pipe.recv()
        assert isinstance(answer, Count)
        return answer


@dataclass(frozen=True, slots=True)
class _Shape:
    server: Address
    delay: float
    rate: float


class _Wire:
    """One direction of a line: bytes enter it one after the other, all connections in turn."""

    def __init__(self, shape: _Shape) -> None:
        self._shape = shape
        self._free_at = 0.0

    def enter(self, length: int, now: float) -> tuple[float, float]:
        """Return when so many bytes have entered, and when they come out."""
        begin = max(self._free_at, now - _BURST_SECONDS)
        self._free_at = begin + length / self._shape.rate
        return self._free_at, max(self._free_at, now) + self._shape.delay


class _Line:
    """One port: its connections, its bandwidth, its numbers."""

    def __init__(self, shape: _Shape, listener: socket.socket) -> None:
        self._shape = shape
        self._listener = listener
        self._up, self._down = _Wire(shape), _Wire(shape)
        self._carrying: set[asyncio.Task[None]] = set()
        self._is_cut = False
        self._requests = self._received = self._connections = 0

    @property
    def count(self) -> Count:
        return Count(self._requests, self._received, self._connections)

    def cut(self) -> None:
        self._is_cut = True
        for task in self._carrying:
            task.cancel()

    async def accept(self) -> None:
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        while True:
            client, _ = await loop.sock_accept(self._listener)
            if self._is_cut:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                client.close()
                continue
            self._connections += 1
            task = loop.create_task(self._carry(client))
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)

    async def _carry(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.time() + 2 * self._shape.delay  # SYN and SYN-ACK have travelled by then
        server = socket.socket()
        try:
            for one in (client, server):
                one.setblocking(False)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(server, self._shape.server)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(client, server, self._up, ready))
                group.create_task(self._pass_on(server, client, self._down, ready))
        except* OSError:
            pass  # an end broke off, and so the other does
        finally:
            for one in (client, server):
                with suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                one.close()

    async def _pass_on(
        self, source: socket.socket, target: socket.socket, wire: _Wire, ready: float
    ) -> None:
        """Carry the bytes of one direction to its end."""
        loop = asyncio.get_running_loop()
        flight = _Flight()
        tail = b""
        async with asyncio.TaskGroup() as group:
            group.create_task(flight.deliver(target))
            while block := await loop.sock_recv(source, _BLOCK):
                if wire is self._up:
                    text = tail + block
                    self._requests += text.count(_END)
                    tail = b"" if text.endswith(_END) else text[-3:]
                else:
                    self._received += len(block)
                entered, arrives = wire.enter(len(block), max(loop.time(), ready))
                await flight.send(block, arrives)
                if (pause := entered - loop.time()) > 0:
                    await asyncio.sleep(pause)
            await flight.send(b"", loop.time() + self._shape.delay)


class _Flight:
    """What one connection has on its way in one direction."""

    def __init__(self) -> None:
        self._blocks: deque[tuple[bytes, float]] = deque()
        self._length = 0
        self._changed = asyncio.Event()

    async def send(self, block: bytes, arrives: float) -> None:
        """Send a block on its way; an empty one is the end."""
        while self._length >= _IN_FLIGHT:
            self._changed.clear()
            await self._changed.wait()
        self._blocks.append((block, arrives))
        self._length += len(block)
        self._changed.set()

    async def deliver(self, target: socket.socket) -> None:
        """Hand over each block at its time, up to the end."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._blocks:
                self._changed.clear()
                await self._changed.wait()
            block, arrives = self._blocks.popleft()
            if (pause := arrives - loop.time()) > 0:
                await asyncio.sleep(pause)
            if not block:
                target.shutdown(socket.SHUT_WR)
                return
            await loop.sock_sendall(target, block)
            self._length -= len(block)
            self._changed.set()


def _serve(shape: _Shape, listeners: list[socket.socket], pipe: Pipe, parents: Pipe) -> None:
    parents.close()  # so that the parent's end is the end of it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    asyncio.run(_run(shape, listeners, pipe))


async def _run(shape: _Shape, listeners: list[socket.socket], pipe: Pipe) -> None:
    loop = asyncio.get_running_loop()
    lines = [_Line(shape, listener) for listener in listeners]
    ended = asyncio.Event()

    def answer() -> None:
        try:
            what, number = pipe.recv()
        except EOFError:
            ended.set()
            return
        if what == "cut":
            lines[number].cut()
        pipe.send(lines[number].count)

    loop.add_reader(pipe.fileno(), answer)
    accepting = [loop.create_task(line.accept()) for line in lines]
    await ended.wait()
    for task in accepting:
        task.cancel()
