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
from entrepot.server.http1_writer import Http1Writer
from entrepot.server.http2 import PREFACE, Http2Connection
from entrepot.web.message import EmptyBody, Headers, Request

LINGER: Final = 2.0
"""Seconds in which a refused body is still received, so that the client reads why."""

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
        self._header_bytes = 0
        self._receiving: ReceivedBody | None = None
        self._received = 0
        self._direct = 0
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._reading = True
        self._draining = False
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
            self._refuse(503, "too many connections; try again later")
            return
        self.deadline = self._server.now + self._server.limits.header_timeout
        if isinstance(secure, ssl.SSLObject | ssl.SSLSocket) and (
            secure.selected_alpn_protocol() == "h2"
        ):
            self._become_http2()

    def data_received(self, data: bytes) -> None:
        if self._phase is Phase.LINGERING:
            return
        if self._direct:
            data = self._receive_direct(data)
            if not data:
                return
        if self._fresh:
            self._fresh = False
            if data.startswith(b"PRI") and self._server.limits.http2 and not self._tls:
                self._become_http2(data)
                return
            if data.startswith(TLS_HANDSHAKE) and not self._tls:
                self._refuse(400, "this port speaks plain HTTP; use http:// or the TLS port")
                return
        self._feed(data)

    def eof_received(self) -> bool:
        if self._receiving is not None:
            self._receiving.fail("the client closed the connection in the middle of its body")
        # A half-closed client still gets the answers to what it has asked.
        return self._task is not None

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget(self)
        if self._receiving is not None:
            self._receiving.fail("the client left in the middle of its body")
        self._writer.lose()
        self._waiting.clear()

    def pause_writing(self) -> None:
        self._writer.pause()

    def resume_writing(self) -> None:
        self._writer.resume()

    # ── Connection, as the server sees it ────────────────────────────────────────────────────

    def expire(self) -> None:
        if self._phase is Phase.HANDLING:
            body = self._receiving
            self.deadline = FOREVER
            if body is not None and body.waiting:
                body.fail(f"no bytes for {self._server.limits.body_timeout:g} s")
        elif self._phase is Phase.SENDING:
            progress = self._writer.sent
            if progress == self._progress:
                self.abort()
            self._progress = progress
            self.deadline = self._server.now + self._server.limits.body_timeout
        elif self._phase is Phase.HEADER:
            self._refuse(408, "the request header did not arrive in time")
        else:
            self._transport.close()
            self.deadline = self._server.now + LINGER

    def drain(self) -> None:
        self._draining = True
        if self._task is None and self._phase in (Phase.IDLE, Phase.HEADER):
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # ── receiving ────────────────────────────────────────────────────────────────────────────

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # No upgrade is offered, so the request is answered as it stands (RFC 9110, 7.8).
            rest = data[upgrade.args[0] :]
            if rest:
                self._feed(rest)
        except httptools.HttpParserInvalidMethodError:
            self._refuse(501, "unknown method")
        except httptools.HttpParserError as error:
            cause = error.__context__ if isinstance(error.__context__, _Refused) else None
            if cause is not None:
                self._refuse(cause.status, cause.message)
            else:
                self._refuse(400, f"malformed request: {error}")
        else:
            if self._phase is Phase.HEADER:
                self._header_bytes += len(data)
                if self._header_bytes > self._server.limits.max_header_bytes:
                    self._refuse(431, "the request header is too large")
            body = self._receiving
            if body is not None and body.length is not None:
                self._direct = body.length - self._received

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
        self._header_bytes = 0
        if self._task is None:
            self._phase = Phase.HEADER
            self.deadline = self._server.now + self._server.limits.header_timeout

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        parser = self._parser
        headers = Headers(self._fields)
        version = parser.get_http_version()
        if version == "1.1" and len(headers.all("host")) != 1:
            raise _Refused(400, "an HTTP/1.1 request needs exactly one Host header")
        path, query = _target(self._url)
        length: int | None = 0
        if headers.get("transfer-encoding") is not None:
            length = None
        elif (announced := headers.get("content-length")) is not None:
            length = int(announced)
        body: ReceivedBody | EmptyBody = NO_BODY
        if length != 0:
            expects = (headers.get("expect") or "").lower() == "100-continue"
            self._receiving = body = ReceivedBody(
                length,
                on_start=self._continue if expects else _nothing,
                on_full=self._pause_reading,
                on_read=self._body_was_read,
            )
            self._received = 0
        request = Request(
            parser.get_method().decode("latin-1"),
            path,
            query,
            headers,
            body,
            self._client,
            "https" if self._tls else "http",
            version,
        )
        self._begin(request, parser.should_keep_alive())

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
        if not self._reading and not self._waiting and (body is None or body.buffered < LOW_WATER):
            self._resume_reading()

    # ── handling ─────────────────────────────────────────────────────────────────────────────

    def _begin(self, request: Request, keep_alive: bool) -> None:
        if self._task is not None:
            self._waiting.append((request, keep_alive))
            self._pause_reading()
            return
        self._phase = Phase.HANDLING
        has_body = request.body is not NO_BODY
        self.deadline = self._server.now + self._server.limits.body_timeout if has_body else FOREVER
        self._task = asyncio.get_running_loop().create_task(self._handle(request, keep_alive))

    async def _handle(self, request: Request, keep_alive: bool) -> None:
        started = perf_counter()
        response = await self._server.answer(request)
        body = request.body
        unread = isinstance(body, ReceivedBody) and not body.complete
        keep_alive = keep_alive and not (
            unread or response.close or self._draining or self._server.stopping
        )
        date = self._server.date
        try:
            try:
                closing = await self._writer.send(request, response, date, close=not keep_alive)
            except FileNotFoundError:
                # Nothing has been sent yet: the content went between look-up and opening.
                response = self._server.refuse(404, "the content has just been deleted")
                closing = await self._writer.send(request, response, date, close=not keep_alive)
        except (OSError, ValueError):
            # The client left, the file ended early, or the response is no valid one: what was
            # announced cannot be kept, and a broken connection is the only honest answer.
            closing = True
            self.abort()
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
        if closing:
            self._end(linger=unread)
        elif self._waiting:
            self._begin(*self._waiting.popleft())
            if not self._waiting:
                self._resume_reading()
        else:
            self._phase = Phase.IDLE
            self.deadline = self._server.now + self._server.limits.idle_timeout
            self._resume_reading()

    def _end(self, *, linger: bool) -> None:
        if linger and self._transport.can_write_eof():
            self._phase = Phase.LINGERING
            self.deadline = self._server.now + LINGER
            self._transport.write_eof()
            self._resume_reading()
        else:
            self._transport.close()

    def _refuse(self, status: int, message: str) -> None:
        """Answer what never became a request, and end the connection."""
        if self._task is not None or self._phase is Phase.LINGERING:
            # An earlier request is still being answered; this one dies with the connection.
            self._draining = True
            return
        response = self._server.refuse(status, message)
        content = response.body.content if isinstance(response.body, Inline) else b""
        head = self._writer.head(response, len(content), self._server.date, close=True)
        self._transport.write(head + content)
        request = Request("", "", "", Headers(), client=self._client)
        self._server.observe(request, response, len(content), 0.0)
        self._end(linger=True)

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


class _Refused(Exception):
    """Raised inside parser callbacks for requests that parse but cannot be served."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def _nothing() -> None:
    pass


def _target(url: bytes) -> tuple[str, str]:
    """Split a request target into path and query; absolute-form loses scheme and host."""
    text = url.decode("latin-1")
    if not text.startswith("/"):
        _, scheme, rest = text.partition("://")
        slash = rest.find("/")
        text = (rest[slash:] if slash >= 0 else "/") if scheme else text
    path, _, query = text.partition("?")
    return path, query
