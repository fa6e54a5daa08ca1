"""A relay: a TCP port between a client and a server where a network fails when a test says so,
and where every byte is counted."""

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Final, Literal, Self

Way = Literal["up", "down"]
"""Towards the server, or towards the client."""

_BLOCK: Final = 64 << 10
_BUFFER: Final = 128 << 10
"""What the kernel may hold on each side, so that little is on its way when the line is cut."""

_RESET: Final = struct.pack("ii", 1, 0)


class Relay:
    """Connections to `host` (on loopback, free port) lead to `server`, until the end of the
    context. `passed` counts the bytes that went each way.

    At most one plan is in force: `hold_after` or `cut_after`.
    """

    def __init__(self, server: str) -> None:
        name, _, port = server.rpartition(":")
        self._server = (name, int(port))
        self._lock = threading.Condition()
        self._way: Way = "up"
        self._step = 0
        self._limit: int | None = None
        self._holds = False
        self._cuts = 0
        self._down = False
        self._held = False
        self._ended = False
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.passed: dict[Way, int] = {"up": 0, "down": 0}
        self.connections = 0
        self.cuts = 0
        """How often all connections were cut."""
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._ended = True
        # Only `shutdown` wakes up a thread that accepts.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def hold_after(self, count: int, way: Way) -> None:
        """Let exactly `count` more bytes pass in a direction, then nothing in any until `cut`."""
        self._plan(count, way, holds=True)

    def cut_after(self, count: int, way: Way, *, times: int | None = None) -> None:
        """Reset all connections after `count` more bytes, and again after as many: with `times`
        so often, and each time the next connection gets through. Without, the line stays dead."""
        self._plan(count, way, cuts=times or 0)

    @property
    def held(self) -> bool:
        """Whether `hold_after` has come into force."""
        return self._held

    def cut(self) -> None:
        """Reset all connections, and all that are tried from now on."""
        with self._lock:
            self._down = True
            self._reset()

    def restore(self) -> None:
        """Let everything pass, and count anew."""
        with self._lock:
            self._down = self._holds = self._held = False
            self._limit = None
            self.passed = {"up": 0, "down": 0}

    def _plan(self, count: int, way: Way, *, holds: bool = False, cuts: int = 0) -> None:
        with self._lock:
            self._way, self._holds, self._cuts = way, holds, cuts
            self._step = count
            self._limit = self.passed[way] + count

    def _reset(self) -> None:
        self.cuts += 1
        for pair in self._pairs:
            for one in pair:
                with suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)  # wakes up its threads, which close it
        self._pairs.clear()
        self._lock.notify_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                refused = self._down or self._ended
                self.connections += 1
            server = None if refused else self._connected()
            if server is None:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                client.close()
                continue
            pair = (client, server)
            with self._lock:
                self._pairs.add(pair)
            threading.Thread(target=self._carry, args=(pair,), daemon=True).start()

    def _connected(self) -> socket.socket | None:
        try:
            server = socket.create_connection(self._server, timeout=5)
        except OSError:
            return None
        server.settimeout(None)
        return server

    def _carry(self, pair: tuple[socket.socket, socket.socket]) -> None:
        for one in pair:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=self._pass_on, args=(pair, "down"), daemon=True)
        back.start()
        self._pass_on(pair, "up")
        back.join()
        with self._lock:
            self._pairs.discard(pair)
            for one in pair:
                one.close()

    def _pass_on(self, pair: tuple[socket.socket, socket.socket], way: Way) -> None:
        """Carry the bytes of one direction to its end."""
        source, target = pair if way == "up" else pair[::-1]
        with suppress(OSError):
            while block := source.recv(_BLOCK):
                if not self._may_pass(pair, target, way, block):
                    return
            with self._lock:
                if pair in self._pairs:
                    target.shutdown(socket.SHUT_WR)
            return
        with self._lock:  # an end broke off: so does the other
            for one in pair if pair in self._pairs else ():
                with suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _may_pass(
        self,
        pair: tuple[socket.socket, socket.socket],
        target: socket.socket,
        way: Way,
        block: bytes,
    ) -> bool:
        """Send a block as far as the plan allows; say whether the connection goes on."""
        while block:
            with self._lock:
                # When the line is dead in one direction, it is in the other.
                while self._held and pair in self._pairs:
                    self._lock.wait()
                if pair not in self._pairs:
                    return False
                free = len(block)
                if self._limit is not None and way == self._way:
                    free = min(free, self._limit - self.passed[way])
                self.passed[way] += free
            target.sendall(block[:free])
            block = block[free:]
            with self._lock:
                if self._limit is not None and self.passed[self._way] >= self._limit:
                    self._reached()
        return True

    def _reached(self) -> None:
        if self._holds:
            self._held = True
            self._lock.notify_all()
            return
        self._cuts -= 1
        self._limit = self._limit + self._step if self._cuts > 0 and self._limit else None
        self._down = self._cuts < 0
        self._reset()
