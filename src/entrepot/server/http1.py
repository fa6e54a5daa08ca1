"""HTTP/1.1 on one connection (RFC 9112).

The parser sees headers and small bodies; the rest of a body of known length goes around it.
Responses to pipelined requests leave in order, one request is handled at a time.
"""

import asyncio
import ssl
from collections import deque
from enum import Enum, auto
from time import perf_counter
from typing import Final, cast

import httptools

from entrepot.ports.delivery import Inline
from entrepot.server.body import LOW_WATER, ReceivedBody
from entrepot.server.connections import FOREVER, Server
from entrepot.server.content_wait import PATIENCE
from entrepot.server.http1_head import Refused, read_head
from entrepot.server.http1_writer import Http1Writer
from entrepot.server.http2 import PREFACE, Http2Connection
from entrepot.web.message import (
    BodyIncomplete,
    BodyMalformed,
    EmptyBody,
    Headers,
    Request,
    Response,
)

LINGER: Final = 2.0
"""Seconds in which a refused body is still received, so that the client reads why."""

HEAD_SLICE: Final = 4096
"""Bytes parsed at once outside of bodies, which bounds the pipelined requests taken in advance."""

TLS_HANDSHAKE: Final = b"\x16\x03"
NO_BODY: Final = EmptyBody()


class Phase(Enum):
    """What a connection is doing, which decides what its deadline means."""

    IDLE = auto()
    HEADER = auto()
    HANDLING = auto()
    SENDING = auto()
    LINGERING = auto()


