"""A disk that is full in the middle of fills: a broken transfer or the whole, never a wrong one,
and nothing is left behind that keeps a later pull from succeeding. Rows PX-07 and CA-03."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from entrepot.oci.descriptor import Descriptor
from entrepot.testing import MockRegistry, Stall
from tests.integration.mirror.cache_directory import CacheDirectory
from tests.integration.mirror.conftest import StartMirror
from tests.integration.mirror.worker_sockets import connected_to
from tests.integration.small_disk import SmallDisk, mounted
from tests.mirrors import UPSTREAM, RunningMirror
from tests.waiting import wait_until
from tests.wire import Wire, request

MIB: Final = 1 << 20
NAME: Final = "team/app"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk", 24 * MIB) as disk:
        yield disk


@pytest.mark.parametrize("leave", [2 * MIB, 0], ids=["some bytes are left", "no byte is left"])
def test_a_disk_that_fills_up_breaks_transfers_and_nothing_else(
    registry: MockRegistry, start_mirror: StartMirror, disk: SmallDisk, leave: int
) -> None:
    """Followers in both workers, and several fills at once; afterwards all of them succeed."""
    blobs = [registry.add_blob(NAME, 5 * MIB, seed=str(number)) for number in range(3)]
    stall = registry.fault(Stall(after_bytes=MIB), path="*/blobs/*", times=3)
    path = disk.path / "cache"
    mirror = start_mirror(registry, workers=2, cache={"path": f'"{path}"'})
    cache = CacheDirectory(path)
    with ExitStack() as stack:
        wires = [
            (stack.enter_context(connected_to(mirror, worker)), blob)
            for worker in mirror.workers
            for blob in blobs
        ]
        for wire, blob in wires:
            ask(wire, blob)
        wait_until(lambda: sum(cache.spools().values()) == 3 * MIB)
        disk.fill(leave=leave)
        stall.release()
        for wire, blob in wires:
            body = wire.rest()
            assert registry.blob(blob.digest).startswith(body)
    disk.clear()
    for blob in blobs:
        assert_pulled(mirror, blob)
    wait_until(lambda: set(cache.states().values()) == {"stored"})
    cache.check()
    assert not cache.spools()


def test_a_full_disk_passes_on_what_is_new_and_serves_what_is_there(
    registry: MockRegistry, start_mirror: StartMirror, disk: SmallDisk
) -> None:
    here, new = (registry.add_blob(NAME, 2 * MIB, seed=seed) for seed in ("here", "new"))
    path = disk.path / "cache"
    mirror = start_mirror(registry, workers=2, cache={"path": f'"{path}"'})
    assert_pulled(mirror, here)
    wait_until(lambda: CacheDirectory(path).uses() == 1)  # and nothing more is to be written
    disk.fill()
    for _ in range(3):
        assert_pulled(mirror, here)
        passed = mirror.blob(NAME, new.digest)
        assert (passed.status, passed.body) == (200, registry.blob(new.digest))
    disk.clear()
    assert_pulled(mirror, new)
    CacheDirectory(path).check()


def test_what_is_cached_gives_way_when_others_fill_the_disk(
    registry: MockRegistry, start_mirror: StartMirror, disk: SmallDisk
) -> None:
    old = registry.add_blob(NAME, 6 * MIB, seed="old")
    new = registry.add_blob(NAME, 3 * MIB, seed="new")
    path = disk.path / "cache"
    mirror = start_mirror(registry, cache={"path": f'"{path}"'})
    assert_pulled(mirror, old)
    disk.fill(leave=2 * MIB)
    assert_pulled(mirror, new)
    cache = CacheDirectory(path)
    wait_until(lambda: set(cache.states().values()) == {"stored"})
    assert cache.stored() == {str(new.digest)}
    cache.check()


def ask(wire: Wire, blob: Descriptor) -> None:
    wire.send(request("GET", f"/v2/{UPSTREAM}/{NAME}/blobs/{blob.digest}", "Connection: close"))
    assert wire.head()[0] == 200


def assert_pulled(mirror: RunningMirror, blob: Descriptor) -> None:
    answer = mirror.blob(NAME, blob.digest)
    assert answer.status == 200, str(answer)
    assert f"sha256:{hashlib.sha256(answer.body).hexdigest()}" == str(blob.digest)
