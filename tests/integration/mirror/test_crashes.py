"""`kill -9` and SIGTERM in the middle of fills: clients get right bytes or a broken transfer, the
next one goes on where it stopped, and index and disk agree. Rows PX-07, CA-01 and CA-04."""

import hashlib
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from signal import SIGKILL, SIGTERM
from typing import Final

import pytest

from entrepot.oci.descriptor import Descriptor
from entrepot.testing import DropConnection, MockRegistry, Slow, Stall
from tests.integration.mirror.cache_directory import CacheDirectory
from tests.integration.mirror.conftest import StartMirror, cache_of
from tests.integration.mirror.worker_sockets import connected_to, filling_worker, other_worker
from tests.mirrors import MANIFESTS, UPSTREAM, RunningMirror
from tests.waiting import wait_until
from tests.wire import Wire, request

MIB: Final = 1 << 20
SIZE: Final = 12 * MIB + 11
NAME: Final = "team/app"


def path_of(digest: object) -> str:
    return f"/v2/{UPSTREAM}/{NAME}/blobs/{digest}"


def ask(wire: Wire, blob: Descriptor) -> Wire:
    """Ask for a blob; return once the answer has begun."""
    wire.send(request("GET", path_of(blob.digest)))
    assert wire.head()[0] == 200
    return wire


def spooled(mirror: RunningMirror) -> int:
    """Return how many bytes are in spools."""
    return sum(cache_of(mirror).spools().values())


def ranges(registry: MockRegistry) -> list[str | None]:
    """Return the Range of every GET of a blob that the upstream has seen."""
    return [one.header("range") for one in registry.matching("GET", "*/blobs/*")]


def assert_whole(content: bytes, blob: Descriptor) -> None:
    assert len(content) == blob.size
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == str(blob.digest)


# ── one worker, or all of them ───────────────────────────────────────────────────────────────


def test_another_worker_goes_on_when_the_one_that_fills_is_killed(
    registry: MockRegistry, start_mirror: StartMirror
) -> None:
    """Its own clients lose their connections; all others get every byte, and none twice."""
    blob = registry.add_blob(NAME, SIZE)
    registry.fault(Stall(after_bytes=5 * MIB), path="*/blobs/*")
    mirror = start_mirror(registry, workers=2)
    with ask(Wire.to(mirror, timeout=30), blob) as first, ExitStack() as stack:
        filling = filling_worker(mirror)
        other = other_worker(mirror, filling)
        wires = [stack.enter_context(connected_to(mirror, other)) for _ in range(3)]
        for wire in wires:
            ask(wire, blob)
        wait_until(lambda: spooled(mirror) == 5 * MIB)
        mirror.signal(filling, SIGKILL)
        with ThreadPoolExecutor() as pool:
            for body in [pool.submit(wire.read, SIZE) for wire in wires]:
                assert_whole(body.result(), blob)
        assert len(first.rest()) < SIZE
    assert ranges(registry) == [None, f"bytes={5 * MIB}-"]
    wait_until(lambda: len(mirror.workers) == 2)
    assert_whole(mirror.blob(NAME, blob.digest).body, blob)
    assert filling not in mirror.workers
    cache_of(mirror).check()


def test_a_fill_goes_on_after_the_server_was_killed(
    registry: MockRegistry, start_mirror: StartMirror
) -> None:
    blob = registry.add_blob(NAME, SIZE)
    registry.fault(Stall(after_bytes=5 * MIB), path="*/blobs/*")
    mirror = start_mirror(registry, workers=2)
    with ask(Wire.to(mirror, timeout=30), blob):
        wait_until(lambda: spooled(mirror) == 5 * MIB)
        mirror.kill()
    mirror.start()
    assert_whole(mirror.blob(NAME, blob.digest).body, blob)
    assert ranges(registry) == [None, f"bytes={5 * MIB}-"]
    cache_of(mirror).check()
    assert not cache_of(mirror).spools()