class Http1Connection(asyncio.Protocol):
    """One client connection; `Server` makes one per accepted socket."""

    def __init__(self, server: Server) -> None:
        self.deadline = FOREVER
        self._server = server
        self._phase = Phase.IDLE
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._tls = False
        self._client = ""
        self._parser = httptools.HttpRequestParser(self)
        self._fresh = True
        self._url = b""
        self._fields: list[tuple[str, str]] = []
        self._in_head = False
        self._head_bytes = 0
        self._surplus = 0
        self._receiving: ReceivedBody | None = None
        self._received = 0
        self._direct = 0
        self._held = b""
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._reading = True
        self._draining = False
        self._half_closed = False
        self._reads = False
        self._broken = False
        self._writer: Http1Writer = cast(Http1Writer, None)
        self._progress = -1

    # ── asyncio.Protocol ─────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        secure = transport.get_extra_info("ssl_object")
        self._tls = secure is not None
        self._writer = Http1Writer(self._transport, tls=self._tls, on_body=self._start_sending)
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if isinstance(peer, tuple) else ""
        if not self._server.admit(self):
            self._transport.write(self._refusal(503, "too many connections; try again later"))
            self._transport.close()
            return
        self.deadline = self._server.now + self._server.limits.header_timeout
        if isinstance(secure, ssl.SSLObject | ssl.SSLSocket) and (
            secure.selected_alpn_protocol() == "h2"
        ):
            self._become_http2()

    def data_received(self, data: bytes) -> None:
        if self._fresh:
            self._fresh = False
            if not self._speaks_http1(data):
                return
        while data and self._phase is not Phase.LINGERING and not self._broken:
            if self._direct:
                data = self._receive_direct(data)
            elif self._receiving is not None:
                self._feed(data)
                return
            elif self._task is None:
                self._feed(data[:HEAD_SLICE])
                data = data[HEAD_SLICE:]
            else:
                # The next request waits unread until this one is answered.
                self._held += data
                self._pause_reading()
                return

    def _speaks_http1(self, first: bytes) -> bool:
        """Look at the first bytes of a connection; deal with them if they are not HTTP/1."""
        if self._tls:
            return True
        if first.startswith(b"PRI") and self._server.limits.http2:
            self._become_http2(first)
            return False
        if first.startswith(TLS_HANDSHAKE):
            # Clients try HTTPS first: not worth a line in the log each time.
            self._refuse(400, "this port speaks plain HTTP; use http://", quietly=True)
            return False
        return True

    def eof_received(self) -> bool:
        self._half_closed = True
        self._lose_body("the client closed the connection in the middle of its body")
        self._writer.half_close()
        if self._draining:
            self.drain()
        # A half-closed client still gets the answers to what it has asked.
        return self._task is not None

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget(self)
        self._lose_body("the client left in the middle of its body")
        self._writer.lose()
        self._waiting.clear()
        self._held = b""

    def pause_writing(self) -> None:
        self._writer.pause()

    def resume_writing(self) -> None:
        self._writer.resume()

    # ── Connection, as the server sees it ────────────────────────────────────────────────────

    def expire(self) -> None:
        if self._phase is Phase.HANDLING:
            body = self._receiving
            self.deadline = FOREVER
            if self._draining and self._half_closed and self._reads:
                self.abort()
            if body is not None:
                self._touch()
            if body is not None and body.waiting:
                self._lose_body(f"no bytes for {self._server.limits.body_timeout:g} s")
        elif self._phase is Phase.SENDING:
            progress = self._writer.sent
            if progress == self._progress and not self._writer.starved:
                self.abort()
            self._progress = progress
            self.deadline = self._server.now + self._server.limits.body_timeout
        elif self._phase is Phase.HEADER:
            self._refuse(408, "the request header did not arrive in time")
        elif self._transport.is_closing():
            self.abort()
        else:
            self._transport.close()
            self.deadline = self._server.now + LINGER

    def drain(self) -> None:
        self._draining = True
        if self._task is None and self._phase in (Phase.IDLE, Phase.HEADER):
            self._transport.close()
        elif self._half_closed and self._phase is Phase.HANDLING:
            # It has most probably left; whoever reads loses nothing by asking again.
            self.deadline = self._server.now + PATIENCE

    def abort(self) -> None:
        self._transport.abort()

    # ── receiving ────────────────────────────────────────────────────────────────────────────

    def _feed(self, data: bytes) -> None:
        received = self._received
        try:
            rest = data
            while rest:
                try:
                    self._parser.feed_data(rest)
                    break
                except httptools.HttpParserUpgrade as upgrade:
                    # No upgrade is offered: the request is answered as it is (RFC 9110, 7.8).
                    rest = rest[upgrade.args[0] :]
        except httptools.HttpParserInvalidMethodError:
            self._fault(501, "unknown method")
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, Refused):
                self._fault(cause.status, cause.message)
            else:
                self._fault(400, f"malformed request: {error}")
        else:
            self._check_surplus(len(data), received)
            body = self._receiving
            if body is not None and body.length is not None:
                self._direct = body.length - self._received

    def _check_surplus(self, count: int, received: int) -> None:
        """Bound what a client sends that is no body: headers, trailers, chunk extensions."""
        body = self._receiving
        chunked = body is not None and body.length is None
        if self._in_head or (chunked and self._received == received):
            self._surplus += count
            if self._surplus > self._server.limits.max_header_bytes:
                self._fault(431, "the request header is too large")
        else:
            self._surplus = 0

    def _fault(self, status: int, message: str) -> None:
        """End the connection over what is no HTTP, after the answer in progress if any."""
        if self._task is None:
            self._refuse(status, message)
            return
        self._broken = self._draining = True
        if self._receiving is not None:
            self._receiving.fail(BodyMalformed(message))

    def _lose_body(self, reason: str) -> None:
        if self._receiving is not None:
            self._receiving.fail(BodyIncomplete(reason))

    def _receive_direct(self, data: bytes) -> bytes:
        """Take body bytes around the parser; return what follows the body."""
        body = self._receiving
        if body is None:
            raise AssertionError("a body in progress")
        rest = b""
        if len(data) > self._direct:
            data, rest = data[: self._direct], data[self._direct :]
        self._direct -= len(data)
        self._touch()
        body.feed(data)
        if not self._direct:
            self._parser = httptools.HttpRequestParser(self)
            self.on_message_complete()
        return rest

    def on_message_begin(self) -> None:
        self._url = b""
        self._fields = []
        self._in_head = True
        self._head_bytes = 0
        if self._task is None:
            self._phase = Phase.HEADER
            self.deadline = self._server.now + self._server.limits.header_timeout

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers say nothing we need
            self._count_head(len(name) + len(value) + 4)
            self._fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def _count_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > self._server.limits.max_header_bytes:
            raise Refused(431, "the request header is too large")

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._surplus = 0
        head = read_head(self._parser, self._url, self._fields)
        body: ReceivedBody | EmptyBody = NO_BODY
        if head.length != 0:
            self._receiving = body = ReceivedBody(
                head.length,
                on_start=self._continue if head.expects_continue else _nothing,
                on_full=self._pause_reading,
                on_read=self._body_was_read,
            )
            self._received = 0
        request = Request(
            head.method,
            head.path,
            head.query,
            head.headers,
            body,
            self._client,
            "https" if self._tls else "http",
            head.version,
        )
        self._begin(request, self._parser.should_keep_alive())

    def on_body(self, chunk: bytes) -> None:
        if self._receiving is not None:
            self._received += len(chunk)
            self._touch()
            self._receiving.feed(chunk)

    def on_message_complete(self) -> None:
        if self._receiving is not None:
            self._receiving.finish()
            self._receiving = None

    def _continue(self) -> None:
        if not self._writer.lost:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _touch(self) -> None:
        if self._phase is Phase.HANDLING:
            self.deadline = self._server.now + self._server.limits.body_timeout

    def _pause_reading(self) -> None:
        if self._reading and not self._writer.lost:
            self._reading = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self._reading and not self._writer.lost:
            self._reading = True
            self._transport.resume_reading()

    def _body_was_read(self, _count: int) -> None:
        body = self._receiving
        if self._reading or self._waiting or self._held:
            return
        if body is None or body.buffered < LOW_WATER:
            self._resume_reading()

    # ── handling ─────────────────────────────────────────────────────────────────────────────

    def _begin(self, request: Request, keep_alive: bool) -> None:
        if self._task is not None:
            self._waiting.append((request, keep_alive))
            self._pause_reading()
            return
        self._phase = Phase.HANDLING
        self._reads = request.method in ("GET", "HEAD")
        has_body = request.body is not NO_BODY
        self.deadline = self._server.now + self._server.limits.body_timeout if has_body else FOREVER
        self._task = asyncio.get_running_loop().create_task(self._handle(request, keep_alive))

    async def _handle(self, request: Request, keep_alive: bool) -> None:
        started = perf_counter()
        response, file = await self._server.answer(request)
        body = request.body
        unread = isinstance(body, ReceivedBody) and not body.complete
        keep_alive = keep_alive and not (
            unread or response.close or self._draining or self._server.stopping
        )
        try:
            date = self._server.date
            closing = await self._writer.send(request, response, file, date, close=not keep_alive)
        except Exception as error:
            # The client left, the file ended early, or the response is no valid one: what was
            # announced cannot be kept, and a broken connection is the only honest answer.
            closing = True
            self.abort()
            if not isinstance(error, ConnectionError):
                self._server.fault(request, error)
        finally:
            self._server.observe(request, response, self._writer.sent, perf_counter() - started)
        self._task = None
        if isinstance(body, ReceivedBody):
            body.discard()
        self._next(closing, unread)

    def _start_sending(self) -> None:
        self._phase = Phase.SENDING
        self._progress = -1
        self.deadline = self._server.now + self._server.limits.body_timeout

    def _next(self, closing: bool, unread: bool) -> None:
        """Go on with a waiting request, wait for another one, or end the connection."""
        if self._writer.lost:
            return
        if self._half_closed and not (self._waiting or self._held):
            closing = True
        if closing or self._draining or self._server.stopping:
            self._end(linger=unread)
        elif self._waiting:
            self._begin(*self._waiting.popleft())
            self._body_was_read(0)
        else:
            limits = self._server.limits
            self._phase = Phase.HEADER if self._in_head else Phase.IDLE
            self.deadline = self._server.now + (
                limits.header_timeout if self._in_head else limits.idle_timeout
            )
            held, self._held = self._held, b""
            self._resume_reading()
            if held:
                self.data_received(held)
            if self._half_closed and self._task is None:
                self._transport.close()

    def _end(self, *, linger: bool) -> None:
        if not linger or self._half_closed:
            self._transport.close()
            return
        self._phase = Phase.LINGERING
        self.deadline = self._server.now + LINGER
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._resume_reading()

    def _refuse(self, status: int, message: str, *, quietly: bool = False) -> None:
        """Answer what never became a request, and end the connection."""
        self._transport.write(self._refusal(status, message))
        if not quietly:
            request = Request("", "", "", Headers(), client=self._client)
            self._server.observe(request, Response(status), 0, 0.0)
        self._end(linger=True)

    def _refusal(self, status: int, message: str) -> bytes:
        response = self._server.refuse(status, message)
        content = response.body.content if isinstance(response.body, Inline) else b""
        date = self._server.date
        return self._writer.head(response, len(content), date, close=True) + content

    def _become_http2(self, data: bytes = b"") -> None:
        if data and not PREFACE.startswith(data[: len(PREFACE)]):
            self._refuse(400, "malformed HTTP/2 preface")
            return
        self._server.forget(self)
        successor = Http2Connection(self._server)
        self._transport.set_protocol(successor)
        successor.connection_made(self._transport)
        if data:
            successor.data_received(data)


def _nothing() -> None:
    pass
