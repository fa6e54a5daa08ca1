"""An HTTP/2 client for tests: whole requests, or frame by frame through `h2` itself."""

import socket
from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final, Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)

from tests.http_client import Response
from tests.server import RunningServer

GOAWAY: Final = 0x7


class Http2Client:
    """One connection, by prior knowledge unless the socket is a TLS one that agreed on h2.

    `h2` may be used directly, then `flush`. Reading past the end raises ConnectionError.
    """

    def __init__(self, sock: socket.socket, authority: str, *, scheme: str = "http") -> None:
        self.sock = sock
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="latin-1"))
        self.authority = authority
        self.scheme = scheme
        self.goodbye: ConnectionTerminated | None = None
        self.resets: dict[int, int] = {}
        """Streams that the server reset, with its error codes."""
        self._raw = b""
        self.unread = 0
        """Bytes of bodies that have arrived and were not acknowledged (`take(read=False)`)."""
        self._heads: dict[int, tuple[tuple[str, str], ...]] = {}
        self._bodies: defaultdict[int, bytearray] = defaultdict(bytearray)
        self._ended: set[int] = set()
        self.h2.initiate_connection()
        self.flush()

    @classmethod
    def to(cls, server: RunningServer, *, timeout: float = 10.0) -> Self:
        """Connect to a running server without TLS."""
        host, _, port = server.host.partition(":")
        return cls(socket.create_connection((host, int(port)), timeout), server.host)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sock.close()

    def start(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        *,
        end: bool = True,
    ) -> int:
        """Send a request's header; return its stream."""
        stream = self.h2.get_next_available_stream_id()
        given = headers.items() if isinstance(headers, Mapping) else headers
        fields = [
            (":method", method),
            (":authority", self.authority),
            (":scheme", self.scheme),
            (":path", target),
            *given,
        ]
        self.h2.send_headers(stream, fields, end_stream=end)
        self.flush()
        return stream

    def send(self, stream: int, body: bytes) -> None:
        """Send a body whole, as fast as the server lets us; stop if it resets the stream."""
        view = memoryview(body)
        while view and stream not in self.resets and stream not in self._ended:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room <= 0:
                self.take()
                continue
            self.h2.send_data(stream, bytes(view[:room]))
            view = view[room:]
            self.flush()
        if stream not in self.resets and stream not in self._ended:
            self.h2.end_stream(stream)
            self.flush()

    def response(self, stream: int) -> Response:
        """Read until the response is whole. Raise ConnectionError if it is reset."""
        while stream not in self._ended:
            if stream in self.resets and stream not in self._ended:
                raise ConnectionResetError(f"stream {stream}, code {self.resets[stream]}")
            self.take()
        fields = self._heads[stream]
        status = int(dict(fields)[":status"])
        return Response(status, fields[1:], bytes(self._bodies.pop(stream, b"")))

    def request(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send a request and read its response."""
        stream = self.start(method, target, headers or {}, end=not body)
        if body:
            self.send(stream, body)
        return self.response(stream)

    def take(self, *, read: bool = True) -> list[Event]:
        """Receive what comes next; without `read` windows are not opened again for it."""
        data = self.sock.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection")
        events = self.h2.receive_data(self._without_farewell(data))
        for event in events:
            self._on_event(event, read=read)
        self.flush()
        return events

    def _without_farewell(self, data: bytes) -> bytes:
        """Keep an orderly GOAWAY from `h2`, which takes it for the end of all streams; RFC 9113
        lets those in progress go on (6.8), and that is what is to be seen."""
        self._raw += data
        whole = b""
        while len(self._raw) >= 9:
            end = 9 + int.from_bytes(self._raw[:3], "big")
            if len(self._raw) < end:
                break
            frame, self._raw = self._raw[:end], self._raw[end:]
            if frame[3] == GOAWAY and frame[13:17] == bytes(4):
                self.goodbye = ConnectionTerminated()
                self.goodbye.error_code = ErrorCodes.NO_ERROR
                self.goodbye.last_stream_id = int.from_bytes(frame[9:13], "big")
            else:
                whole += frame
        return whole

    def until_closed(self) -> None:
        """Receive until the server closes."""
        try:
            while True:
                self.take()
        except ConnectionError:
            return

    def flush(self) -> None:
        """Send what `h2` has queued."""
        self.sock.sendall(self.h2.data_to_send())

    def _on_event(self, event: Event, *, read: bool) -> None:
        if isinstance(event, ResponseReceived):
            self._heads[event.stream_id] = tuple((str(k), str(v)) for k, v in event.headers)
        elif isinstance(event, DataReceived):
            self._bodies[event.stream_id] += event.data
            if read:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            else:
                self.unread += event.flow_controlled_length
        elif isinstance(event, StreamEnded):
            self._ended.add(event.stream_id)
        elif isinstance(event, StreamReset):
            self.resets[event.stream_id] = int(event.error_code)
        elif isinstance(event, ConnectionTerminated):
            self.goodbye = event