def test_parts_that_nobody_goes_on_with_give_way(
    registry: MockRegistry, start_mirror: StartMirror
) -> None:
    """What a crash has left keeps its room only as long as nobody else needs it."""
    left = [registry.add_blob(NAME, 3 * MIB, seed=f"left {number}") for number in range(3)]
    wanted = registry.add_blob(NAME, 5 * MIB, seed="wanted")
    stall = registry.fault(Stall(after_bytes=MIB), path="*/blobs/*", times=3)
    mirror = start_mirror(registry, workers=2, cache={"max_size": f'"{10 * MIB}"'})
    with ExitStack() as stack:
        for blob in left:
            ask(stack.enter_context(Wire.to(mirror)), blob)
        wait_until(lambda: spooled(mirror) == 3 * MIB)
        mirror.kill()
    stall.remove()
    mirror.start()
    assert cache_of(mirror).usage() == 9 * MIB
    assert_whole(mirror.blob(NAME, wanted.digest).body, wanted)
    cache_of(mirror).check()
    assert cache_of(mirror).usage() <= 10 * MIB
    for blob in left:
        assert_whole(mirror.blob(NAME, blob.digest).body, blob)


# ── many fills, killed at any moment ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rounds", "policy"),
    [
        pytest.param(1, "s3-fifo", id="1 round"),
        pytest.param(15, "s3-fifo", id="15 rounds, s3-fifo", marks=pytest.mark.slow),
        pytest.param(15, "lru", id="15 rounds, lru", marks=pytest.mark.slow),
    ],
)
def test_killed_in_the_middle_of_many_fills(
    registry: MockRegistry, start_mirror: StartMirror, rounds: int, policy: str
) -> None:
    """CA-04: 50 clients, a quota that evicts all the time; index and disk agree at every start."""
    dice = random.Random(f"{rounds} {policy}")
    targets = assortment(registry, dice)
    registry.fault(Slow(4_000_000), path="*/blobs/*", times=None)
    mirror = start_mirror(
        registry,
        workers=2,
        cache={"max_size": f'"{12 * MIB}"', "policy": f'"{policy}"'},
    )
    cache = cache_of(mirror)
    whole = 0
    for number in range(rounds):
        with pulling(mirror, targets, seed=f"{policy} {number}") as clients:
            time.sleep(dice.uniform(0.2, 1.2))  # the random point
            if dice.random() < 0.5:  # one worker first, while the others go on
                mirror.signal(dice.choice(mirror.workers), SIGKILL)
                time.sleep(dice.uniform(0, 0.5))
            mirror.kill()
        assert not [problem for client in clients for problem in client.problems]
        whole += sum(client.whole for client in clients)
        assert_nothing_unverified(cache)
        mirror.start()
        assert_recovered(cache)
        for target in dice.sample(targets, 5):
            assert pull_exactly(mirror, target)
    assert not cache.events("content.corrupt")
    assert whole > 20 * rounds, "hardly any pull ended before the server was killed"


def assert_nothing_unverified(cache: CacheDirectory) -> None:
    """Whatever stands under a digest has that digest, at any moment."""
    for digest, path in cache.files().items():
        assert f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" == digest


def assert_recovered(cache: CacheDirectory) -> None:
    """Index and disk agree; what is on its way has its room."""
    cache.check()
    states, spools = cache.states(), cache.spools()
    assert set(states.values()) <= {"stored", "filling"}
    assert {digest for digest, state in states.items() if state == "filling"} == set(spools)
    for digest, size in cache.sizes("filling").items():
        assert spools[digest] <= size
    assert cache.usage() <= 12 * MIB


Target = tuple[str, str]
"""A path, and the SHA-256 of what is there."""


def assortment(registry: MockRegistry, dice: random.Random) -> list[Target]:
    """Put blobs of all sizes and images into a registry; return what can be pulled."""
    sizes = [0, 1, 4095, 65536, 65537, *(int(2 ** dice.uniform(8, 21.5)) for _ in range(60))]
    blobs = [
        registry.add_blob(NAME, size, seed=f"blob {number}") for number, size in enumerate(sizes)
    ]
    images = [registry.add_image(NAME, f"v{number}", layers=2) for number in range(20)]
    targets = [(path_of(blob.digest), blob.digest.hex) for blob in blobs]
    for image in images:
        manifests = f"/v2/{UPSTREAM}/{NAME}/manifests"
        targets.append((f"{manifests}/{image.tag}", image.digest.hex))
        targets.append((f"{manifests}/{image.digest}", image.digest.hex))
        targets += [(path_of(blob.digest), blob.digest.hex) for blob in image.blobs]
    return targets


