"""A transport that answers from a script, and keeps what it was asked."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from entrepot.adapters.remotes.exchange import Body, Request, Response
from entrepot.oci.errors import SizeInvalid


@dataclass
class Answer:
    """A response of the script; `also` holds header fields that come more than once."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    also: tuple[tuple[str, str], ...] = ()


Script = Callable[[Request], Answer | Exception]


class ScriptedTransport:
    """Implements `Transport`: every request is answered, or refused, by what `script` returns."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.bodies: list[bytes] = []
        self.open = 0

    @asynccontextmanager
    async def send(self, request: Request) -> AsyncIterator[Response]:
        self.requests.append(request)
        self.bodies.append(await _sent(request.body))
        answer = self.script(request)
        if isinstance(answer, Exception):
            raise answer
        self.open += 1
        try:
            yield _ScriptedResponse(request.url, answer)
        finally:
            self.open -= 1

    async def close(self) -> None:
        return None

    @property
    def asked(self) -> list[str]:
        """Method and URL without its query, of all requests."""
        return [f"{one.method} {one.url.partition('?')[0]}" for one in self.requests]

    @property
    def authorizations(self) -> list[str | None]:
        """What was sent as Authorization, of all requests."""
        return [one.headers.get("authorization") for one in self.requests]


class _ScriptedResponse:
    def __init__(self, url: str, answer: Answer) -> None:
        self.url = url
        self.status = answer.status
        self.http_version = "1.1"
        lines = [*answer.headers.items(), *answer.also]
        self.header_lines = tuple((name.lower(), value) for name, value in lines)
        self.headers: dict[str, str] = {}
        for name, value in self.header_lines:
            known = self.headers.get(name)
            self.headers[name] = f"{known}, {value}" if known else value
        self._body = answer.body

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._body:
            yield self._body

    async def read(self, limit: int) -> bytes:
        if len(self._body) > limit:
            raise SizeInvalid("too long")
        return self._body


class Waits:
    """A clock that only `sleep` moves, and what was slept."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def query(request: Request) -> dict[str, list[str]]:
    """Return the parameters of a request's URL."""
    return parse_qs(urlsplit(request.url).query)


def form(body: bytes) -> dict[str, str]:
    """Return the fields of a form that was posted."""
    return {name: value for name, (value,) in parse_qs(body.decode()).items()}


def document(value: object, status: int = 200, **headers: str) -> Answer:
    """Return an answer of JSON."""
    return Answer(status, headers, json.dumps(value).encode())


async def _sent(body: bytes | Body | None) -> bytes:
    if isinstance(body, Body):
        return b"".join([chunk async for chunk in body.open()])
    return body or b""
