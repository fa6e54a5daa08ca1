"""What a mirror takes of the disk: quotas, what goes when room is needed, and what becomes of
content that somebody else has changed (rows CA-01, CA-03, CA-08)."""

import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import Final

import pytest

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.testing import MockRegistry, Stall, Status, Truncate, WrongDigest
from tests.integration.mirror.cache_directory import CacheDirectory
from tests.integration.mirror.conftest import StartMirror, cache_of
from tests.integration.small_disk import SmallDisk, mounted
from tests.mirrors import UPSTREAM, RunningMirror, metric, upstream_table
from tests.waiting import wait_until

NAME: Final = "library/tool"
SIZE: Final = 100_000
MIB: Final = 1 << 20


def add_blobs(registry: MockRegistry, number: int, *, name: str = NAME) -> list[Descriptor]:
    return [registry.add_blob(name, SIZE, seed=f"{name} {one}") for one in range(number)]


def pull(mirror: RunningMirror, blob: Descriptor, *, upstream: str = UPSTREAM) -> None:
    """Pull a blob, and wait until it is stored."""
    response = mirror.blob(NAME, blob.digest, upstream=upstream)
    assert response.status == 200, str(response)
    assert Digest.of(response.body) == blob.digest
    assert cache_of(mirror).holds(blob.digest)


def change(mirror: RunningMirror, statement: str, *parameters: object) -> None:
    """Change the index of a mirror that is stopped."""
    with closing(sqlite3.connect(cache_of(mirror).path / "index.db")) as index, index:
        index.execute(statement, parameters)


# ── quotas ───────────────────────────────────────────────────────────────────────────────────────


