"""One request and its reply, as the mock registry, its faults and its tests see them.

How they look on the wire is `mock_http`'s matter, what a registry answers `mock_endpoints`'.
"""

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Protocol

from entrepot.testing.mock_content import Content

if TYPE_CHECKING:
    from entrepot.testing.mock_origin import Fault, MockOrigin

HeaderLines = tuple[tuple[str, str], ...]

BLOCK: Final = 64 << 10
"""How many bytes are read or sent at a time."""


class HangUp(Exception):
    """Ends the connection where it is raised: in order, or with a TCP reset."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__("the mock registry hangs up")
        self.reset = reset


class Answered(Exception):
    """Carries the reply of a handler that cannot return it."""

    def __init__(self, reply: "Reply") -> None:
        super().__init__(str(reply.status))
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Request:
    """A request's head. `path` is as it was sent, `query` is decoded."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: HeaderLines

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def parameter(self, name: str) -> str | None:
        """Return the first value of a query parameter."""
        return next((value for key, value in self.query if key == name), None)

    def parameters(self, name: str) -> list[str]:
        """Return every value of a query parameter."""
        return [value for key, value in self.query if key == name]

    def without(self, *names: str) -> "Request":
        """Return the request as if these headers had not been sent."""
        dropped = {name.lower() for name in names}
        kept = tuple(line for line in self.headers if line[0].lower() not in dropped)
        return replace(self, headers=kept)


@dataclass(frozen=True, slots=True)
class Record:
    """What one request came to. `status` is 0 until a reply starts; bytes are those of bodies,
    without chunk framing; `connection` numbers the connections of its origin; times are
    those of `time.monotonic`. `ended` is None while it goes on, and for a moment after the
    client has read all."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: HeaderLines = field(repr=False)
    status: int
    bytes_received: int
    bytes_sent: int
    connection: int
    started: float
    ended: float | None

    def header(self, name: str) -> str | None:
        """Return the first value of a request header."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def authorization(self) -> str | None:
        """The Authorization header as it came."""
        return self.header("authorization")

    @property
    def scheme(self) -> str:
        """How the request was authorised: `basic`, `bearer` or empty."""
        return (self.authorization or "").partition(" ")[0].lower()

    def matches(self, method: str = "*", path: str = "*") -> bool:
        """Say whether both globs match; `path` is compared without the query."""
        return fnmatchcase(self.method, method) and fnmatchcase(self.path, path)


Body = Callable[[], AsyncIterator[bytes]]
"""Starts the bytes of a reply."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: `length` is what Content-Length says, None for a chunked body. `close` ends the
    connection behind it."""

    status: int
    headers: HeaderLines = ()
    body: Body | None = field(default=None, repr=False)
    length: int | None = 0
    close: bool = False

    @classmethod
    def of(
        cls, status: int, content: bytes = b"", headers: Mapping[str, str] | HeaderLines = ()
    ) -> "Reply":
        """Make a reply with a body at hand."""
        lines = tuple(headers.items()) if isinstance(headers, Mapping) else headers

        async def body() -> AsyncIterator[bytes]:
            if content:
                yield content

        return cls(status, lines, body, len(content))

    @classmethod
    def of_json(
        cls, status: int, document: object, headers: Mapping[str, str] | HeaderLines = ()
    ) -> "Reply":
        """Make a reply whose body is a JSON document."""
        lines = tuple(headers.items()) if isinstance(headers, Mapping) else headers
        made = cls.of(status, json.dumps(document).encode(), lines)
        return made if made.header("content-type") else made.but("Content-Type", "application/json")

    @classmethod
    def of_error(
        cls,
        status: int,
        code: str,
        message: str = "",
        headers: Mapping[str, str] | HeaderLines = (),
    ) -> "Reply":
        """Make a refusal as the distribution-spec shows it."""
        error = {"code": code, "message": message or code.lower().replace("_", " "), "detail": None}
        return cls.of_json(status, {"errors": [error]}, headers)

    @classmethod
    def of_content(
        cls, status: int, content: Content, offset: int, length: int, headers: HeaderLines
    ) -> "Reply":
        """Make a reply with a part of some content, made while it is sent."""

        async def body() -> AsyncIterator[bytes]:
            position, end = offset, offset + length
            while position < end:
                block = content.read(position, min(BLOCK, end - position))
                position += len(block)
                yield block

        return cls(status, headers, body, length)

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def but(self, name: str, value: str | None) -> "Reply":
        """Return the reply with a header set anew, or without it if None."""
        kept = tuple(line for line in self.headers if line[0].lower() != name.lower())
        return replace(self, headers=kept if value is None else (*kept, (name, value)))

    def plus(self, headers: Iterable[tuple[str, str]]) -> "Reply":
        """Return the reply with more header lines."""
        return replace(self, headers=(*self.headers, *headers))

    def through(self, change: Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]) -> "Reply":
        """Return the reply with its body sent through `change`; the length told stays."""
        inner = self.body

        async def body() -> AsyncIterator[bytes]:
            async for chunk in change(inner() if inner else _nothing()):
                yield chunk

        return replace(self, body=body)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


