"""A connection on which a test says every byte: requests half sent, pipelined, or malformed."""

import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.http_client import Response
from tests.server import RunningServer


class Wire:
    """One connection of a test's own. Reading past the end raises ConnectionError."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._received = sock.makefile("rb")

    @classmethod
    def to(cls, server: RunningServer, *, timeout: float = 3.0) -> Self:
        """Connect to a running server."""
        host, _, port = server.host.partition(":")
        return cls(socket.create_connection((host, int(port)), timeout))

    @classmethod
    def to_unix(cls, path: Path, *, timeout: float = 3.0) -> Self:
        """Connect to a UNIX socket."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(str(path))
        return cls(sock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close, whatever is under way."""
        self._received.close()
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are; a server that has hung up is no error, its answer counts."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(data)

    def finish(self) -> None:
        """Say that nothing more will be sent, and go on reading."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def get(self, target: str, *headers: str) -> Response:
        """Send a GET and read its response."""
        self.send(request("GET", target, *headers))
        return self.response()

    def response(self, method: str = "GET") -> Response:
        """Read one response, an interim one (1xx) too; `method` is that of its request."""
        status, headers = self.head()
        response = Response(status, headers, b"")
        if method == "HEAD" or status < 200 or status in (204, 304):
            return response
        if response.header("Transfer-Encoding") == "chunked":
            body = self._chunked()
        elif (length := response.header("Content-Length")) is not None:
            body = self.read(int(length))
        else:
            body = self._received.read()
        return Response(status, headers, body)

    def head(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        """Read status and headers; the body is the caller's to read."""
        version, _, rest = self._line().partition(" ")
        assert version == "HTTP/1.1", (version, rest)
        headers = []
        while line := self._line():
            name, _, value = line.partition(": ")
            headers.append((name, value))
        return int(rest[:3]), tuple(headers)

    def read(self, count: int) -> bytes:
        """Read exactly `count` bytes."""
        data = self._received.read(count)
        if len(data) != count:
            raise ConnectionError(f"{len(data)} of {count} bytes came")
        return data

    def rest(self) -> bytes:
        """Read until the server closes; a reset is an end too."""
        parts: list[bytes] = []
        with suppress(ConnectionResetError):
            while data := self._received.read1(65536):
                parts.append(data)
        return b"".join(parts)

    def _chunked(self) -> bytes:
        parts: list[bytes] = []
        while size := int(self._line(), 16):
            parts.append(self.read(size))
            assert self._line() == ""
        assert self._line() == ""
        return b"".join(parts)

    def _line(self) -> str:
        line = self._received.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError(f"the server closed after {line!r}")
        return line[:-2].decode("latin-1")


def request(method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    """Return a request; the Content-Length of a body is added, `headers` are whole lines."""
    lines = [f"{method} {target} HTTP/1.1", "Host: registry.test", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
