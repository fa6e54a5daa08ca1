"""HTTP/2 on one connection (RFC 9113): many requests at once, framed by h2."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final, cast

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error, ProtocolError, StreamClosedError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from entrepot.ports.delivery import File, Follow, Redirect
from entrepot.server.body import ReceivedBody
from entrepot.server.connections import FOREVER, Server
from entrepot.server.content_wait import ContentWait
from entrepot.server.framing import NO_CONTENT, sends_body
from entrepot.web.chunks import chunks_of, read_blocks, read_spool
from entrepot.web.message import BodyIncomplete, EmptyBody, Headers, Request, Response

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CONNECTION_WINDOW: Final = 16 * 1024 * 1024
STREAM_WINDOW: Final = 1024 * 1024
MAX_STREAMS: Final = 128
MAX_RESETS: Final = 500
"""Streams a client may open and reset on one connection (the rapid-reset attack)."""

FLUSH: Final = 256 * 1024
GOODBYE: Final = 2.0
"""Seconds that a closing connection has to take what was sent to it."""

MAX_UNSENT: Final = 4 * 1024 * 1024
"""Bytes that may wait for a client that asks but does not read."""


@dataclass(slots=True, eq=False)
class Exchange:
    """One stream: a request, its body as it arrives, and the response on its way."""

    id: int
    body: ReceivedBody | None = None
    window: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    wait: ContentWait = field(default_factory=ContentWait)
    sent: int = 0
    received: int = 0
    seen: int = -1
    sending: bool = False
    lost: bool = False


class Http2Connection(asyncio.Protocol):
    """One client connection with any number of exchanges."""

    def __init__(self, server: Server) -> None:
        self.deadline = FOREVER
        self._server = server
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._client = ""
        self._secure = False
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
        self._exchanges: dict[int, Exchange] = {}
        self._resets = 0
        self._unsent = 0
        self._draining = False
        self._lost = False
        self._writable = asyncio.Event()
        self._writable.set()

    # ── asyncio.Protocol ─────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._secure = transport.get_extra_info("ssl_object") is not None
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if isinstance(peer, tuple) else ""
        self._server.admit(self)
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: self._server.limits.max_header_bytes,
            },
        )
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW)
        self._flush()
        self.deadline = self._server.now + self._server.limits.idle_timeout

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._on_event(event)
        except ProtocolError:
            # h2 has queued the GOAWAY that says why.
            self._flush()
            self._transport.close()
            return
        self._flush()
        if self._transport.get_write_buffer_size() > MAX_UNSENT:
            # Answers to PING and SETTINGS that nobody reads (CVE-2019-9512, -9515).
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._writable.set()
        self._server.forget(self)
        for exchange in list(self._exchanges.values()):
            self._give_up(exchange)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # ── Connection, as the server sees it ────────────────────────────────────────────────────

    def expire(self) -> None:
        """Cut what has stood still since the last look: streams, or the whole connection."""
        unsent = self._transport.get_write_buffer_size()
        if self._transport.is_closing() or (
            not self._writable.is_set() and unsent >= self._unsent > 0
        ):
            self.abort()
            return
        if not self._exchanges:
            self.drain()
            self.deadline = self._server.now + GOODBYE
            return
        self._unsent = unsent
        for exchange in list(self._exchanges.values()):
            moved = exchange.sent + exchange.received
            sending = exchange.sending and not exchange.wait.waiting
            waiting = sending or (exchange.body is not None and exchange.body.waiting)
            if waiting and moved == exchange.seen:
                self._give_up(exchange)
            exchange.seen = moved
        self.deadline = self._server.now + self._server.limits.body_timeout

    def drain(self) -> None:
        if not self._draining and not self._lost:
            self._draining = True
            # h2 would take its own GOAWAY for the end of everything; streams in progress go on.
            last = self._h2.highest_inbound_stream_id
            self._transport.write(GoAwayFrame(0, last_stream_id=last).serialize())
        if not self._exchanges:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # ── receiving ────────────────────────────────────────────────────────────────────────────

    def _on_event(self, event: Event) -> None:
        if isinstance(event, DataReceived):
            self._on_data(event)
        elif isinstance(event, RequestReceived):
            self._on_request(event)
        elif isinstance(event, StreamEnded):
            exchange = self._exchanges.get(event.stream_id)
            if exchange is not None and exchange.body is not None:
                exchange.body.finish()
        elif isinstance(event, WindowUpdated):
            affected = (
                self._exchanges.values()
                if event.stream_id == 0
                else filter(None, [self._exchanges.get(event.stream_id)])
            )
            for exchange in affected:
                exchange.window.set()
        elif isinstance(event, StreamReset):
            self._resets += 1
            exchange = self._exchanges.get(event.stream_id)
            if exchange is not None:
                self._give_up(exchange)
            if self._resets > MAX_RESETS:
                self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
                self._flush()
                self._transport.close()
        elif isinstance(event, RemoteSettingsChanged):
            # A larger initial window opens those of all streams (RFC 9113, 6.9.2).
            for exchange in self._exchanges.values():
                exchange.window.set()
        elif isinstance(event, ConnectionTerminated):
            self._draining = True
            if not self._exchanges:
                self._transport.close()
            elif event.error_code == ErrorCodes.NO_ERROR:
                # h2 takes it for the end of everything; streams in progress go on (6.8).
                self._h2.state_machine.state = ConnectionState.CLIENT_OPEN

    def _on_request(self, event: RequestReceived) -> None:
        stream = event.stream_id
        if self._draining:
            self._h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
            return
        pseudo: dict[str, str] = {}
        fields: list[tuple[str, str]] = []
        for raw_name, raw_value in event.headers:
            name, value = _text(raw_name), _text(raw_value)
            if name.startswith(":"):
                pseudo[name] = value
            else:
                fields.append((name, value))
        if ":authority" in pseudo and not any(name == "host" for name, _ in fields):
            fields.append(("host", pseudo[":authority"]))
        headers = Headers(fields)
        if not self._exchanges:
            self.deadline = self._server.now + self._server.limits.body_timeout
        exchange = Exchange(stream)
        self._exchanges[stream] = exchange
        body: ReceivedBody | EmptyBody = EmptyBody()
        if event.stream_ended is None:
            announced = headers.get("content-length")
            exchange.body = body = ReceivedBody(
                int(announced) if announced and announced.isdigit() else None,
                on_start=(
                    (lambda: self._continue(stream))
                    if (headers.get("expect") or "").lower() == "100-continue"
                    else _nothing
                ),
                on_full=_nothing,
                on_read=lambda count: self._acknowledge(stream, count),
            )
        path, _, query = pseudo.get(":path", "").partition("?")
        request = Request(
            pseudo.get(":method", ""),
            path,
            query,
            headers,
            body,
            self._client,
            "https" if self._secure else "http",
            "2",
        )
        exchange.task = asyncio.get_running_loop().create_task(self._handle(request, exchange))

    def _on_data(self, event: DataReceived) -> None:
        exchange = self._exchanges.get(event.stream_id)
        padding = (event.flow_controlled_length or 0) - len(event.data or b"")
        if exchange is None or exchange.body is None:
            self._acknowledge(event.stream_id, event.flow_controlled_length or 0)
            return
        if padding:
            self._acknowledge(event.stream_id, padding)
        if event.data:
            # The window is reopened only as the handler reads: that is the back-pressure.
            exchange.received += len(event.data)
            exchange.body.feed(event.data)

    def _continue(self, stream: int) -> None:
        if not self._lost:
            try:
                self._h2.send_headers(stream, [(":status", "100")])
            except H2Error:
                return
            self._flush()

    def _acknowledge(self, stream: int, count: int) -> None:
        if count and not self._lost:
            try:
                self._h2.acknowledge_received_data(count, stream)
            except H2Error:
                return
            self._flush()

    def _give_up(self, exchange: Exchange) -> None:
        exchange.lost = True
        exchange.window.set()
        exchange.wait.leave()
        if exchange.body is not None:
            exchange.body.fail(BodyIncomplete("the client left in the middle of its body"))

    # ── handling and sending ─────────────────────────────────────────────────────────────────

    async def _handle(self, request: Request, exchange: Exchange) -> None:
        started = perf_counter()
        response, file = await self._server.answer(request)
        try:
            await self._send(request, response, exchange, file)
        except Exception as error:
            self._reset(exchange, ErrorCodes.INTERNAL_ERROR)
            if not isinstance(error, ConnectionError | H2Error):
                self._server.fault(request, error)
        finally:
            if file >= 0:
                os.close(file)
            del self._exchanges[exchange.id]
            self._server.observe(request, response, exchange.sent, perf_counter() - started)
        body = exchange.body
        if body is not None:
            body.discard()
            if not body.complete:
                self._reset(exchange, ErrorCodes.NO_ERROR)
        if not self._exchanges:
            self.deadline = self._server.now + self._server.limits.idle_timeout
            if self._draining:
                self._transport.close()

    def _reset(self, exchange: Exchange, code: ErrorCodes) -> None:
        if not self._lost and not exchange.lost:
            try:
                self._h2.reset_stream(exchange.id, code)
            except H2Error:
                return
            self._flush()

    async def _send(
        self, request: Request, response: Response, exchange: Exchange, file: int
    ) -> None:
        if self._lost or exchange.lost:
            return
        body = response.body
        if isinstance(body, Redirect):
            raise ValueError("a face renders redirects")
        headers = [(":status", str(response.status)), ("date", self._server.time)]
        headers += [(name.lower(), value) for name, value in response.headers]
        if body.length is not None and response.status not in NO_CONTENT:
            headers.append(("content-length", str(body.length)))
        empty = not sends_body(request, response) or body.length == 0
        self._h2.send_headers(exchange.id, headers, end_stream=empty)
        self._flush()
        if empty:
            return
        exchange.sending = True
        if isinstance(body, File):
            await self._send_body(exchange, read_blocks(file, body.offset, body.length))
        elif isinstance(body, Follow):
            await self._send_body(exchange, read_spool(body, file))
        else:
            await self._send_body(exchange, chunks_of(body))

    async def _send_body(self, exchange: Exchange, chunks: AsyncIterator[bytes]) -> None:
        while True:
            with exchange.wait:
                chunk = await anext(chunks, None)
            if chunk is None:
                break
            view = memoryview(chunk)
            while view:
                room = await self._room(exchange)
                part = view[: min(room, self._h2.max_outbound_frame_size)]
                self._h2.send_data(exchange.id, bytes(part))
                view = view[len(part) :]
                exchange.sent += len(part)
                if exchange.sent % FLUSH < len(part):
                    self._flush()
            self._flush()
        self._h2.end_stream(exchange.id)
        self._flush()

    async def _room(self, exchange: Exchange) -> int:
        """Wait until the client's window and the socket have room; return the window in bytes."""
        while True:
            if self._lost or exchange.lost:
                raise ConnectionResetError("the client left")
            if not self._writable.is_set():
                self._flush()
                await self._writable.wait()
                continue
            try:
                room = self._h2.local_flow_control_window(exchange.id)
            except StreamClosedError:
                raise ConnectionResetError("the client closed the stream") from None
            if room > 0:
                return room
            self._flush()
            exchange.window.clear()
            await exchange.window.wait()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._lost:
            self._transport.write(data)


def _nothing() -> None:
    pass


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