def pull_exactly(mirror: RunningMirror, target: Target) -> bool:
    """Pull; return whether all of it came, and fail if that was wrong."""
    path, sha256 = target
    with Wire.to(mirror, timeout=30) as wire:
        answer = wire.get(path, f"Accept: {MANIFESTS}")
    if answer.status == 200:
        assert hashlib.sha256(answer.body).hexdigest() == sha256, path
    else:
        # There may be no room: everything is in the making.
        assert answer.status in (503, 507), (path, answer)
    return answer.status == 200


class Puller(threading.Thread):
    """A client that pulls whatever it likes until the server is gone."""

    def __init__(self, mirror: RunningMirror, targets: Sequence[Target], seed: str) -> None:
        super().__init__()
        self.mirror, self.targets = mirror, targets
        self.dice = random.Random(seed)
        self.ended = threading.Event()
        self.whole = 0
        self.problems: list[AssertionError] = []

    def run(self) -> None:
        while not self.ended.is_set():
            # Some content is asked for much more often than other.
            target = self.targets[int(len(self.targets) * self.dice.random() ** 2)]
            try:
                with suppress(OSError):
                    self.whole += pull_exactly(self.mirror, target)
            except AssertionError as problem:
                self.problems.append(problem)


@contextmanager
def pulling(mirror: RunningMirror, targets: Sequence[Target], seed: str) -> Iterator[list[Puller]]:
    """Pull with 50 clients as long as the context lasts."""
    clients = [Puller(mirror, targets, f"{seed} {number}") for number in range(50)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.ended.set()
        for client in clients:
            client.join(60)
            assert not client.is_alive()


def test_the_order_of_use_survives(registry: MockRegistry, start_mirror: StartMirror) -> None:
    """CA-04: what was used last before the server was killed goes last after it."""
    blobs = [registry.add_blob(NAME, MIB, seed=str(number)) for number in range(6)]
    settings = {"max_size": f'"{4 * MIB}"', "policy": '"lru"'}
    mirror = start_mirror(registry, workers=2, cache=settings)
    cache = cache_of(mirror)
    for number in (0, 1, 2, 3, 0):
        mirror.blob(NAME, blobs[number].digest)
    wait_until(lambda: cache.uses() == 5)
    mirror.kill()
    mirror.start()
    for blob in blobs[4:]:
        mirror.blob(NAME, blob.digest)
    left = {str(blobs[number].digest) for number in (0, 3, 4, 5)}
    wait_until(lambda: cache.stored() == left)


# ── SIGTERM ──────────────────────────────────────────────────────────────────────────────────


def test_what_runs_at_a_sigterm_is_finished(
    registry: MockRegistry, start_mirror: StartMirror
) -> None:
    """The worker that fills has no client any more; those of the other one still get all."""
    blob = registry.add_blob(NAME, SIZE)
    stall = registry.fault(Stall(after_bytes=5 * MIB), path="*/blobs/*")
    mirror = start_mirror(registry, workers=2)
    with ask(Wire.to(mirror, timeout=30), blob) as first:
        filling = filling_worker(mirror)
        with connected_to(mirror, other_worker(mirror, filling)) as follower:
            ask(follower, blob)
            first.close()
            wait_until(lambda: spooled(mirror) == 5 * MIB)
            mirror.process.send_signal(SIGTERM)
            wait_until(lambda: not mirror.listens)
            stall.release()
            assert_whole(follower.read(SIZE), blob)
    assert mirror.process.wait(20) == 0
    mirror.start()
    registry.fault(DropConnection(), times=None)
    assert_whole(mirror.blob(NAME, blob.digest).body, blob)


@pytest.mark.slow
def test_what_does_not_end_in_time_is_cut_and_kept(
    registry: MockRegistry, start_mirror: StartMirror
) -> None:
    blob = registry.add_blob(NAME, SIZE)
    stall = registry.fault(Stall(after_bytes=5 * MIB), path="*/blobs/*", times=2)
    mirror = start_mirror(registry, workers=2, settings={"server.shutdown_timeout": "1s"})
    with ExitStack() as stack:
        wires = [ask(stack.enter_context(Wire.to(mirror, timeout=30)), blob) for _ in range(8)]
        wait_until(lambda: spooled(mirror) == 5 * MIB)
        assert mirror.stop() == 0
        assert all(len(wire.rest()) < SIZE for wire in wires)
    stall.remove()
    mirror.start()
    came = spooled(mirror)
    assert came >= 5 * MIB
    assert_whole(mirror.blob(NAME, blob.digest).body, blob)
    assert ranges(registry)[-1] == f"bytes={came}-"
    cache_of(mirror).check()