def test_the_least_recently_used_goes_first(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """CA-01, CA-03: sizes and evictions are exact, to the byte and to the piece."""
    a, b, c, d, e, f = add_blobs(registry, 6)
    mirror = start_mirror(registry, cache={"max_size": f'"{3 * SIZE + 50}"', "policy": '"lru"'})
    cache = cache_of(mirror)
    gone = 0
    for blob, goes in ((a, None), (b, None), (c, None), (a, None), (d, b), (a, None), (e, c)):
        pull(mirror, blob)
        if goes is not None:
            gone += 1
            assert str(goes.digest) not in cache.states()
            assert not cache.file(goes.digest).exists()
        assert cache.usage("size") == SIZE * cache.usage("items") <= 3 * SIZE
        assert cache.usage("evictions") == gone
        assert cache.usage("evicted_bytes") == gone * SIZE
    assert cache.stored() == {str(one.digest) for one in (a, d, e)}
    pull(mirror, f)
    pull(mirror, b)
    assert cache.stored() == {str(one.digest) for one in (e, f, b)}
    cache.check()
    labels = {"upstream": UPSTREAM}
    wait_until(lambda: metric(mirror, "entrepot_mirror_evictions_total", labels) == 4.0)
    assert metric(mirror, "entrepot_mirror_evicted_bytes_total", labels) == 4.0 * SIZE


def test_an_upstream_has_a_quota_of_its_own(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """CA-01: one that is full takes nothing from the others."""
    own = add_blobs(registry, 4)
    others = add_blobs(registry, 4, name="library/other")
    more = upstream_table(registry, name="other.test", settings={"probe_interval": '"0s"'})
    mirror = start_mirror(
        registry, cache={"policy": '"lru"'}, upstream={"max_size": f'"{2 * SIZE}"'}, more=more
    )
    cache = cache_of(mirror)
    for blob in others:
        response = mirror.blob("library/other", blob.digest, upstream="other.test")
        assert response.status == 200
    assert cache.holds(*(blob.digest for blob in others))
    for blob in own:
        pull(mirror, blob)
    assert cache.stored() == {str(one.digest) for one in (*others, *own[2:])}
    assert cache.usage() == 2 * SIZE
    assert cache.usage(upstream="other.test") == 4 * SIZE
    assert cache.usage("evictions", "other.test") == 0
    cache.check()


@pytest.mark.parametrize("policy", ["lru", "lfu", "gdsf", "s3-fifo", "ttl"])
def test_every_policy_keeps_the_quota(
    start_mirror: StartMirror, registry: MockRegistry, policy: str
) -> None:
    blobs = add_blobs(registry, 8)
    mirror = start_mirror(registry, cache={"max_size": f'"{3 * SIZE}"', "policy": f'"{policy}"'})
    for blob in (*blobs, *blobs[::-1], *blobs[::2]):
        pull(mirror, blob)
        assert cache_of(mirror).usage() <= 3 * SIZE
    cache_of(mirror).check()


def test_what_is_larger_than_the_quota_passes_by_the_cache(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """Whole and in part, and nothing that is there goes for what can never be."""
    small = registry.add_blob(NAME, 1000)
    image = registry.add_image(NAME, "1", layers=1, layer_size=SIZE)
    mirror = start_mirror(registry, cache={"max_size": f'"{SIZE // 2}"'})
    pull(mirror, small)
    assert mirror.manifest(NAME, "1").body == image.manifest
    layer = image.layers[0]
    content = registry.blob(layer.digest)
    for _ in range(2):
        response = mirror.blob(NAME, layer.digest)
        assert (response.status, response.body) == (200, content)
    part = mirror.blob(NAME, layer.digest, headers={"Range": "bytes=500-70499"})
    assert (part.status, part.body) == (206, content[500:70500])
    assert mirror.blob(NAME, small.digest).status == 200
    assert cache_of(mirror).usage("evictions") == 0
    assert str(layer.digest) not in cache_of(mirror).states()
    cache_of(mirror).check()


def test_what_passes_by_the_cache_is_verified(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """Nobody gets wrong bytes whole, nor a part of them; what breaks off is gone on with."""
    (blob,) = add_blobs(registry, 1)
    mirror = start_mirror(registry, cache={"max_size": '"1000"'})
    registry.fault(Truncate(30_000), method="GET", path="*/blobs/*", after=1)
    response = mirror.blob(NAME, blob.digest)
    assert response.body == registry.blob(blob.digest)
    registry.fault(WrongDigest(), method="GET", path="*/blobs/*", times=None)
    for headers in ({}, {"Range": "bytes=0-39999"}):
        with pytest.raises(HTTPException):
            mirror.blob(NAME, blob.digest, headers=headers)
    assert cache_of(mirror).events("upstream.lied")


def test_nothing_goes_for_a_size_that_only_a_manifest_tells(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """The upstream is asked for the blob first: here it sends less, or has it not at all."""
    kept = add_blobs(registry, 3)
    lying = registry.add_image(NAME, "1", layers=1, layer_size=100)
    (layer,) = lying.layers
    size = f'"size": {layer.size}'.encode()
    told = lying.manifest.replace(size, f'"size": {3 * SIZE}'.encode())
    assert told != lying.manifest
    registry.add_manifest(NAME, "2", told, lying.descriptor.media_type)
    mirror = start_mirror(registry, cache={"max_size": f'"{3 * SIZE + 5000}"'})
    for blob in kept:
        pull(mirror, blob)
    assert mirror.manifest(NAME, "2").body == told
    assert mirror.blob(NAME, layer.digest).status == 502
    assert {str(one.digest) for one in kept} <= cache_of(mirror).stored()
    assert cache_of(mirror).usage("evictions") == 0


def test_a_manifest_larger_than_the_quota_is_passed_on(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    image = registry.add_image(NAME, "1")
    mirror = start_mirror(registry, cache={"max_size": '"100"'})
    for reference in ("1", "1", str(image.digest)):
        response = mirror.manifest(NAME, reference)
        assert (response.status, response.body) == (200, image.manifest)
    assert cache_of(mirror).stored() == set()


def test_what_is_pinned_stays(start_mirror: StartMirror, registry: MockRegistry) -> None:
    """CA-03, and where everything is pinned what else is pulled passes by."""
    image = registry.add_image(NAME, "1", layers=1, layer_size=SIZE)
    other = registry.add_image(NAME, "2", layers=1, layer_size=SIZE)
    mirror = start_mirror(registry, cache={"max_size": f'"{2 * SIZE}"', "policy": '"lru"'})
    mirror.pull(NAME, "1")
    kept = {str(image.digest), *(str(blob.digest) for blob in image.blobs)}
    assert cache_of(mirror).holds(*kept)
    command = [RunningMirror.program(), "cache", "pin", f"{UPSTREAM}/{NAME}:1"]
    where = ["--data", str(mirror.data), "--config", str(mirror.folder / "entrepot.toml")]
    done = subprocess.run([*command, *where], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    response = mirror.blob(NAME, other.layers[0].digest)
    assert response.body == registry.blob(other.layers[0].digest)
    assert kept <= cache_of(mirror).stored()
    mirror.pull(NAME, "1")


def test_what_was_broken_off_gives_way(start_mirror: StartMirror, registry: MockRegistry) -> None:
    """Parts are kept to go on with, yet they are no reason to refuse what can be had."""
    broken, other = add_blobs(registry, 2)
    registry.fault(Truncate(30_000), path="*/blobs/*")
    registry.fault(Status(404), path=f"*/blobs/{broken.digest}", times=None, after=1)
    mirror = start_mirror(registry, cache={"max_size": f'"{SIZE}"'})
    with pytest.raises(HTTPException):
        mirror.blob(NAME, broken.digest)
    cache = cache_of(mirror)
    assert cache.states() == {str(broken.digest): "filling"}
    assert cache.usage() == SIZE
    pull(mirror, other)
    assert cache.states() == {str(other.digest): "stored"}
    assert cache.usage() == SIZE
    cache.check()


def test_hosted_content_is_never_evicted(start_mirror: StartMirror, registry: MockRegistry) -> None:
    """CA-03: it lies elsewhere and counts for nothing here, though the digest be the same."""
    blobs = add_blobs(registry, 4)
    mirror = start_mirror(registry, cache={"max_size": f'"{SIZE}"'})
    with mirror.client() as client:
        for blob in blobs:
            started = client.post("/v2/ours/app/blobs/uploads/").header("Location") or ""
            put = client.put(f"{started}?digest={blob.digest}", registry.blob(blob.digest))
            assert put.status == 201
        for blob in blobs:
            pull(mirror, blob)
        assert cache_of(mirror).usage("evictions") == 3
        for blob in blobs:
            response = client.get(f"/v2/ours/app/blobs/{blob.digest}")
            assert response.body == registry.blob(blob.digest)


# ── content that was changed ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("harm", ["first-byte", "last-byte", "cut", "emptied", "removed"])
@pytest.mark.parametrize("what", ["layer", "manifest"])
def test_changed_content_is_fetched_again_and_never_served(
    start_mirror: StartMirror, registry: MockRegistry, what: str, harm: str
) -> None:
    """CA-08."""
    image = registry.add_image(NAME, "1", layers=1, layer_size=SIZE)
    mirror = start_mirror(registry)
    mirror.pull(NAME, "1")
    layer = image.layers[0]
    target = image.descriptor if what == "manifest" else layer
    cache = cache_of(mirror)
    assert cache.holds(target.digest)
    match harm:
        case "first-byte":
            cache.flip(target.digest)
        case "last-byte":
            cache.flip(target.digest, target.size - 1)
        case "cut":
            cache.cut(target.digest, target.size // 2)
        case "emptied":
            cache.cut(target.digest, 0)
        case "removed":
            cache.remove(target.digest)
    registry.clear_requests()
    if what == "manifest":
        assert mirror.manifest(NAME, "1").body == image.manifest
        assert mirror.manifest(NAME, str(image.digest)).body == image.manifest
        assert registry.count("GET") == 1
    else:
        part = mirror.blob(NAME, layer.digest, headers={"Range": "bytes=50000-50099"})
        assert part.body == registry.blob(layer.digest)[50000:50100]
        pull(mirror, layer)
        assert registry.count("GET", f"*/blobs/{layer.digest}") == 1
    assert cache.holds(target.digest)
    cache.check()
    (event,) = cache.events("content.corrupt")
    assert str(target.digest) in event


def test_a_file_that_was_only_touched_is_served(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """It is compared with its digest, and right."""
    (blob,) = add_blobs(registry, 1)
    mirror = start_mirror(registry)
    pull(mirror, blob)
    cache_of(mirror).file(blob.digest).touch()
    pull(mirror, blob)
    assert registry.count("GET", "*/blobs/*") == 1
    assert cache_of(mirror).events("content.corrupt") == []


def test_without_the_upstream_changed_content_is_an_error(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    (blob,) = add_blobs(registry, 1)
    mirror = start_mirror(registry)
    pull(mirror, blob)
    registry.stop()
    cache_of(mirror).flip(blob.digest, SIZE // 2)
    assert mirror.blob(NAME, blob.digest).status in (502, 503)
    assert cache_of(mirror).stored() == set()


# ── after a crash ────────────────────────────────────────────────────────────────────────────────


def test_a_start_puts_right_what_a_crash_has_left(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """CA-03: rows that were left `filling` or `evicting` do not take room for ever."""
    evicting, removed, in_place, never_came = add_blobs(registry, 4)
    mirror = start_mirror(registry)
    cache = cache_of(mirror)
    for blob in (evicting, removed, in_place):
        pull(mirror, blob)
    mirror.kill()
    states = "UPDATE content SET state = ? WHERE digest = ?"
    change(mirror, states, "evicting", str(evicting.digest))
    change(mirror, states, "evicting", str(removed.digest))
    cache.remove(removed.digest)
    change(mirror, states, "filling", str(in_place.digest))
    change(
        mirror,
        "INSERT INTO content (digest, size, state, upstream, pinned, links) "
        "VALUES (?, ?, 'filling', ?, 0, 0)",
        str(never_came.digest),
        SIZE,
        UPSTREAM,
    )
    mirror.start()
    assert cache.states() == {str(in_place.digest): "stored"}
    assert cache.usage() == SIZE
    cache.check()
    registry.clear_requests()
    pull(mirror, in_place)
    assert registry.count("GET") == 0
    for blob in (evicting, removed, never_came):
        pull(mirror, blob)
    cache.check()


def test_what_was_being_filled_goes_on_after_a_crash(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    blob = registry.add_blob(NAME, 3 * MIB)
    mirror = start_mirror(registry)
    stall = registry.fault(Stall(2 * MIB), method="GET", path="*/blobs/*")
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(mirror.blob, NAME, blob.digest)
        stall.wait()
        wait_until(lambda: cache_of(mirror).spooled(blob.digest) >= MIB)
        mirror.kill()
        assert isinstance(asking.exception(), HTTPException | OSError)
    stall.release()
    registry.clear_requests()
    mirror.start()
    pull(mirror, blob)
    (asked,) = registry.matching("GET", "*/blobs/*")
    first = next(value for key, value in asked.headers if key.lower() == "range")
    assert int(first.removeprefix("bytes=").partition("-")[0]) >= MIB
    cache_of(mirror).check()


# ── a disk that is full ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk", 24 * MIB) as disk:
        yield disk


def test_a_full_disk_hinders_no_cached_pull(
    start_mirror: StartMirror, registry: MockRegistry, disk: SmallDisk
) -> None:
    """CA-03: what is cached is served, all else is passed on, and once there is space it is
    kept."""
    first = registry.add_image(NAME, "1", layers=1, layer_size=SIZE)
    second = registry.add_image(NAME, "2", layers=1, layer_size=4 * MIB)
    path = disk.path / "cache"
    mirror = start_mirror(registry, cache={"path": f'"{path}"'})
    mirror.pull(NAME, "1")
    cache = CacheDirectory(path)
    assert cache.holds(*(blob.digest for blob in first.blobs))
    disk.fill()
    assert mirror.pull(NAME, "1").body == first.manifest
    assert mirror.pull(NAME, str(first.digest)).body == first.manifest
    assert mirror.manifest(NAME, "2").body == second.manifest
    assert mirror.manifest(NAME, "3").status == 404
    layer = second.layers[0].digest
    assert mirror.blob(NAME, layer).body == registry.blob(layer)
    assert str(layer) not in cache.stored()
    disk.clear()
    mirror.pull(NAME, "2")
    assert cache.holds(*(blob.digest for blob in second.blobs))
    cache.check()


def test_a_disk_that_fills_up_in_a_transfer_breaks_it_off(
    start_mirror: StartMirror, registry: MockRegistry, disk: SmallDisk
) -> None:
    """Nothing half is left to take the last of the disk."""
    blob = registry.add_blob(NAME, 8 * MIB)
    path = disk.path / "cache"
    mirror = start_mirror(registry, cache={"path": f'"{path}"'})
    stall = registry.fault(Stall(2 * MIB), method="GET", path="*/blobs/*")
    cache = CacheDirectory(path)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(mirror.blob, NAME, blob.digest)
        stall.wait()
        wait_until(lambda: cache.spooled(blob.digest) >= MIB)
        disk.fill()
        stall.release()
        assert isinstance(asking.exception(), HTTPException | OSError)
    wait_until(lambda: not cache.spooled(blob.digest))
    disk.clear()
    response = mirror.blob(NAME, blob.digest)
    assert Digest.of(response.body) == blob.digest
    assert cache.holds(blob.digest)
    cache.check()
