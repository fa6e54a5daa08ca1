"""Requests and responses as every face and every server understand them.

A server (`entrepot.server`) turns bytes into a `Request` and a `Response` into bytes; a face
turns a `Request` into a call of a service and its answer into a `Response`. Neither knows the
other, so a faster server or nginx in front changes no face.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import parse_qsl

from entrepot.ports.delivery import Delivery, Inline
from entrepot.services.gates import ANONYMOUS, Actor

Header = tuple[str, str]

EMPTY: Final = Inline(b"")


class Headers:
    """Request headers: names are lower-case, values are text; repeated ones are all kept."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[Header] = ()) -> None:
        self._items = list(items)

    def get(self, name: str) -> str | None:
        """Return the first value of a lower-case header name, or None."""
        for key, value in self._items:
            if key == name:
                return value
        return None

    def all(self, name: str) -> list[str]:
        """Return every value of a lower-case header name, in order."""
        return [value for key, value in self._items if key == name]

    def items(self) -> list[Header]:
        return self._items


class Body(Protocol):
    """A request's body. Reading applies back-pressure: nothing is received ahead of need
    beyond a fixed buffer. A body may be read once."""

    @property
    def length(self) -> int | None:
        """The announced length in bytes; 0 without a body, None when chunked."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body's bytes as they arrive (never an empty chunk).

        Raise BodyIncomplete if the client leaves before the end.
        """
        ...


class BodyIncomplete(ConnectionError):
    """The client closed or stalled in the middle of its body."""


class BodyMalformed(BodyIncomplete):
    """The client broke the protocol in the middle of its body."""


class EmptyBody:
    """The body of a request without one."""

    length: int | None = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        return
        yield b""


@dataclass(slots=True)
class Request:
    """One HTTP request.

    `path` is as received (percent-encoding untouched); `query` is without the `?`.
    `client` is the peer's address, empty on a UNIX socket. `id` names the request in logs,
    `handler` in metrics (empty where no handler was found). `actor` is who asks, as the
    guard found. `may_pull` says whether that one may read a repository; None where everybody may.
    """

    method: str
    path: str
    query: str
    headers: Headers
    body: Body = field(default_factory=EmptyBody)
    client: str = ""
    scheme: str = "http"
    version: str = "1.1"
    id: str = ""
    handler: str = ""
    actor: Actor = ANONYMOUS
    may_pull: Callable[[str], bool] | None = None

    def parameters(self) -> list[tuple[str, str]]:
        """Return the query's parameters in order, blanks kept."""
        return parse_qsl(self.query, keep_blank_values=True)


@dataclass(slots=True)
class Response:
    """One HTTP response. The server adds Date, Content-Length (from the delivery's length) and
    what the connection needs; `headers` holds everything else. For HEAD the face gives the
    delivery it would give for GET, and the server sends its length but no bytes.

    `close` asks the server to end the connection after this response. `reason` is what HTTP/1.1
    says beside the status instead of its usual phrase (RFC 9112, 4); HTTP/2 says nothing there.
    """

    status: int
    headers: list[Header] = field(default_factory=list)
    body: Delivery = EMPTY
    close: bool = False
    reason: str = ""


Application = Callable[[Request], Awaitable[Response]]
