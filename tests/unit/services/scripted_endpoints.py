"""Endpoints that answer as they are told, a clock that moves when somebody sleeps, and books that
note what they are told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import RegistryError
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.image_end import Sink
from entrepot.ports.remote_registry import Ping, RateLimit
from entrepot.ports.upstream_endpoint import ListPage
from entrepot.services.upstreams import PooledEndpoint, Upstream

NAME = RepositoryName("library/alpine")
TAG = Tag("3")
BLOB = Digest.of(b"the blob")


def manifest(content: bytes = b"{}") -> Descriptor:
    """Return the descriptor of a manifest with this content."""
    return Descriptor(
        "application/vnd.oci.image.manifest.v1+json", Digest.of(content), len(content)
    )


@dataclass
class Time:
    """A clock that stands but for those who sleep; `random` always gives `chance`."""

    now: float = 1000.0
    chance: float = 0.5
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def random(self) -> float:
        return self.chance

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@dataclass
class Books:
    """Notes every call, as its name followed by its arguments."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.calls.append((name, *arguments))

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """Return the arguments of all calls of that name."""
        return [call[1:] for call in self.calls if call[0] == name]


@dataclass
class ArrivingBytes:
    """A blob that has begun to come; with `breaks` the connection is lost at the end."""

    content: bytes
    start: int
    breaks: RegistryError | None = None

    @property
    def size(self) -> int:
        return len(self.content)

    async def pour(self, sink: Sink) -> None:
        sink(memoryview(self.content[self.start :]))
        if self.breaks:
            raise self.breaks


@dataclass
class ScriptedEndpoint:
    """Gives the answers of `script` one by one, then `always`. An answer is an error, which is
    raised, or what the question calls for; a number of seconds in `takes` passes before it."""

    url: str
    time: Time
    script: list[object] = field(default_factory=list)
    always: object = None
    pings: list[object] = field(default_factory=list)
    takes: float = 0.0
    rate_limit: RateLimit | None = None
    asked: list[str] = field(default_factory=list)
    closed: bool = False

    async def head(self, name: RepositoryName, reference: Tag | Digest) -> Descriptor:
        answer = self._answer("head")
        return answer if isinstance(answer, Descriptor) else manifest()

    async def manifest(
        self, name: RepositoryName, reference: Tag | Digest
    ) -> tuple[Descriptor, bytes]:
        self._answer("manifest")
        return manifest(), b"{}"

    async def blob_size(self, name: RepositoryName, digest: Digest) -> int:
        self._answer("blob-size")
        return 8

    @asynccontextmanager
    async def blob(
        self, name: RepositoryName, digest: Digest, offset: int = 0
    ) -> AsyncIterator[ArrivingBytes]:
        answer = self._answer(f"blob@{offset}")
        yield answer if isinstance(answer, ArrivingBytes) else ArrivingBytes(b"the blob", offset)

    async def page(self, name: RepositoryName, path: str, query: str) -> ListPage:
        self._answer("page")
        return ListPage(b"{}", "application/json")

    async def ping(self) -> Ping:
        answer = self.pings.pop(0) if self.pings else self.always
        if isinstance(answer, RegistryError):
            raise answer
        return Ping(self.url, "1.1", "", True)

    async def close(self) -> None:
        assert not self.closed
        self.closed = True

    def _answer(self, question: str) -> object:
        assert not self.closed, "a closed endpoint is asked"
        self.asked.append(question)
        self.time.now += self.takes
        answer = self.script.pop(0) if self.script else self.always
        if isinstance(answer, RegistryError):
            # A new one each time, as in life.
            raise type(answer)(answer.message, detail=answer.detail)
        return answer


@dataclass
class Scene:
    """An upstream made of scripted endpoints."""

    time: Time = field(default_factory=Time)
    books: Books = field(default_factory=Books)

    def endpoint(self, name: str, *script: object, always: object = None) -> ScriptedEndpoint:
        return ScriptedEndpoint(f"https://{name}.test", self.time, list(script), always)

    def upstream(self, *endpoints: ScriptedEndpoint | PooledEndpoint, **options: Any) -> Upstream:
        pooled = [
            one if isinstance(one, PooledEndpoint) else PooledEndpoint(one) for one in endpoints
        ]
        return Upstream(
            "hub",
            pooled,
            books=self.books,
            clock=self.time.clock,
            wall=self.time.clock,
            sleep=self.time.sleep,
            random=self.time.random,
            **options,
        )
