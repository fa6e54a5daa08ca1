"""Tags through a mirror: as fresh as the rules want them, stale rather than not at all, and what is
told when endpoints disagree (rows CA-02, CA-06, PX-02, BE-04)."""

import sqlite3
import time
from contextlib import closing
from typing import Final

import pytest

from entrepot.testing import (
    DropConnection,
    Exchange,
    Headers,
    MockImage,
    MockRegistry,
    RateLimited,
    Reply,
    ServerError,
    Stall,
    Status,
)
from tests.integration.mirror.conftest import StartMirror, cache_of
from tests.mirrors import UPSTREAM, RunningMirror, metric
from tests.waiting import wait_until

NAME: Final = "library/tool"
MANIFESTS: Final = f"/v2/{NAME}/manifests/*"
HOUR: Final = 3600.0


def pass_time(mirror: RunningMirror, seconds: float) -> None:
    """Make everything that the index remembers so much older."""
    path = cache_of(mirror).path / "index.db"
    with closing(sqlite3.connect(path, timeout=5)) as index, index:
        index.execute("UPDATE tag SET checked_at = checked_at - ?", (seconds,))
        index.execute("UPDATE absent SET until = until - ?", (seconds,))


def get(mirror: RunningMirror, tag: str = "1") -> bytes:
    """Return a tag's manifest, which must be confirmed."""
    response = mirror.manifest(NAME, tag)
    assert response.status == 200, str(response)
    assert not response.all("Warning"), str(response)
    return response.body


def moved(registry: MockRegistry, tag: str = "1") -> MockImage:
    """Point the tag at something new upstream."""
    return registry.add_image(NAME, tag, seed=f"moved {time.monotonic_ns()}")


# ── freshness ────────────────────────────────────────────────────────────────────────────────────