class Incoming(Protocol):
    """A request's body on its way in."""

    async def read(self) -> bytes:
        """Return the next bytes; none at its end. Raise HangUp if the client breaks off."""
        ...


What = Callable[["Exchange"], "Awaitable[Reply | None] | Reply | None"]
"""A fault: it may answer, let the rest answer with `exchange.proceed()` and change that, or
return None after looking on."""

Handler = Callable[["Exchange"], Awaitable[Reply]]


class Exchange:
    """A request being answered: what a fault gets, and what becomes a `Record`.

    `fault` is the one at work now, `origin` the server that was asked.
    """

    def __init__(
        self, origin: "MockOrigin", request: Request, body: Incoming, connection: int, now: float
    ) -> None:
        self.origin = origin
        self.request = request
        self.as_sent = request
        self.fault: Fault | None = None
        self.status = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.connection = connection
        self.started = now
        self.ended: float | None = None
        self._body = body
        self._break: tuple[int, Exception] | None = None
        self._pause: tuple[int, Callable[[], Awaitable[None]]] | None = None
        self._buffered = b""
        self._rest = origin.faults
        self._pending: list[tuple[Fault, What]] = []

    async def read(self) -> bytes:
        """Return the next bytes of the request's body; none at its end."""
        if self._pause is not None and self.bytes_received >= self._pause[0]:
            (_, until), self._pause = self._pause, None
            await until()
        data, self._buffered = self._buffered or await self._body.read(), b""
        if self._pause is not None:
            left = self._pause[0] - self.bytes_received
            data, self._buffered = data[:left], data[left:]
        if self._break is not None:
            after, failure = self._break
            if len(data) >= after:
                # What fits is handed over first, so that an upload keeps it.
                self._break, self._buffered = (0, failure), data[after:] + self._buffered
                data = data[:after]
                if not data:
                    raise failure
            else:
                self._break = (after - len(data), failure)
        self.bytes_received += len(data)
        return data

    async def read_all(self) -> bytes:
        """Return what is left of the request's body; for small ones."""
        parts = []
        while data := await self.read():
            parts.append(data)
        return b"".join(parts)

    async def discard(self) -> None:
        """Read what is left of the request's body as it comes, and drop it."""
        self._break = self._pause = None
        while await self.read():
            pass

    def break_body(self, after: int, failure: Exception) -> None:
        """Let reading the body raise `failure` when `after` more bytes have been read."""
        self._break = (after, failure)

    def pause_body(self, after: int, until: Callable[[], Awaitable[None]]) -> None:
        """Let reading the body wait when `after` bytes have been read."""
        self._pause = (after, until)

    async def proceed(self) -> Reply:
        """Return the reply of the faults behind this one and, in the end, of the server."""
        here = self.fault
        try:
            while self._pending or self._rest:
                if not self._pending:
                    fault, self._rest = self._rest[0], self._rest[1:]
                    taken = fault.takes(self.request)
                    self._pending = [(fault, what) for what in fault.what] if taken else []
                    continue
                self.fault, what = self._pending.pop(0)
                reply = await self._ask(what)
                if reply is not None:
                    return reply
            self.fault = None
            return await self.origin.handle(self)
        except Answered as answered:
            return answered.reply
        finally:
            self.fault = here

    async def _ask(self, what: What) -> Reply | None:
        answer = what(self)
        return await answer if inspect.isawaitable(answer) else answer

    def record(self) -> Record:
        """Return what it came to so far."""
        sent = self.as_sent
        return Record(
            sent.method,
            sent.path,
            sent.query,
            sent.headers,
            self.status,
            self.bytes_received,
            self.bytes_sent,
            self.connection,
            self.started,
            self.ended,
        )
