"""Images brought into the cache before anybody asks: by hand, by schedule, and the layers of a
manifest that was just pulled (CA-05)."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from entrepot.bootstrap import SystemClock
from entrepot.bootstrap.proxy import OpenedProxy, opened_proxy
from entrepot.config import load
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestUnknown, StoreFull, Unavailable
from entrepot.oci.media_types import OCI_LAYER
from entrepot.oci.platform import Platform
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.mirror_books import NoBooks
from entrepot.protocol.referrers import fallback_tag
from entrepot.rules.sources import Mirrored
from entrepot.services.progress import BlobFinished, BlobStarted, Event, Planned, Warned
from entrepot.services.warming import Warmed, Warming, WarmOptions
from entrepot.testing import MockRegistry, ServerError
from entrepot.testing.mock_connection_faults import Stall, Truncate
from tests.integration.mirror.cache_directory import CacheDirectory
from tests.integration.mirror.conftest import StartMirror, cache_of
from tests.mirrors import UPSTREAM, upstream_table
from tests.waiting import wait_until

ARM = WarmOptions(platforms=(Platform.parse("linux/arm64"),))


@dataclass
class Warmer:
    """Warming over a mirror of its own; `events` are what it has told."""

    opened: OpenedProxy
    cache: CacheDirectory
    events: list[Event] = field(default_factory=list)

    async def warm(self, name: str, tag: str, options: WarmOptions | None = None) -> Warmed:
        source = Mirrored(UPSTREAM, RepositoryName(name))
        warming = Warming(self.opened.proxy.mirror)
        return await warming.warm(source, Tag(tag), options, self.events.append)

    def finished(self, how: str) -> int:
        """Return how many blobs have ended so."""
        return sum(isinstance(one, BlobFinished) and one.how == how for one in self.events)


@asynccontextmanager
async def warmer(
    folder: Path, registry: MockRegistry, *, cache: str = "", upstream: str = ""
) -> AsyncIterator[Warmer]:
    """Open a mirror of one registry; `cache` and `upstream` are lines of their tables."""
    config = folder / "entrepot.toml"
    config.write_text(f"[cache]\n{cache}\n{upstream_table(registry)}{upstream}\n")
    settings = load(config, {}, {"storage.path": folder})
    clock, books = SystemClock(), NoBooks()
    async with opened_proxy(settings, environ={}, books=books, clock=clock) as opened:
        yield Warmer(opened, CacheDirectory(folder / "cache"))
    CacheDirectory(folder / "cache").check()


async def test_all_of_an_image_comes(tmp_path: Path, registry: MockRegistry) -> None:
    image = registry.add_index("team/app", "1")
    async with warmer(tmp_path, registry) as mirror:
        done = await mirror.warm("team/app", "1")
    blobs = {blob.digest for child in image.children for blob in child.blobs}
    assert done.root.digest == image.digest
    assert (done.manifests, done.fetched, done.present) == (3, len(blobs), 0)
    manifests = {image.digest, *(child.digest for child in image.children)}
    assert mirror.cache.stored() == {str(digest) for digest in blobs | manifests}
    planned = [one for one in mirror.events if isinstance(one, Planned)][-1]
    assert (planned.blobs, planned.bytes) == (len(blobs), done.total_bytes)
    assert mirror.finished("copied") == len(blobs)


async def test_what_is_there_costs_the_confirmation_of_the_tag(
    tmp_path: Path, registry: MockRegistry
) -> None:
    """CA-05"""
    registry.add_index("team/app", "1")
    async with warmer(tmp_path, registry) as mirror:
        first = await mirror.warm("team/app", "1")
        registry.clear_requests()
        second = await mirror.warm("team/app", "1")
    assert (second.fetched, second.present) == (0, first.fetched)
    assert [(one.method, one.path) for one in registry.requests] == [
        ("HEAD", "/v2/team/app/manifests/1")
    ]


async def test_only_the_chosen_platform_comes(tmp_path: Path, registry: MockRegistry) -> None:
    image = registry.add_index("team/app", "1")
    amd, arm = image.children
    async with warmer(tmp_path, registry) as mirror:
        done = await mirror.warm("team/app", "1", ARM)
    assert done.manifests == 2
    assert str(arm.digest) in mirror.cache.stored()
    assert str(amd.digest) not in mirror.cache.stored()
    assert registry.count("GET", "*/blobs/*") == len(arm.blobs)


async def test_a_platform_that_is_not_offered_is_told(
    tmp_path: Path, registry: MockRegistry
) -> None:
    registry.add_index("team/app", "1")
    wanted = WarmOptions(platforms=(Platform.parse("linux/s390x"),))
    async with warmer(tmp_path, registry) as mirror:
        with pytest.raises(ManifestUnknown, match="linux/amd64, linux/arm64"):
            await mirror.warm("team/app", "1", wanted)


async def test_nothing_counts_as_used_or_asked_for(tmp_path: Path, registry: MockRegistry) -> None:
    image = registry.add_image("team/app", "1", layers=2)
    async with warmer(tmp_path, registry) as mirror:
        await mirror.warm("team/app", "1")
        await mirror.warm("team/app", "1")
    for counter in ("hits", "misses", "stale", "coalesced", "served_bytes"):
        assert mirror.cache.usage(counter) == 0, counter
    assert mirror.cache.usage("fetched_bytes") == image.size + image.descriptor.size


async def test_what_was_cut_goes_on_where_it_was(tmp_path: Path, registry: MockRegistry) -> None:
    image = registry.add_image("team/app", "1", layers=1, layer_size=2_000_000)
    (layer,) = image.layers
    standing = registry.fault(Stall(after_bytes=1_000_000), digest=layer.digest)
    async with warmer(tmp_path, registry) as mirror:
        task = asyncio.create_task(mirror.warm("team/app", "1"))
        await asyncio.to_thread(standing.wait)
        spools = tmp_path / "cache" / "spools"
        await asyncio.to_thread(wait_until, lambda: _largest(spools) > 500_000)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    registry.heal()
    registry.clear_requests()
    async with warmer(tmp_path, registry) as mirror:
        await mirror.warm("team/app", "1")
    (asked,) = registry.matching("GET", f"*/blobs/{layer.digest}")
    assert asked.status == 206
    started = {
        one.descriptor.digest: one.offset for one in mirror.events if isinstance(one, BlobStarted)
    }
    assert started[layer.digest] > 500_000


async def test_what_breaks_for_good_is_told_and_leaves_the_rest(
    tmp_path: Path, registry: MockRegistry
) -> None:
    image = registry.add_image("team/app", "1", layers=2)
    bad, good = image.layers
    registry.fault(ServerError(503), digest=bad.digest, times=None)
    async with warmer(tmp_path, registry) as mirror:
        with pytest.raises(Unavailable):
            await mirror.warm("team/app", "1", WarmOptions(jobs=1))
        registry.heal()
        done = await mirror.warm("team/app", "1")
    assert done.present + done.fetched == len(image.blobs)
    assert {str(bad.digest), str(good.digest)} <= mirror.cache.stored()


async def test_an_image_that_is_listed_and_absent_leaves_the_others(
    tmp_path: Path, registry: MockRegistry
) -> None:
    image = registry.add_index("team/app", "1")
    amd, arm = image.children
    path = f"*/manifests/{arm.digest}"
    registry.fault(ServerError(404), path=path, times=None)
    async with warmer(tmp_path, registry) as mirror:
        await mirror.warm("team/app", "1")
        assert [one for one in mirror.events if isinstance(one, Warned)]
        with pytest.raises(ManifestUnknown):  # this one was asked for
            await mirror.warm("team/app", "1", ARM)
    assert str(amd.digest) in mirror.cache.stored()


@pytest.mark.parametrize("api", [True, False], ids=["api", "tag"])
async def test_referrers_come_if_they_are_wanted(
    tmp_path: Path, registry: MockRegistry, api: bool
) -> None:
    image = registry.add_image("team/app", "1")
    artifact = registry.add_artifact("team/app", subject=image.descriptor)
    registry.abilities.referrers = api
    if not api:
        registry.add_index("team/app", fallback_tag(image.digest), images=[artifact])
    async with warmer(tmp_path, registry) as mirror:
        await mirror.warm("team/app", "1")
        assert str(artifact.digest) not in mirror.cache.stored()
        await mirror.warm("team/app", "1", WarmOptions(referrers=True))
    assert {str(artifact.digest), *(str(one.digest) for one in artifact.blobs)} <= (
        mirror.cache.stored()
    )


async def test_pinned_images_stay_when_room_is_needed(
    tmp_path: Path, registry: MockRegistry
) -> None:
    """CA-03"""
    kept = registry.add_image("team/kept", "1", layers=1, layer_size=100_000)
    registry.add_image("team/other", "1", layers=1, layer_size=100_000, seed="other")
    async with warmer(tmp_path, registry, cache='max_size = "150k"\npolicy = "lru"') as mirror:
        await mirror.warm("team/kept", "1", WarmOptions(pin=True))
        # Which one is told depends on what of it came first.
        with pytest.raises(StoreFull, match=r"pinned|evicted as soon as it was stored"):
            await mirror.warm("team/other", "1")
    assert {str(one.digest) for one in kept.blobs} <= mirror.cache.stored()


def test_the_server_keeps_what_is_to_be_warm(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """CA-05: after that a pull asks nobody."""
    image = registry.add_index("team/app", "1")
    cache = {
        "freshness": '"ttl"',
        "warm": f'["nowhere.test/x:1", "{UPSTREAM}/no/such:1", "{UPSTREAM}/team/app:1"]',
        "warm_interval": '"10s"',
    }
    mirror = start_mirror(registry, cache=cache, workers=2)
    directory = cache_of(mirror)
    blobs = [str(blob.digest) for child in image.children for blob in child.blobs]
    wait_until(lambda: directory.holds(*blobs))
    wait_until(lambda: "image warmed" in mirror.log())
    registry.clear_requests()
    mirror.pull("team/app", "1")
    assert not registry.requests
    assert mirror.log().count("warming failed") == 2
    assert "entrepot upstream add nowhere.test" in mirror.log()


def test_only_platforms_that_are_configured_are_kept_warm(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    image = registry.add_index("team/app", "1")
    amd, arm = image.children
    cache = {"warm": f'["{UPSTREAM}/team/app:1"]', "warm_platforms": '["linux/arm64"]'}
    mirror = start_mirror(registry, cache=cache)
    wait_until(lambda: "image warmed" in mirror.log())
    assert str(arm.digest) in cache_of(mirror).stored()
    assert str(amd.digest) not in cache_of(mirror).stored()


def test_the_layers_of_a_pulled_manifest_are_fetched_beforehand(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """CA-05: those of the platform that is pulled, and no others."""
    image = registry.add_index("team/app", "1")
    amd, arm = image.children
    mirror = start_mirror(registry, cache={"prefetch": "true", "freshness": '"ttl"'})
    mirror.manifest("team/app", "1")
    mirror.manifest("team/app", str(arm.digest), method="HEAD")
    assert registry.count("*", "*/blobs/*") == 0
    mirror.manifest("team/app", str(arm.digest))
    assert cache_of(mirror).holds(*(one.digest for one in arm.blobs))
    assert registry.count("GET", "*/blobs/*") == len(arm.blobs)
    assert not {str(one.digest) for one in amd.layers} & cache_of(mirror).stored()
    registry.clear_requests()
    for blob in arm.blobs:
        assert mirror.blob("team/app", str(blob.digest)).status == 200
    assert not registry.requests


def test_a_client_joins_what_is_prefetched(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    image = registry.add_image("team/app", "1", layers=1, layer_size=1_000_000)
    (layer,) = image.layers
    standing = registry.fault(Stall(after_bytes=300_000), digest=layer.digest)
    mirror = start_mirror(registry, cache={"prefetch": "true"})
    mirror.manifest("team/app", "1")
    standing.wait()
    standing.release()
    assert mirror.blob("team/app", str(layer.digest)).body == registry.blob(layer.digest)
    assert registry.count("*", f"*/blobs/{layer.digest}") == 1
    wait_until(lambda: cache_of(mirror).usage("hits") + cache_of(mirror).usage("coalesced") == 1)


@pytest.mark.slow
def test_a_manifest_of_thousands_of_layers_spends_no_budget(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """CA-05: a hundred are prefetched; whoever wants the others asks for them."""
    layers = [
        {"mediaType": OCI_LAYER, "digest": str(Digest.of(b"%d" % number)), "size": 10}
        for number in range(300)
    ]
    image = registry.add_image("team/app", None)
    content = json.dumps({**json.loads(image.manifest), "layers": layers}).encode()
    registry.add_manifest("team/app", "1", content, image.descriptor.media_type)
    mirror = start_mirror(registry, cache={"prefetch": "true"})
    assert mirror.manifest("team/app", "1").status == 200
    wait_until(lambda: registry.count("GET", f"*/blobs/{layers[98]['digest']}") == 1)
    with pytest.raises(AssertionError):
        wait_until(lambda: registry.count("GET", "*/blobs/*") > 100, seconds=1.0)


def test_nothing_is_prefetched_unless_it_is_set(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    registry.add_image("team/app", "1")
    mirror = start_mirror(registry)
    mirror.manifest("team/app", "1")
    assert mirror.stop() == 0
    assert registry.count("*", "*/blobs/*") == 0


def test_a_broken_prefetch_is_the_clients_to_see(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    image = registry.add_image("team/app", "1", layers=1)
    (layer,) = image.layers
    broken = registry.fault(Truncate(10), digest=layer.digest)
    mirror = start_mirror(registry, cache={"prefetch": "true"})
    mirror.manifest("team/app", "1")
    broken.wait()
    assert mirror.blob("team/app", str(layer.digest)).body == registry.blob(layer.digest)


def _largest(spools: Path) -> int:
    """Return the size of the largest spool; what goes while it is looked at has none."""
    sizes = [0]
    for one in spools.rglob("*"):
        with suppress(FileNotFoundError):
            sizes.append(one.stat().st_size)
    return max(sizes)
