"""Many clients, little room and an upstream that fails in every way, all at once: what a client
gets whole is right, and in the end index and disk agree. Rows PX-07, CA-01, CA-03 and HA-04."""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Final

import pytest

from entrepot.oci.descriptor import Descriptor
from entrepot.testing import (
    Delay,
    DropConnection,
    Endless,
    MockRegistry,
    NoLength,
    NoRange,
    RateLimited,
    Reset,
    ServerError,
    Slow,
    Truncate,
    WrongDigest,
    WrongLength,
)
from entrepot.testing.mock_exchange import What
from tests.integration.mirror.conftest import StartMirror, cache_of
from tests.mirrors import UPSTREAM, RunningMirror
from tests.wire import Wire, request

NAME: Final = "team/app"
CLIENTS: Final = 6
TURNS: Final = 250
BLOBS: Final = 120
TAGS: Final = 20
MIB: Final = 1 << 20
FAILED: Final = {429, 502, 503}
"""What a client may be told of an upstream that fails."""

FAULTS: Final[Sequence[Callable[[], What]]] = (
    lambda: ServerError(503),
    lambda: ServerError(500),
    RateLimited,
    DropConnection,
    lambda: Reset(1000),
    lambda: Truncate(5000),
    lambda: Delay(0.5),
    lambda: Slow(200_000),
    WrongDigest,
    lambda: WrongLength(-5),
    NoLength,
    Endless,
    NoRange,
)


@pytest.mark.slow
def test_nothing_wrong_is_ever_whole(registry: MockRegistry, start_mirror: StartMirror) -> None:
    dice = random.Random("content")
    sizes = [int(1000 * 1500 ** dice.random()) for _ in range(BLOBS)]
    blobs = [registry.add_blob(NAME, size, seed=f"{at}") for at, size in enumerate(sizes)]
    for tag in range(TAGS):
        registry.add_image(NAME, f"{tag}", layers=2, layer_size=3000, seed=f"{tag}")
    mirror = start_mirror(
        registry,
        workers=2,
        cache={"max_size": f'"{6 * MIB}"', "freshness": '"ttl"', "tag_ttl": '"100ms"'},
        upstream={"ejection": '"200ms"'},
    )
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [Client(mirror, registry, blobs, number) for number in range(CLIENTS)]
        for running in [pool.submit(client.run) for client in clients]:
            running.result()
    seen = sum((client.seen for client in clients), Counter[int]())
    assert set(seen) <= {200, 206, *FAILED}, seen
    assert seen[200] > seen.total() / 4, seen
    assert any(seen[status] for status in FAILED), seen
    assert mirror.stop() == 0
    cache_of(mirror).check()


class Client:
    """Asks for one thing after the other, and leaves in the middle now and then."""

    def __init__(
        self,
        mirror: RunningMirror,
        registry: MockRegistry,
        blobs: Sequence[Descriptor],
        number: int,
    ) -> None:
        self._mirror = mirror
        self._registry = registry
        self._blobs = blobs
        self._dice = random.Random(f"client {number}")
        self.seen: Counter[int] = Counter()

    def run(self) -> None:
        """Fail if something that is wrong comes whole."""
        acts = (self.blob, self.part, self.leave, self.manifest, self.harm)
        for act in self._dice.choices(acts, (9, 2, 2, 6, 1), k=TURNS):
            try:
                act()
            except (OSError, HTTPException):
                self.seen[502] += 1  # a transfer that broke

    def blob(self) -> None:
        blob = self._chosen()
        answer = self._mirror.blob(NAME, blob.digest)
        self.seen[answer.status] += 1
        if answer.status == 200:
            assert answer.body == self._registry.blob(blob.digest)

    def part(self) -> None:
        blob = self._chosen()
        first = self._dice.randrange(blob.size)
        last = self._dice.randrange(first, blob.size)
        answer = self._mirror.blob(NAME, blob.digest, headers={"Range": f"bytes={first}-{last}"})
        self.seen[answer.status] += 1
        if answer.status == 206:
            assert answer.body == self._registry.blob(blob.digest)[first : last + 1]

    def leave(self) -> None:
        with Wire.to(self._mirror) as wire:
            path = f"/v2/{UPSTREAM}/{NAME}/blobs/{self._chosen().digest}"
            wire.send(request("GET", path))
            wire.sock.recv(self._dice.choice((10, 1000, 50_000)))

    def manifest(self) -> None:
        answer = self._mirror.manifest(NAME, str(self._dice.randrange(TAGS)))
        self.seen[answer.status] += 1
        if answer.status == 200:
            told = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
            assert answer.header("Docker-Content-Digest") == told

    def harm(self) -> None:
        """Move a tag, and let the upstream fail in another way than now, or be well again."""
        tag, seed = str(self._dice.randrange(TAGS)), str(self._dice.random())
        self._registry.add_image(NAME, tag, layers=2, layer_size=3000, seed=seed)
        self._registry.heal()
        path = self._dice.choice(("*/blobs/*", "*/manifests/*", "*"))
        times = self._dice.choice((0, 1, 5, 20))
        self._registry.fault(self._dice.choice(FAULTS)(), method="GET", path=path, times=times)

    def _chosen(self) -> Descriptor:
        """Return a blob, some much oftener than others."""
        return self._blobs[min(int(self._dice.expovariate(6 / BLOBS)), BLOBS - 1)]
