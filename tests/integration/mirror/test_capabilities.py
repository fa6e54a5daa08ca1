"""What the table of capabilities promises of a mirror, through a running server: which endpoint is
asked, what an operator decides, and what is seen of it from outside
(rows PX-03, PX-05, PX-08, BE-07, BE-09, CA-08)."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from entrepot.testing import (
    Delay,
    DropConnection,
    MockRegistry,
    RedirectTo,
    Stall,
)
from tests.integration.mirror.conftest import StartMirror, cache_of
from tests.integration.mirror.pulling import assert_pulls
from tests.mirrors import MANIFESTS, UPSTREAM, RunningMirror, metric
from tests.waiting import wait_until

NAME: Final = "library/tool"
QUIET: Final = {"probe_interval": '"0s"'}


# ── several endpoints ────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_the_slower_endpoint_gets_hardly_a_request(
    start_mirror: StartMirror, registry: MockRegistry, second: MockRegistry
) -> None:
    """BE-07: over sockets, less than a tenth of a thousand requests."""
    for one in (registry, second):
        one.add_image(NAME, "1", seed="same")
    registry.fault(Delay(0.02), times=None)
    settings = {"selection": '"latency"'}
    mirror = start_mirror(registry, second, upstream=settings, cache={"freshness": '"off"'})
    for _ in range(1000):
        assert mirror.manifest(NAME, "1", method="HEAD").status == 200
    slow, fast = (one.count("HEAD", "*/manifests/*") for one in (registry, second))
    assert slow + fast == 1000
    assert slow < 100


def test_an_endpoint_that_is_away_is_found_by_probes_and_back_again(
    start_mirror: StartMirror, registry: MockRegistry, second: MockRegistry
) -> None:
    """BE-09: before the third probe, seen in the metrics and in the log; nobody has pulled."""
    for one in (registry, second):
        one.add_image(NAME, "1", seed="same")
    mirror = start_mirror(registry, second, upstream={"probe_interval": '"200ms"'})
    breaker = "entrepot_upstream_breaker_state"
    labels = {"upstream": UPSTREAM, "endpoint": registry.url}
    registry.wait_for(1, "GET", "/v2/")
    away = registry.fault(DropConnection(), times=None)
    wait_until(lambda: metric(mirror, breaker, labels) == 2.0)
    registry.clear_requests()
    assert mirror.manifest(NAME, "1").status == 200
    assert registry.count("*", "*/manifests/*") == 0, "who is left out is not asked"
    away.remove()
    wait_until(lambda: metric(mirror, breaker, labels) == 0.0)
    told = [one for one in events(mirror) if one.get("endpoint") == registry.url]
    states = [one["state"] for one in told if one["event"] == "breaker"]
    assert [states[0], states[-1]] == ["open", "closed"]
    levels = {one["state"]: one["level"] for one in told if one["event"] == "breaker"}
    assert (levels["open"], levels["closed"]) == ("warning", "info")
    opened = next(number for number, one in enumerate(told) if one["event"] == "breaker")
    with mirror.client() as client:
        health = client.get("/_/upstreams").json()[UPSTREAM]
    assert health["healthy"]
    assert [one["state"] for one in health["endpoints"]] == ["closed", "closed"]
    history = [one for one in health["history"] if one["endpoint"] == registry.url]
    assert [one["state"] for one in history] == states
    assert all(one["reason"] for one in history)
    failed = [one for one in told[:opened] if one["outcome"] != "ok"]
    assert [one["operation"] for one in failed] in (["ping"], ["ping", "ping"])


def events(mirror: RunningMirror) -> list[dict[str, Any]]:
    """Return what the log says."""
    return [json.loads(line) for line in mirror.log().splitlines() if line.startswith("{")]


# ── what an operator decides ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("followed", [True, False], ids=["followed", "relayed"])
def test_a_redirect_is_followed_or_relayed(
    start_mirror: StartMirror, registry: MockRegistry, followed: bool
) -> None:
    """PX-05: `follow_redirects` of an upstream."""
    image = registry.add_image(NAME, "1")
    storage = registry.other_origin()
    registry.fault(RedirectTo(storage), path="*/blobs/*", times=None)
    mirror = start_mirror(registry, upstream={"follow_redirects": str(followed).lower()})
    assert mirror.manifest(NAME, "1").body == image.manifest
    layer = image.layers[0]
    answer = mirror.blob(NAME, layer.digest)
    if followed:
        assert (answer.status, answer.body) == (200, registry.blob(layer.digest))
        assert str(layer.digest) in cache_of(mirror).states()
    else:
        location = answer.header("Location") or ""
        assert (answer.status, location.startswith(storage.url)) == (307, True)
        assert storage.count("GET") == 0
        assert str(layer.digest) not in cache_of(mirror).states()


def test_allowed_denied_and_under_a_name_of_this_server(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """PX-03: nothing is asked upstream for what a rule forbids; by `Host`, too."""
    image = registry.add_image("acme/app", "1")
    for name in ("acme/secret", "other/app"):
        registry.add_image(name, "1")
    rules = {"allow": '["acme/*"]', "deny": '["acme/secret"]', "hosts": '["images.test"]'}
    mirror = start_mirror(registry, upstream=rules)
    assert_pulls(mirror, image, registry, "acme/app")
    registry_asked = len(registry.requests)

    def ask(path: str, host: str) -> bytes:
        fields = f"Host: {host}\r\nAccept: {MANIFESTS}\r\nConnection: close\r\n\r\n"
        with mirror.client() as client:
            return client.raw(f"GET {path}/manifests/1 HTTP/1.1\r\n{fields}".encode())

    assert ask("/v2/acme/app", "images.test").endswith(image.manifest)
    assert ask("/v2/acme/app", "images.test:443").endswith(image.manifest)
    assert len(registry.requests) == registry_asked + 2, "the tag is confirmed"
    for path, host in (
        (f"/v2/{UPSTREAM}/acme/secret", mirror.host),
        (f"/{UPSTREAM}/v2/other/app", mirror.host),
        ("/v2/acme/secret", "images.test"),
        ("/v2/other/app", "images.test"),
    ):
        answer = ask(path, host)
        assert answer.startswith(b"HTTP/1.1 403 "), answer
        assert b'"DENIED"' in answer
        assert b"may not be pulled" in answer
    assert len(registry.requests) == registry_asked + 2


# ── what is seen and found out without a client ──────────────────────────────────────────────────


def test_a_scrub_finds_what_nobody_has_asked_for(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """CA-08: by the server itself, at its interval; the next read fetches it again."""
    image = registry.add_image(NAME, "1", layers=2)
    mirror = start_mirror(registry, cache={"scrub_interval": '"1s"'})
    mirror.pull(NAME, "1")
    cache = cache_of(mirror)
    wrong, right = (layer.digest for layer in image.layers)
    assert cache.holds(wrong, right)
    mirror.stop()
    change_inside(cache.file(wrong))
    registry.clear_requests()
    time.sleep(1.1)  # so old has its last verification to be
    mirror.start()
    (event,) = wait_until(lambda: cache.events("content.corrupt"))
    assert str(wrong) in event
    assert str(wrong) not in cache.stored()
    assert str(right) in cache.stored()
    assert registry.count("GET", "*/blobs/*") == 0
    assert mirror.blob(NAME, wrong).body == registry.blob(wrong)


def change_inside(path: Path) -> None:
    """Change a byte as a bad disk would: neither size nor times tell of it."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_the_metrics_count_is_what_was_done(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """PX-08: distribution's names, by type; bytes are those of the content."""
    image = registry.add_image(NAME, "1", layers=1, layer_size=100_000)
    mirror = start_mirror(registry)
    for _ in range(2):
        mirror.pull(NAME, "1")
    size = sum(blob.size for blob in image.blobs)
    expected = {
        ("registry_proxy_requests_total", "blob"): 4.0,
        ("registry_proxy_misses_total", "blob"): 2.0,
        ("registry_proxy_hits_total", "blob"): 2.0,
        ("registry_proxy_pulled_bytes_total", "blob"): float(size),
        ("registry_proxy_pushed_bytes_total", "blob"): 2.0 * size,
        ("registry_proxy_requests_total", "manifest"): 2.0,
        ("registry_proxy_pulled_bytes_total", "manifest"): float(len(image.manifest)),
        ("registry_proxy_pushed_bytes_total", "manifest"): 2.0 * len(image.manifest),
    }

    def counted() -> dict[tuple[str, str], float | None]:
        return {(name, kind): metric(mirror, name, {"type": kind}) for name, kind in expected}

    wait_until(lambda: counted() == expected)
    labels = {"upstream": UPSTREAM, "operation": "blob"}
    asked = labels | {"endpoint": registry.url, "outcome": "ok"}
    assert metric(mirror, "entrepot_upstream_requests_total", asked) == 2.0
    seconds = "entrepot_upstream_request_duration_seconds"
    assert metric(mirror, f"{seconds}_count", labels) == 2.0
    assert 0.0 < (metric(mirror, f"{seconds}_sum", labels) or 0.0) < 60.0
    layer = registry.add_blob(NAME, 300_000)
    stall = registry.fault(Stall(100_000), path="*/blobs/*")
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(mirror.blob, NAME, layer.digest) for _ in range(3)]
        answers = {"upstream": UPSTREAM, "type": "blob", "outcome": "coalesced"}
        wait_until(lambda: metric(mirror, "entrepot_mirror_answers_total", answers) == 2.0)
        stall.release()
        assert {one.result().status for one in waiting} == {200}


def test_a_registry_named_to_a_server_without_any_is_told_how_to_be_added(
    start_mirror: StartMirror,
) -> None:
    """PX-03: the first thing a new user may meet."""
    mirror = start_mirror()
    refused = mirror.manifest("library/busybox", "latest", upstream="docker.io")
    assert refused.status == 404
    assert "entrepot upstream add docker.io" in refused.json()["errors"][0]["message"]
    hosted = mirror.manifest("busybox", "latest", upstream="team")
    assert "upstream add" not in hosted.json()["errors"][0]["message"]
