"""Requests and responses as the registry client sees them: the seam between what HTTP needs
(`transport`: connections, TLS, proxies) and what registries mean (everything else here).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from entrepot.ports.image_end import Sink


@dataclass(frozen=True, slots=True)
class Body:
    """A streamed request body of `length` bytes; `open` starts it anew, for a repeated request.

    `blocks` does the same for a body that a thread can read by itself, with less work.
    """

    length: int
    open: Callable[[], AsyncIterator[bytes]]
    blocks: Callable[[], Awaitable[Generator[bytes, None, None]]] | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request to an absolute URL. Header names are given in any case.

    `bulk` says that the response may be large: it then has a connection of its own, where it is
    faster and holds less memory than as one of several streams. A streamed body always has one.
    `eager` says that somebody waits for each byte of a bulk response that is poured: a sink is
    given the first ones at once, and never waits long for a full block.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Body | None = None
    bulk: bool = False
    eager: bool = False


class Response(Protocol):
    """A response whose head has arrived and whose body may still be on its way."""

    @property
    def status(self) -> int: ...
    @property
    def url(self) -> str:
        """The URL that was asked."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Header fields by lower-case name; repeated ones are joined by `, ` (RFC 9110, 5.3)."""
        ...

    @property
    def header_lines(self) -> tuple[tuple[str, str], ...]:
        """Header fields one by one, names in lower case."""
        ...

    @property
    def http_version(self) -> str:
        """`1.0`, `1.1` or `2`."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, joined to chunks of up to about 1 MiB.

        The reader sets the pace: at most a few MiB are buffered. Raise ConnectionLost if it
        ends before the length that was announced, or stands still for too long.
        """
        ...

    async def pour(self, sink: Sink) -> None:
        """Give a sink the body as it arrives; for a `bulk` request all in one thread.

        Raise what `chunks` does once the sink has what came before, or what the sink raises.
        """
        ...

    async def read(self, limit: int) -> bytes:
        """Return a small body whole. Raise SizeInvalid above `limit` bytes."""
        ...


class Transport(Protocol):
    """Sends requests over pooled connections. It follows no redirects, adds no credentials and
    repeats nothing."""

    def send(self, request: Request) -> AbstractAsyncContextManager[Response]:
        """Send a request; the context's end drops what is left of the response.

        Raise ConnectionLost when no response could be had and the same may work again, else
        HostUnknown, CertificateRefused, Unavailable or Unsupported.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
