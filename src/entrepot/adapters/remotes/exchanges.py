"""Exchanges of one session: what every request carries and what every response tells beside its
content (rate limits, warnings). Nothing here knows about logins, redirects or retries.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final

from entrepot import __version__
from entrepot.adapters.remotes.exchange import Request, Response, Transport
from entrepot.adapters.remotes.exchange_log import ExchangeLog
from entrepot.oci.errors import RegistryError, SizeInvalid
from entrepot.ports.image_end import Sink
from entrepot.ports.remote_registry import RateLimit
from entrepot.protocol.rate_limits import parse_rate_limit
from entrepot.protocol.warnings import parse_warnings
from entrepot.rules.realms import origin

USER_AGENT: Final = f"entrepot/{__version__}"

SMALL: Final = 64 * 1024
"""Most bytes that are read of a response that is no success."""

_SECONDS_TO_SETTLE: Final = 5.0
"""How long the rest of an unwanted response is waited for, so that its connection can be used
again."""

_ALWAYS: Final = {"accept-encoding": "identity", "user-agent": USER_AGENT}


@dataclass(frozen=True, slots=True)
class Settled:
    """A response whose body has been read, up to a limit, and whose connection is free."""

    status: int
    url: str
    header_lines: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    http_version: str
    body: bytes

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what was read."""
        if self.body:
            yield self.body

    async def pour(self, sink: Sink) -> None:
        """Give a sink what was read."""
        if self.body:
            await asyncio.to_thread(sink, memoryview(self.body))

    async def read(self, limit: int) -> bytes:
        """Return what was read. Raise SizeInvalid above `limit` bytes."""
        if len(self.body) > limit:
            raise SizeInvalid(f"the answer is longer than {limit} bytes; the registry is broken")
        return self.body


class Exchanges:
    """Sends requests with the fields that all have, and keeps what responses tell beside.

    `on_warning` gets each `Warning` text once. `clock` counts seconds since the Unix epoch.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        host: str,
        log: ExchangeLog,
        clock: Callable[[], float],
        on_warning: Callable[[str], None],
    ) -> None:
        self.log = log
        self.clock = clock
        self.rate_limit: RateLimit | None = None
        self._base = ""
        self._headers: Mapping[str, str] = {}
        self._transport = transport
        self._host = host
        self._on_warning = on_warning
        self._warned: set[str] = set()

    def introduce(self, base: str, headers: Mapping[str, str]) -> None:
        """Send header fields with every request to the origin of a URL, and to no other."""
        self._base, self._headers = base, headers

    async def send(self, stack: AsyncExitStack, request: Request) -> Response:
        """Send a request as it is, and enter its response into the stack."""
        fields = dict(request.headers)
        if self._headers and origin(self._base) == origin(request.url):
            # What the request itself says counts, as the token that was got for it.
            fields = {**without(self._headers, *map(str.lower, fields)), **fields}
        request = replace(request, headers=_with_constants(fields))
        started = self.clock()
        try:
            response = await stack.enter_async_context(self._transport.send(request))
        except RegistryError as error:
            self.log.failed(request, error, self.clock() - started)
            raise
        self.log.answered(request, response, self.clock() - started)
        return response

    def note(self, response: Response) -> None:
        """Keep what a response of the registry itself tells beside its content."""
        budget = parse_rate_limit(response.headers)
        if budget is not None:
            self.rate_limit = RateLimit(
                budget.limit, budget.remaining, budget.window, budget.source
            )
        for name, value in response.header_lines:
            if name == "warning":
                for text in parse_warnings(value):
                    self.warn(f"{self._host} says: {text}")

    def warn(self, text: str) -> None:
        """Hand a warning on, once."""
        if text not in self._warned:
            self._warned.add(text)
            self._on_warning(text)


class Conversation:
    """Requests sent one after another, of which only the last has an open response.

    The stack owns that response; its end drops it.
    """

    def __init__(self, exchanges: Exchanges, stack: AsyncExitStack) -> None:
        self.exchanges = exchanges
        self._stack = stack

    async def send(self, request: Request) -> Response:
        """Send a request after dropping the response before it."""
        await self.drop()
        return await self.exchanges.send(self._stack, request)

    async def settle(self, response: Response, limit: int = SMALL) -> Settled:
        """Read the open response up to `limit` bytes and drop it, which frees its connection."""
        return await self._settled(response, await _beginning(response, limit))

    async def whole(self, response: Response, limit: int) -> Settled:
        """Read the open response to its end and drop it. Raise ConnectionLost if it breaks off,
        SizeInvalid above `limit` bytes."""
        return await self._settled(response, await response.read(limit))

    async def drop(self) -> None:
        """Drop the open response, if there is one."""
        await self._stack.aclose()

    async def _settled(self, response: Response, body: bytes) -> Settled:
        settled = Settled(
            response.status,
            response.url,
            tuple(response.header_lines),
            dict(response.headers),
            response.http_version,
            body,
        )
        await self.drop()
        return settled


def field_lines(response: Response, name: str) -> tuple[str, ...]:
    """Return the values of all fields of a lower-case name, in their order."""
    return tuple(value for key, value in response.header_lines if key == name)


def without(fields: Mapping[str, str], *names: str) -> dict[str, str]:
    """Return header fields without those of the lower-case names."""
    return {name: value for name, value in fields.items() if name.lower() not in names}


async def _beginning(response: Response, limit: int) -> bytes:
    """Read a body up to a limit; one that breaks off or stands still ends there."""
    found = bytearray()
    try:
        async with asyncio.timeout(_SECONDS_TO_SETTLE):
            async for chunk in response.chunks():
                found += chunk
                if len(found) >= limit:
                    break
    except (RegistryError, TimeoutError):
        pass  # the status said enough
    return bytes(found[:limit])


def _with_constants(fields: Mapping[str, str]) -> dict[str, str]:
    return {**without(fields, *_ALWAYS), **_ALWAYS}