def test_always_asks_by_head_and_notices_a_move(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """CA-02; a confirmation is a HEAD, for a GET counts against Docker Hub's limit."""
    first = registry.add_image(NAME, "1")
    mirror = start_mirror(registry, cache={"freshness": '"always"'})
    assert get(mirror) == first.manifest
    assert get(mirror) == first.manifest
    assert registry.count("GET", MANIFESTS) == 1
    assert registry.count("HEAD", MANIFESTS) == 1
    second = moved(registry)
    assert get(mirror) == second.manifest
    assert registry.count("GET", MANIFESTS) == 2
    (event,) = cache_of(mirror).events("tag.moved")
    assert f"from {first.digest} to {second.digest}" in event
    registry.stop()
    old = mirror.manifest(NAME, str(first.digest))
    assert (old.status, old.body) == (200, first.manifest), "what is cached by digest stays"


def test_ttl_asks_when_the_time_has_come(start_mirror: StartMirror, registry: MockRegistry) -> None:
    first = registry.add_image(NAME, "1")
    mirror = start_mirror(registry, cache={"freshness": '"ttl"', "tag_ttl": '"1h"'})
    assert get(mirror) == first.manifest
    second = moved(registry)
    pass_time(mirror, HOUR - 60)
    young = mirror.manifest(NAME, "1")
    assert young.body == first.manifest
    assert int(young.header("Age") or "") in range(int(HOUR) - 60, int(HOUR))
    assert registry.count("HEAD", MANIFESTS) == 0
    pass_time(mirror, 60)
    assert get(mirror) == second.manifest
    assert registry.count("HEAD", MANIFESTS) == 1


def test_never_asks_again(start_mirror: StartMirror, registry: MockRegistry) -> None:
    first = registry.add_image(NAME, "1")
    mirror = start_mirror(registry, cache={"freshness": '"never"'})
    assert get(mirror) == first.manifest
    moved(registry)
    pass_time(mirror, 1000 * HOUR)
    assert get(mirror) == first.manifest
    assert registry.count("*", MANIFESTS) == 1


def test_a_clock_that_went_back_freezes_no_tag(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """CA-02: what was confirmed in the future is confirmed anew."""
    registry.add_image(NAME, "1")
    mirror = start_mirror(registry)
    get(mirror)
    pass_time(mirror, -HOUR)
    second = moved(registry)
    assert get(mirror) == second.manifest


def test_off_caches_blobs_but_no_manifest(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """As the redirecting caches of old did: manifests are passed on each time (PX-02)."""
    image = registry.add_image(NAME, "1")
    mirror = start_mirror(registry, cache={"freshness": '"off"'})
    for _ in range(2):
        mirror.pull(NAME, "1")
    head = mirror.manifest(NAME, "1", method="HEAD")
    assert head.header("Docker-Content-Digest") == str(image.digest)
    assert registry.count("GET", MANIFESTS) == 2
    assert registry.count("GET", "*/blobs/*") == len(image.blobs)
    assert cache_of(mirror).holds(*(blob.digest for blob in image.blobs))
    assert str(image.digest) not in cache_of(mirror).states()
    by_digest = mirror.manifest(NAME, str(image.digest))
    assert by_digest.body == image.manifest
    registry.fault(ServerError(), path=MANIFESTS, times=None)
    assert mirror.manifest(NAME, "1").status == 503
    assert mirror.blob(NAME, image.layers[0].digest).status == 200


def test_each_upstream_may_have_its_own_freshness(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    registry.add_image(NAME, "1")
    mirror = start_mirror(
        registry, cache={"freshness": '"always"'}, upstream={"freshness": '"never"'}
    )
    for _ in range(2):
        get(mirror)
    assert registry.count("*", MANIFESTS) == 1


# ── stale ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "fault",
    [
        ServerError(503),
        RateLimited(),
        Status(401),
        Status(403),
        DropConnection(),
    ],
    ids=["503", "429", "401", "403", "dropped"],
)
def test_a_tag_that_cannot_be_confirmed_is_stale(
    start_mirror: StartMirror, registry: MockRegistry, fault: object
) -> None:
    image = registry.add_image(NAME, "1")
    mirror = start_mirror(registry)
    mirror.pull(NAME, "1")
    pass_time(mirror, HOUR)
    registry.fault(fault, path="*", times=None)  # type: ignore[arg-type]
    for method in ("GET", "HEAD"):
        response = mirror.manifest(NAME, "1", method=method)
        assert response.status == 200
        assert response.header("Docker-Content-Digest") == str(image.digest)
        (warning,) = response.all("Warning")
        assert warning.startswith('299 - "this tag may have moved: ')
        assert int(response.header("Age") or "") in range(int(HOUR), int(HOUR) + 60)
    labels = {"upstream": UPSTREAM, "type": "manifest", "outcome": "stale"}
    wait_until(lambda: metric(mirror, "entrepot_mirror_answers_total", labels) == 2.0)


def test_with_the_upstream_gone_the_whole_image_is_there(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """HA-05: what was pulled once can be pulled on, through a restart, too."""
    index = registry.add_index(NAME, "1")
    mirror = start_mirror(registry)
    mirror.pull(NAME, "1")
    registry.stop()
    assert mirror.pull(NAME, "1").all("Warning")
    mirror.stop()
    mirror.start()
    assert mirror.pull(NAME, "1").body == index.manifest


def test_what_has_moved_but_cannot_be_had_leaves_the_old_one(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """At its limit Docker Hub answers HEAD, but no GET."""
    first = registry.add_image(NAME, "1")
    mirror = start_mirror(registry)
    mirror.pull(NAME, "1")
    second = moved(registry)
    limit = registry.fault(RateLimited(), method="GET", path=MANIFESTS, times=None)
    for method in ("GET", "HEAD"):
        response = mirror.manifest(NAME, "1", method=method)
        assert response.header("Docker-Content-Digest") == str(first.digest)
        assert response.all("Warning")
    limit.remove()
    head = mirror.manifest(NAME, "1", method="HEAD")
    assert head.header("Docker-Content-Digest") == str(second.digest)
    registry.stop()
    told = mirror.manifest(NAME, str(second.digest))
    assert told.body == second.manifest, "what a client was told of can be had"


def test_a_lagging_upstream_is_not_taken_for_an_empty_one(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """It names what it does not have yet."""
    first = registry.add_image(NAME, "1")
    mirror = start_mirror(registry)
    get(mirror)
    second = moved(registry)
    registry.fault(Status(404), method="GET", digest=second.digest)
    response = mirror.manifest(NAME, "1")
    assert (response.status, response.body) == (200, first.manifest)
    assert response.all("Warning")
    assert get(mirror) == second.manifest


@pytest.mark.slow
def test_a_stalled_upstream_delays_by_the_deadline_only(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """The first client waits that long, the next ones hardly; the late answer is still used."""
    registry.add_image(NAME, "1")
    registry.add_image(NAME, "2")
    mirror = start_mirror(registry, cache={"revalidation_deadline": '"1s"'})
    get(mirror, "1")
    get(mirror, "2")
    second = moved(registry)
    stall = registry.fault(Stall(at="head"), method="HEAD", times=None)
    for tag, least, most in (("1", 0.9, 2.0), ("1", 0.0, 0.5), ("2", 0.0, 0.7)):
        began = time.monotonic()
        response = mirror.manifest(NAME, tag)
        took = time.monotonic() - began
        assert response.status == 200
        assert response.all("Warning")
        assert least <= took < most, (tag, took)
    assert registry.count("HEAD", f"/v2/{NAME}/manifests/1") == 1
    stall.remove()
    stall.release()
    wait_until(lambda: str(second.digest) in cache_of(mirror).stored())
    wait_until(lambda: mirror.manifest(NAME, "1").body == second.manifest)
    assert get(mirror) == second.manifest


@pytest.mark.slow
def test_an_index_that_another_program_has_locked_refuses_nobody(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """HA-05: what cannot be noted now is noted the next time."""
    image = registry.add_image(NAME, "1")
    registry.add_image(NAME, "2", seed="two")
    mirror = start_mirror(registry)
    get(mirror, "2")
    moved(registry, "2")
    path = cache_of(mirror).path / "index.db"
    with closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as index:
        index.execute("BEGIN IMMEDIATE")
        assert mirror.manifest(NAME, "1").body == image.manifest
        assert mirror.manifest(NAME, "2").status == 200, "if need be, as it was"
        assert mirror.manifest(NAME, "3").status == 404
        assert mirror.manifest(NAME, str(image.digest), method="HEAD").status == 200
        index.execute("ROLLBACK")
    assert get(mirror) == image.manifest
    assert str(image.digest) in cache_of(mirror).stored()


# ── absent ───────────────────────────────────────────────────────────────────────────────────────


def test_a_tag_that_is_gone_is_told_to_be_gone(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """CA-02: an answer is no failure. What is known by digest stays, and the tag may return."""
    image = registry.add_image(NAME, "1")
    mirror = start_mirror(registry)
    mirror.pull(NAME, "1")
    del registry.store.repository(NAME).tags["1"]
    response = mirror.manifest(NAME, "1")
    assert (response.status, response.json()["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")
    by_digest = mirror.manifest(NAME, str(image.digest))
    assert (by_digest.status, by_digest.body) == (200, image.manifest)
    registry.store.tag(NAME, "1", image.digest)
    pass_time(mirror, HOUR)
    assert get(mirror) == image.manifest


def test_what_is_absent_is_asked_for_once(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """CA-06, the negative cache: for tags, digests and blobs, of one repository only."""
    image = registry.add_image("library/other", "1")
    registry.add_image(NAME, "2")
    mirror = start_mirror(registry, cache={"negative_ttl": '"1h"'})
    layer = image.layers[0].digest
    asked = (
        ("manifests", "1", "MANIFEST_UNKNOWN"),
        ("manifests", str(image.digest), "MANIFEST_UNKNOWN"),
        ("blobs", str(layer), "BLOB_UNKNOWN"),
    )
    for _ in range(3):
        for kind, reference, code in asked:
            ask = mirror.manifest if kind == "manifests" else mirror.blob
            response = ask(NAME, reference)
            assert response.status == 404
            assert response.json()["errors"][0]["code"] == code
    for kind, reference, _ in asked:
        assert registry.count("GET", f"/v2/{NAME}/{kind}/{reference}") == 1, reference
    assert get(mirror, "2")
    assert mirror.blob("library/other", layer).status == 200
    registry.add_image(NAME, "1", seed="library/other:1 linux/amd64")
    assert mirror.manifest(NAME, "1").status == 404, "it was told not to be there"
    pass_time(mirror, HOUR)
    assert get(mirror) == image.manifest
    assert mirror.manifest(NAME, str(image.digest)).status == 200


def test_who_asks_for_a_manifest_by_a_layers_digest_hides_the_layer_from_nobody(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """CA-06: what is no manifest may well be a blob, and the other way round."""
    image = registry.add_image(NAME, "1")
    mirror = start_mirror(registry, cache={"negative_ttl": '"1h"'})
    layer = image.layers[0].digest
    assert mirror.manifest(NAME, str(layer)).status == 404
    assert mirror.blob(NAME, image.digest).status == 404
    assert mirror.blob(NAME, layer).status == 200
    assert mirror.manifest(NAME, str(image.digest)).status == 200


def test_without_a_negative_ttl_each_question_goes_upstream(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    mirror = start_mirror(registry, cache={"negative_ttl": '"0s"'})
    for _ in range(2):
        assert mirror.manifest(NAME, "1").status == 404
    assert registry.count("GET", MANIFESTS) == 2


# ── endpoints that disagree ──────────────────────────────────────────────────────────────────────


def diverged(mirror: RunningMirror) -> int:
    return len(cache_of(mirror).events("tag.diverged"))


@pytest.mark.parametrize("rule", ["order", "newest", "pin"])
def test_endpoints_that_disagree(
    start_mirror: StartMirror, registry: MockRegistry, second: MockRegistry, rule: str
) -> None:
    """CA-02: which counts is a rule, and each divergence is told once: in the index, in the
    metrics and in the log."""
    old = registry.add_image(NAME, "1", seed="old")
    second.add_image(NAME, "1", seed="old")
    mirror = start_mirror(registry, second, cache={"conflict": f'"{rule}"'})
    assert get(mirror) == old.manifest
    assert diverged(mirror) == 0
    new = second.add_image(NAME, "1", seed="new")
    registry.add_image(NAME, None, seed="new")
    expected = {"order": old, "newest": new, "pin": old}[rule]
    for _ in range(3):
        assert get(mirror) == expected.manifest
    newer = registry.add_image(NAME, "1", seed="newer")
    expected = {"order": newer, "newest": newer, "pin": old}[rule]
    for _ in range(3):
        assert get(mirror) == expected.manifest
    seen = {"order": 1, "newest": 2, "pin": 2}[rule]
    wait_until(lambda: diverged(mirror) == seen)
    last = cache_of(mirror).events("tag.diverged")[-1]
    assert f"{registry.url} says {newer.digest}" in last
    assert f"{second.url} says {new.digest}" in last
    assert f"{expected.digest} is served" in last
    labels = {"kind": "tag.diverged", "upstream": UPSTREAM}
    wait_until(lambda: metric(mirror, "entrepot_mirror_events_total", labels) == float(seen))
    assert mirror.log().count('"tag.diverged"') == seen


def test_one_of_two_endpoints_may_be_gone(
    start_mirror: StartMirror, registry: MockRegistry, second: MockRegistry
) -> None:
    for one in (registry, second):
        image = one.add_image(NAME, "1", seed="same")
    mirror = start_mirror(registry, second, cache={"conflict": '"newest"'})
    get(mirror)
    registry.stop()
    assert get(mirror) == image.manifest
    assert diverged(mirror) == 0


# ── limits of upstreams ──────────────────────────────────────────────────────────────────────────


def tell_limit(registry: MockRegistry, remaining: int, window: int) -> None:
    """Tell a budget as Docker Hub does."""
    registry.fault(
        Headers(
            {
                "ratelimit-limit": f"100;w={window}",
                "ratelimit-remaining": f"{remaining};w={window}",
                "docker-ratelimit-source": "192.0.2.7",
            }
        ),
        path=MANIFESTS,
        times=None,
    )


def test_a_budget_is_told_in_metrics_and_spared(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """Below the floor cached tags are served unasked; what is not cached is asked for."""
    first = registry.add_image(NAME, "1")
    registry.add_image(NAME, "2")
    tell_limit(registry, 9, 21600)
    mirror = start_mirror(registry, cache={"rate_limit_floor": "10"})
    get(mirror)
    moved(registry)
    response = mirror.manifest(NAME, "1")
    assert (response.body, response.header("Age")) == (first.manifest, "0")
    assert registry.count("HEAD", MANIFESTS) == 0
    get(mirror, "2")
    labels = {"upstream": UPSTREAM}
    wait_until(
        lambda: metric(mirror, "entrepot_upstream_rate_limit_remaining", labels) == 9.0,
    )
    assert metric(mirror, "entrepot_upstream_rate_limit", labels) == 100.0


def test_above_the_floor_tags_are_confirmed(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    registry.add_image(NAME, "1")
    tell_limit(registry, 10, 21600)
    mirror = start_mirror(registry, cache={"rate_limit_floor": "10"})
    get(mirror)
    get(mirror)
    assert registry.count("HEAD", MANIFESTS) == 1


@pytest.mark.slow
def test_a_budget_grows_back(start_mirror: StartMirror, registry: MockRegistry) -> None:
    """Else who once saw it low would never ask again. 100 in 100 s: one more each second."""
    registry.add_image(NAME, "1")
    tell_limit(registry, 8, 100)
    mirror = start_mirror(registry, cache={"rate_limit_floor": "10"})
    get(mirror)
    began = time.monotonic()
    second = moved(registry)
    wait_until(lambda: get(mirror) == second.manifest)
    assert 1.5 < time.monotonic() - began < 6.0


# ── HEAD ─────────────────────────────────────────────────────────────────────────────────────────


def test_head_of_what_is_not_cached_is_true_and_downloads_nothing(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """PX-04; containerd and chained caches need digest, type and length."""
    image = registry.add_image(NAME, "1")
    mirror = start_mirror(registry, cache={"negative_ttl": '"0s"'})
    for reference in ("1", str(image.digest)):
        head = mirror.manifest(NAME, reference, method="HEAD")
        assert head.status == 200
        assert head.header("Docker-Content-Digest") == str(image.digest)
        assert head.header("Content-Type") == image.descriptor.media_type
        assert head.header("Content-Length") == str(image.descriptor.size)
    layer = image.layers[0]
    blob = mirror.blob(NAME, layer.digest, method="HEAD")
    assert (blob.status, blob.header("Content-Length")) == (200, str(layer.size))
    assert blob.header("Docker-Content-Digest") == str(layer.digest)
    assert registry.count("GET", f"/v2/{NAME}/*") == 0
    assert cache_of(mirror).stored() == set()
    absent = f"sha256:{'0' * 64}"
    assert mirror.manifest(NAME, "2", method="HEAD").status == 404
    assert mirror.manifest(NAME, absent, method="HEAD").status == 404
    assert mirror.blob(NAME, absent, method="HEAD").status == 404
    mirror.pull(NAME, "1")


def test_head_of_a_cached_blob_tells_the_size_that_was_counted(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """PX-04: not what an upstream has told of it."""
    for name in (NAME, "library/other"):
        layer = registry.add_image(name, "1", seed="same").layers[0]
    mirror = start_mirror(registry)
    mirror.pull("library/other", "1")

    async def wrong(exchange: Exchange) -> Reply:
        return Reply.of(200, b"short", {"Content-Type": "application/octet-stream"})

    registry.fault(wrong, method="HEAD", path=f"/v2/{NAME}/blobs/*", times=None)
    for method in ("HEAD", "GET", "HEAD"):
        response = mirror.blob(NAME, layer.digest, method=method)
        assert response.header("Content-Length") == str(layer.size)


def test_head_of_a_blob_is_true_where_the_upstream_refuses_it(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """ECR Public answers HEAD of a blob with 401."""
    layer = registry.add_image(NAME, "1").layers[0]

    async def refused(exchange: Exchange) -> Reply:
        return Reply.of_error(401, "UNAUTHORIZED")

    registry.fault(refused, method="HEAD", path="*/blobs/*", times=None)
    mirror = start_mirror(registry)
    head = mirror.blob(NAME, layer.digest, method="HEAD")
    assert (head.status, head.header("Content-Length")) == (200, str(layer.size))
    assert registry.bytes_sent < layer.size
