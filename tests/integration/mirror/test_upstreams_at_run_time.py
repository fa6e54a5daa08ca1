"""Upstreams that come, change, fail and go while a mirror serves (rows BE-08, HA-04, HA-05)."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Final

import pytest

from entrepot.testing import MockRegistry, RateLimited, Stall, Truncate, WrongDigest
from entrepot.testing.postgresql import PostgresqlMissing, PostgresqlServer, postgresql_server
from tests.integration.mirror.conftest import StartMirror, cache_of
from tests.mirrors import UPSTREAM, RunningMirror
from tests.programs import NOT_RUN
from tests.relay import Relay
from tests.waiting import wait_until

NAME: Final = "library/tool"
SOON: Final = 2.0
"""Seconds within which a change is in force."""


def table(url: str, *more: str, name: str = UPSTREAM, **settings: str) -> str:
    """Return the TOML of one upstream; `settings` are TOML values."""
    settings = {"probe_interval": '"0s"', "insecure": "true"} | settings
    endpoints = ", ".join(f'"{one}"' for one in (url, *more))
    lines = [f'[upstreams."{name}"]', f"endpoints = [{endpoints}]"]
    return "\n".join([*lines, *(f"{key} = {value}" for key, value in settings.items()), ""])


def write(mirror: RunningMirror, *tables: str) -> None:
    """Put upstreams in force as `entrepot upstream` does: a new file takes the old one's place."""
    path = mirror.data / "upstreams.toml"
    fresh = path.with_name("upstreams.toml.new")
    fresh.write_text("\n".join(tables))
    fresh.rename(path)


def soon(mirror: RunningMirror, upstream: str, status: int) -> None:
    """Wait until an upstream's tag is answered so by every worker."""
    began, seen = time.monotonic(), 0
    while seen < 8:  # each on a connection of its own, so to any worker
        answered = mirror.manifest(NAME, "1", upstream=upstream).status
        seen = seen + 1 if answered == status else 0
        assert time.monotonic() - began < SOON + 1.0, answered
        time.sleep(0.01)


# ── added, changed, removed ──────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_an_upstream_is_added_changed_and_removed(
    start_mirror: StartMirror, registry: MockRegistry, second: MockRegistry, workers: int
) -> None:
    """BE-08: within two seconds, in every worker, and nobody else notices."""
    old = registry.add_image(NAME, "1", seed="old")
    new = second.add_image(NAME, "1", seed="new")
    mirror = start_mirror(registry, workers=workers)
    mirror.pull(NAME, "1")
    assert mirror.manifest(NAME, "1", upstream="new.test").status == 403
    write(mirror, table(registry.url, name="new.test"))
    soon(mirror, "new.test", 200)
    assert mirror.pull(NAME, "1", upstream="new.test").body == old.manifest
    write(mirror, table(second.url, name="new.test"))
    began, seen = time.monotonic(), 0
    while seen < 8:
        found = mirror.manifest(NAME, "1", upstream="new.test").body
        seen = seen + 1 if found == new.manifest else 0
        assert time.monotonic() - began < SOON + 1.0
    assert mirror.pull(NAME, "1", upstream="new.test").body == new.manifest
    write(mirror)
    soon(mirror, "new.test", 403)
    assert mirror.blob(NAME, new.layers[0].digest, upstream="new.test").status == 403
    assert mirror.pull(NAME, "1").body == old.manifest


def test_what_runs_comes_to_its_end(
    start_mirror: StartMirror, registry: MockRegistry, second: MockRegistry
) -> None:
    """The upstream is changed, then removed, in the middle of pulls, and even what has to be
    resumed goes on where it had begun."""
    blobs = [registry.add_blob(NAME, 400_000, seed=str(one)) for one in range(2)]
    mirror = start_mirror(cache={"negative_ttl": '"0s"'})
    write(mirror, table(registry.url))
    registry.add_image(NAME, "1")
    soon(mirror, UPSTREAM, 200)
    stalls = [
        registry.fault(Stall(100_000), Truncate(200_000), method="GET", digest=blob.digest)
        for blob in blobs
    ]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(mirror.blob, NAME, blobs[0].digest)
        stalls[0].wait()
        write(mirror, table(second.url))
        wait_until(lambda: mirror.manifest(NAME, "2") and second.requests, seconds=SOON + 1.0)
        write(mirror, table(registry.url))
        soon(mirror, UPSTREAM, 200)
        other = pool.submit(mirror.blob, NAME, blobs[1].digest)
        stalls[1].wait()
        write(mirror, table(second.url, name="other.test"))
        soon(mirror, UPSTREAM, 403)
        for stall in stalls:
            stall.release()
        for asking, blob in zip((first, other), blobs, strict=True):
            assert asking.result().body == registry.blob(blob.digest)
    assert cache_of(mirror).holds(*(blob.digest for blob in blobs))
    assert not second.count("GET", "*/blobs/*")


