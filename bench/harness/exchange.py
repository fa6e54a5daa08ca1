"""The little HTTP/1.1 that bulk clients speak: over a raw socket, at next to no CPU.

Bodies of responses are received into one buffer and dropped; those of requests leave by
sendfile(2).
"""

import os
import socket
import time
from dataclasses import dataclass
from typing import Final

from bench.harness.servers import Address

TIMEOUT_SECONDS: Final = 60
_BUFFER_SIZE: Final = 1024 * 1024


class MeasurementFailed(Exception):
    """A server answered wrongly under load, or a load generator did not do its work."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: `headers` by lower-case name, `length` the bytes of body that arrived, the first
    of them at `began` (monotonic)."""

    status: int
    headers: dict[str, str]
    length: int
    began: float


class Connection:
    """One keep-alive connection."""

    def __init__(self, address: Address) -> None:
        self._host = f"{address[0]}:{address[1]}"
        self._socket = socket.create_connection(address, timeout=TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(_BUFFER_SIZE)
        self._view = memoryview(self._buffer)

    def close(self) -> None:
        self._socket.close()

    def ask(self, method: str, target: str, accept: str = "") -> Answer:
        """Send a request without a body and receive the answer."""
        self._socket.sendall(self._head(method, target, 0 if method == "POST" else None, accept))
        return self._answer()

    def send(self, method: str, target: str, descriptor: int, size: int, tail: bytes) -> Answer:
        """Send the first `size` bytes of an open file and then `tail`; receive the answer."""
        head = self._head(method, target, size + len(tail))
        self._socket.sendall(head, socket.MSG_MORE)
        offset = 0
        # A socket with a timeout is non-blocking underneath, which sendfile(2) would show.
        self._socket.setblocking(True)
        while offset < size:
            offset += os.sendfile(self._socket.fileno(), descriptor, offset, size - offset)
        self._socket.settimeout(TIMEOUT_SECONDS)
        self._socket.sendall(tail)
        return self._answer()

    def _head(self, method: str, target: str, length: int | None, accept: str = "") -> bytes:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}"]
        if accept:
            lines.append(f"Accept: {accept}")
        if length is not None:
            lines += [f"Content-Length: {length}", "Content-Type: application/octet-stream"]
        return "\r\n".join([*lines, "", ""]).encode("ascii")

    def _answer(self) -> Answer:
        filled = 0
        while (end := self._buffer.find(b"\r\n\r\n", 0, filled)) < 0:
            count = self._socket.recv_into(self._view[filled:])
            if count == 0:
                raise MeasurementFailed("the server closed the connection before it answered")
            filled += count
        status, headers = _parse_head(bytes(self._buffer[:end]))
        if "content-length" not in headers:
            raise MeasurementFailed(f"an answer {status} without Content-Length")
        length = int(headers["content-length"])
        left = length - (filled - end - 4)
        began = time.monotonic() if left < length else 0.0
        while left > 0:
            count = self._socket.recv_into(self._view, min(left, _BUFFER_SIZE))
            if count == 0:
                raise MeasurementFailed(f"the server closed {left} bytes before the end")
            left -= count
            began = began or time.monotonic()
        return Answer(status, headers, length, began)


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split(" ", 2)[1]), {name.lower(): value.strip() for name, _, value in pairs}
