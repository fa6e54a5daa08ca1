"""Mirrors for these tests: one that is shared, with upstreams enough for each test to have its
own, and those that a test configures for itself."""

from collections.abc import Callable, Iterator
from http.client import HTTPException
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from entrepot.testing import MockRegistry, TokenServer
from tests.http_client import Response
from tests.integration.conftest import assert_no_traceback
from tests.integration.mirror.cache_directory import CacheDirectory
from tests.mirrors import RunningMirror, upstream_table

StartMirror = Callable[..., RunningMirror]

MOST: Final = 200
"""Upstreams of the shared mirror."""

_PATIENCE: Final = {"stall_timeout": '"1s"', "probe_interval": '"0s"', "failures": "1000"}
"""It is tried again and again; what comes of leaving an endpoint out is another test's."""

_numbers = count(1)


class SharedMirror:
    """One of the upstreams of the shared mirror, that no other test has met: its breaker is closed
    and nothing of it is cached."""

    def __init__(self, mirror: RunningMirror, registry: MockRegistry, upstream: str) -> None:
        self.mirror = mirror
        self.registry = registry
        self.upstream = upstream
        self.cache = CacheDirectory(mirror.data / "cache")

    def manifest(self, name: str, reference: object, *, method: str = "GET") -> Response:
        """Ask for a manifest."""
        return self.mirror.manifest(name, str(reference), method=method, upstream=self.upstream)

    def blob(self, name: str, digest: object, **arguments: Any) -> Response | None:
        """Ask for a blob; None is an answer that breaks off."""
        try:
            return self.mirror.blob(name, digest, upstream=self.upstream, **arguments)
        except (HTTPException, ConnectionError):
            return None

    def pull(self, name: str, reference: object) -> Response:
        """Pull an image whole."""
        return self.mirror.pull(name, str(reference), upstream=self.upstream)


@pytest.fixture(scope="module")
def shared_registry() -> Iterator[MockRegistry]:
    with MockRegistry() as registry:
        yield registry


@pytest.fixture(scope="module")
def guarded_registry() -> Iterator[MockRegistry]:
    """One that asks for tokens, which it gives to everybody."""
    with MockRegistry() as registry:
        yield registry


@pytest.fixture(scope="module")
def tokens(guarded_registry: MockRegistry) -> TokenServer:
    """The server of its tokens."""
    return guarded_registry.require_token("plain", elsewhere=True, anonymous="pull")


@pytest.fixture(scope="module")
def shared_mirror(
    shared_registry: MockRegistry,
    guarded_registry: MockRegistry,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningMirror]:
    tables = [
        upstream_table(registry, name=f"{kind}{number}.test", settings=_PATIENCE)
        for kind, registry in (("u", shared_registry), ("t", guarded_registry))
        for number in range(MOST)
    ]
    cache = {"revalidation_deadline": '"500ms"', "negative_ttl": '"0s"'}
    folder = tmp_path_factory.mktemp("mirror")
    mirror = RunningMirror(folder, cache=cache, more="\n".join(tables))
    yield mirror
    assert mirror.stop() == 0
    assert_no_traceback(mirror)


@pytest.fixture
def shared(shared_mirror: RunningMirror, shared_registry: MockRegistry) -> Iterator[SharedMirror]:
    """The shared mirror, by an upstream of one's own."""
    yield SharedMirror(shared_mirror, shared_registry, f"u{next(_numbers) % MOST}.test")
    shared_registry.heal()


@pytest.fixture
def guarded(
    shared_mirror: RunningMirror, guarded_registry: MockRegistry, tokens: TokenServer
) -> Iterator[SharedMirror]:
    """The same with a registry that asks for tokens."""
    yield SharedMirror(shared_mirror, guarded_registry, f"t{next(_numbers) % MOST}.test")
    guarded_registry.heal()
    tokens.origin.heal()


@pytest.fixture
def registry() -> Iterator[MockRegistry]:
    """A registry to be mirrored."""
    with MockRegistry() as registry:
        yield registry
        registry.heal()


@pytest.fixture
def second() -> Iterator[MockRegistry]:
    """Another registry, that may be the same upstream's second endpoint."""
    with MockRegistry() as registry:
        yield registry
        registry.heal()


@pytest.fixture
def start_mirror(tmp_path: Path) -> Iterator[StartMirror]:
    """Start mirrors of the test's own, as `RunningMirror` takes arguments; they are stopped."""
    running: list[RunningMirror] = []

    def start(*registries: MockRegistry, **arguments: Any) -> RunningMirror:
        folder = tmp_path / f"mirror-{len(running)}"
        settings = {"probe_interval": '"0s"'} | arguments.pop("upstream", {})
        running.append(RunningMirror(folder, *registries, upstream=settings, **arguments))
        return running[-1]

    yield start
    for one in running:
        one.kill()
        one.print_log()
        assert_no_traceback(one)


def cache_of(mirror: RunningMirror) -> CacheDirectory:
    """Return the cache that a mirror has in its data directory."""
    return CacheDirectory(mirror.data / "cache")