def test_a_file_that_is_wrong_changes_nothing(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """It is told of once, naming the place."""
    registry.add_image(NAME, "1")
    mirror = start_mirror()
    write(mirror, table(registry.url))
    soon(mirror, UPSTREAM, 200)
    write(mirror, table(registry.url), '[upstreams."x.test"]\nendpoints = 7\n')
    wait_until(lambda: "upstreams not changed" in mirror.log())
    soon(mirror, UPSTREAM, 200)
    assert mirror.manifest(NAME, "1", upstream="x.test").status == 403
    write(mirror, table(registry.url), table(registry.url, name="x.test"))
    soon(mirror, "x.test", 200)
    assert mirror.log().count("upstreams not changed") == 1
    assert re.search(r"upstreams\.toml.*endpoints", mirror.log())


def test_what_was_there_at_the_start_is_not_told_of_as_added(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    mirror = start_mirror(registry)
    write(mirror, table(registry.url, name="new.test"))
    wait_until(lambda: "upstream added" in mirror.log())
    told = [line for line in mirror.log().splitlines() if "upstream added" in line]
    assert told
    assert all('"new.test"' in line for line in told)


# ── endpoints that fail ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def line(registry: MockRegistry) -> Iterator[Relay]:
    """A line to the registry, which can be cut and mended."""
    with Relay(registry.host) as line:
        yield line


@pytest.mark.slow
def test_when_the_upstream_dies_only_the_first_client_waits(
    start_mirror: StartMirror, registry: MockRegistry, line: Relay
) -> None:
    """HA-04, HA-05: the breaker opens, cached tags are stale at once, what is not cached is refused
    at once, and when the upstream is back it is asked again."""
    image = registry.add_image(NAME, "1")
    registry.add_image(NAME, "2")
    settings = table(f"http://{line.host}", failures="2", ejection='"1s"')
    mirror = start_mirror(more=settings, cache={"revalidation_deadline": '"1s"'})
    mirror.pull(NAME, "1")
    line.cut()
    waits = []
    for _ in range(8):
        began = time.monotonic()
        response = mirror.manifest(NAME, "1")
        waits.append(time.monotonic() - began)
        assert (response.status, response.body) == (200, image.manifest)
        assert response.all("Warning")
    assert waits[0] < 1.5
    assert max(waits[1:]) < 0.3, waits
    assert mirror.pull(NAME, "1").body == image.manifest
    wait_until(lambda: '"state": "open"' in mirror.log())
    connections = line.connections
    for _ in range(20):
        mirror.manifest(NAME, "1")
    assert line.connections - connections <= 3, "an endpoint that is left out is left alone"
    line.restore()
    wait_until(lambda: not mirror.manifest(NAME, "1").all("Warning"))
    assert mirror.manifest(NAME, "2").status == 200


@pytest.mark.slow
def test_an_upstream_that_stands_still_hinders_no_cached_pull(
    start_mirror: StartMirror, registry: MockRegistry, line: Relay
) -> None:
    """HA-05, as with a firewall that drops: nobody answers, and nobody says no."""
    tags = [registry.add_image(NAME, str(number)) for number in range(10)]
    settings = table(f"http://{line.host}", failures="2", stall_timeout='"2s"')
    mirror = start_mirror(more=settings, cache={"revalidation_deadline": '"500ms"'})
    for image in tags:
        mirror.pull(NAME, image.tag or "")
    line.hold_after(0, "down")
    began = time.monotonic()
    for image in tags:
        response = mirror.pull(NAME, image.tag or "")
        assert response.body == image.manifest
        assert response.all("Warning")
    assert time.monotonic() - began < 3.0, "ten images in the time of a few deadlines"


def test_a_second_endpoint_takes_over(
    start_mirror: StartMirror, registry: MockRegistry, second: MockRegistry, line: Relay
) -> None:
    """HA-04: for manifests and blobs that are not cached, in the middle of a blob, too."""
    for one in (registry, second):
        image = one.add_image(NAME, "1", layers=2, layer_size=300_000, seed="same")
    mirror = start_mirror(more=table(f"http://{line.host}", second.url, failures="2"))
    mirror.manifest(NAME, "1")
    line.cut_after(100_000, "down")
    response = mirror.blob(NAME, image.layers[0].digest)
    assert response.body == registry.blob(image.layers[0].digest)
    (resumed,) = second.matching("GET", "*/blobs/*")
    assert [value for key, value in resumed.headers if key.lower() == "range"]
    line.cut()
    mirror.pull(NAME, "1")
    assert not mirror.manifest(NAME, "1").all("Warning")
    cache_of(mirror).check()


def test_an_endpoint_that_sends_wrong_bytes_is_asked_last(
    start_mirror: StartMirror, registry: MockRegistry, second: MockRegistry
) -> None:
    """The client who met it sees a broken transfer; the next one gets the blob from elsewhere."""
    for one in (registry, second):
        image = one.add_image(NAME, "1", layers=1, layer_size=300_000, seed="same")
    layer = image.layers[0]
    registry.fault(WrongDigest(), path="*/blobs/*", times=None)
    mirror = start_mirror(registry, second)
    mirror.manifest(NAME, "1")
    with pytest.raises(HTTPException):
        mirror.blob(NAME, layer.digest)
    assert mirror.blob(NAME, layer.digest).body == second.blob(layer.digest)
    assert registry.count("GET", "*/blobs/*") == 1
    (event,) = cache_of(mirror).events("upstream.lied")
    assert str(layer.digest) in event


def test_who_asks_to_be_left_alone_is(start_mirror: StartMirror, registry: MockRegistry) -> None:
    """`Retry-After` of a 429 is kept to, and told to clients."""
    image = registry.add_image(NAME, "1")
    mirror = start_mirror(registry)
    mirror.pull(NAME, "1")
    registry.fault(RateLimited(60), path="*")
    for _ in range(3):
        assert mirror.pull(NAME, "1").body == image.manifest
    refused = mirror.manifest(NAME, "2")
    assert refused.status == 429
    assert 50 <= int(refused.header("Retry-After") or "") <= 60
    assert registry.count("*", status=429) == 1
    assert registry.count("*", f"/v2/{NAME}/manifests/2") == 0


# ── the registry's database ──────────────────────────────────────────────────────────────────────


@pytest.fixture
def database() -> Iterator[PostgresqlServer]:
    try:
        with postgresql_server() as running:
            yield running
    except PostgresqlMissing as missing:
        pytest.skip(f"{NOT_RUN}{missing}")


@pytest.mark.slow
def test_a_database_that_is_away_hinders_no_cached_pull(
    start_mirror: StartMirror, registry: MockRegistry, database: PostgresqlServer
) -> None:
    """HA-05: the cache's index lies beside its content, and new images are cached, too."""
    registry.add_image(NAME, "1")
    registry.add_image(NAME, "2")
    name = database.create_database()
    with Relay(f"127.0.0.1:{database.port}") as line:
        port = line.host.rpartition(":")[2]
        url = re.sub(r":[0-9]+/", f":{port}/", database.url(name))
        mirror = start_mirror(registry, settings={"metadata.url": url})
        mirror.pull(NAME, "1")
        line.cut()
        with mirror.client() as client:
            assert client.get("/v2/ours/app/tags/list").status == 503
            pushed = client.post("/v2/ours/app/blobs/uploads/")
            assert pushed.status == 503
            assert "database" in pushed.json()["errors"][0]["message"], "it says why"
        for tag in ("1", "2", "1"):
            began = time.monotonic()
            mirror.pull(NAME, tag)
            assert time.monotonic() - began < 2.0
        registry.stop()
        mirror.pull(NAME, "2")


def test_a_broken_cache_directory_is_told_at_start(
    start_mirror: StartMirror, registry: MockRegistry, tmp_path: Path
) -> None:
    """Not by the first client."""
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(RuntimeError, match="ended at once") as failed:
        start_mirror(registry, cache={"path": f'"{tmp_path}/file/cache"'})
    assert "Traceback" not in str(failed.value)
    assert str(tmp_path) in str(failed.value)
