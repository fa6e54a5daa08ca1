"""Everything that an upstream can do wrong, and what becomes of it: for a client who asks first,
for one whose image is cached, and for the cache.

A client gets the right bytes, an error that says what is wrong, or an answer that visibly breaks
off. What is stored is right, and what was refused is not stored (PX-05, CA-04, HA-04).
"""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import pytest

from entrepot.testing import (
    BadJson,
    Challenge,
    Delay,
    DropConnection,
    Endless,
    Exchange,
    HtmlError,
    Instead,
    MockImage,
    MockRegistry,
    NoDigestHeader,
    NoLength,
    NoRange,
    RateLimited,
    RedirectLoop,
    RedirectTo,
    Reply,
    Reset,
    ServerError,
    Slow,
    Stall,
    Status,
    TokenServer,
    Truncate,
    WrongContentType,
    WrongDigest,
    WrongDigestHeader,
    WrongLength,
    WrongRange,
)
from tests.http_client import Response
from tests.integration.mirror.conftest import SharedMirror
from tests.waiting import wait_until

METADATA: Final = "http://169.254.169.254/latest/meta-data{path}"
"""Where clouds tell a machine its secrets."""

pytestmark = pytest.mark.slow

LAYER: Final = 200_000

_numbers = count(1)


async def gzipped(exchange: Exchange) -> Reply:
    """Compress on the way, as some proxies do, also for who asked them not to."""
    reply = await exchange.proceed()
    if reply.status >= 300 or reply.body is None:
        return reply
    content = b"".join([chunk async for chunk in reply.body()])
    packed = gzip.compress(content)
    return Reply.of(reply.status, packed, reply.headers).but("Content-Encoding", "gzip")


@dataclass(frozen=True, slots=True)
class Row:
    """A fault that lasts. `cold` are the statuses a client may get who asks for what is not cached
    (200 is the right content, 0 an answer that breaks off); `stale` says whether a cached tag can
    then be confirmed no more."""

    id: str
    fault: Callable[[], Any]
    cold: frozenset[int]
    stale: bool = True


def row(name: str, fault: Callable[[], Any], *cold: int, stale: bool = True) -> Row:
    return Row(name, fault, frozenset(cold), stale)


MANIFESTS: Final = (
    row("server-error-500", lambda: ServerError(500), 503),
    row("server-error-503", lambda: ServerError(503), 503),
    row("html-502", HtmlError, 503),
    row("html-200", lambda: HtmlError(200), 502),
    row("bad-json", BadJson, 502, stale=False),
    row("other-bytes", lambda: Instead(b'{"schemaVersion": 2}'), 502, stale=False),
    row("wrong-digest", WrongDigest, 502, stale=False),
    row("wrong-digest-header", WrongDigestHeader, 502),
    row("no-digest-header", NoDigestHeader, 200, stale=False),
    row("wrong-content-type", WrongContentType, 200, stale=False),
    row("no-content-type", lambda: WrongContentType(None), 200, stale=False),
    row("too-long", lambda: WrongLength(5), 502, stale=False),
    row("too-short", lambda: WrongLength(-5), 502, stale=False),
    row("no-length", NoLength, 200, stale=False),
    row("endless", Endless, 502),
    row("truncated", lambda: Truncate(100), 502, stale=False),
    row("reset", lambda: Reset(100), 502, stale=False),
    row("reset-at-once", Reset, 502, stale=False),
    row("dropped", DropConnection, 502),
    row("dropped-by-reset", lambda: DropConnection(reset=True), 502),
    row("stands-still", lambda: Stall(at="head"), 502),
    row("stands-still-in-body", lambda: Stall(100), 502, stale=False),
    row("slow", lambda: Slow(4000), 200, stale=False),
    row("late", lambda: Delay(0.2), 200, stale=False),
    row("too-many-requests", RateLimited, 429),
    row("too-many-requests-until", lambda: RateLimited(30), 429),
    row("unauthorized", Challenge, 403),
    row("unauthorized-basic", lambda: Challenge('Basic realm="x"'), 403),
    row("unauthorized-nonsense", lambda: Challenge("%%% ,,,="), 403),
    row("denied", lambda: Status(403), 403),
    row("redirect-loop", RedirectLoop, 503),
    row("redirect-to-metadata", lambda: RedirectTo(METADATA), 403),
    row("redirect-to-file", lambda: RedirectTo("file:///etc/passwd"), 403),
    row("gzip", lambda: gzipped, 502, 200, stale=False),
)


BLOBS: Final = (
    row("server-error-500", lambda: ServerError(500), 503),
    row("html-502", HtmlError, 503),
    row("html-200", lambda: HtmlError(200), 502, 503),
    row("other-bytes", lambda: Instead(b"x" * LAYER), 502, 0),
    row("wrong-first-byte", WrongDigest, 0),
    row("wrong-last-byte", lambda: WrongDigest(1 << 30), 0),
    row("wrong-digest-header", WrongDigestHeader, 200),
    row("no-digest-header", NoDigestHeader, 200),
    row("too-long", lambda: WrongLength(5), 502, 0),
    row("too-short", lambda: WrongLength(-5), 502, 0),
    row("no-length", NoLength, 200),
    row("endless", Endless, 0),
    row("truncated", lambda: Truncate(50_000), 200),
    row("truncated-without-ranges", lambda: (NoRange(), Truncate(50_000)), 0),
    row("reset", lambda: Reset(50_000), 200),
    row("reset-at-once", Reset, 0, 502),
    row("dropped", DropConnection, 502),
    row("stands-still", lambda: Stall(at="head"), 502),
    row("stands-still-in-body", lambda: Stall(50_000), 200),
    row("slow", lambda: Slow(400_000), 200),
    row("late", lambda: Delay(0.2), 200),
    row("other-part", lambda: (WrongRange(7), Truncate(50_000)), 0),
    row("other-part-honestly", lambda: (WrongRange(7, honest=True), Truncate(50_000)), 0),
    row("too-many-requests", RateLimited, 429),
    row("too-many-requests-until", lambda: RateLimited(30), 429),
    row("unauthorized", Challenge, 403),
    row("denied", lambda: Status(403), 403),
    row("gone", lambda: Status(404), 404),
    row("redirect-loop", RedirectLoop, 503),
    row("redirect-to-metadata", lambda: RedirectTo(METADATA), 403),
    row("gzip", lambda: gzipped, 502, 0, 200),
)


TOKENS: Final = (
    row("server-error", lambda: ServerError(503), 502, 503),
    row("html-200", lambda: HtmlError(200), 502, 503),
    row("no-token", lambda: Instead(b"{}"), 502, 503),
    row("bad-json", BadJson, 502, 503),
    row("nonsense-token", lambda: Instead(b'{"token": "\\u0000\\n"}'), 403, 502, 503),
    row("other-token", lambda: Instead(b'{"token": "stranger"}'), 403),
    row("unauthorized", lambda: Status(401), 403),
    row("denied", lambda: Status(403), 403),
    row("too-many-requests", RateLimited, 429),
    row("too-many-requests-until", lambda: RateLimited(30), 429),
    row("dropped", DropConnection, 502, 503),
    row("stands-still", lambda: Stall(at="head"), 502, 503),
    row("truncated", lambda: Truncate(5), 502, 503),
    row("endless", Endless, 502, 503),
    row("redirect-to-metadata", lambda: RedirectTo(METADATA), 403, 502, 503),
    row("late", lambda: Delay(0.2), 200, stale=False),
)
"""What befalls the server of tokens."""


@pytest.fixture
def image(shared: SharedMirror) -> MockImage:
    """An image that no other test knows."""
    name = f"faults/image-{next(_numbers)}"
    return shared.registry.add_image(name, "1", layers=1, layer_size=LAYER)


def put_in_place(registry: MockRegistry, fault: Row, path: str) -> None:
    made = fault.fault()
    registry.fault(*(made if isinstance(made, tuple) else (made,)), path=path, times=None)


def assert_told(response: Response) -> None:
    """The error names who is at fault, in the form that clients read."""
    (error,) = response.json()["errors"]
    assert error["code"].isupper()
    assert len(error["message"]) > 20, error
    assert response.header("WWW-Authenticate") is None, "clients are not asked for our login"


# ── manifests ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fault", MANIFESTS, ids=lambda fault: fault.id)
def test_a_manifest_that_is_not_cached(shared: SharedMirror, image: MockImage, fault: Row) -> None:
    put_in_place(shared.registry, fault, image.path)
    response = shared.manifest(image.repository, "1")
    assert response.status in fault.cold, str(response)
    if response.status == 200:
        assert response.body == image.manifest
        assert response.header("Docker-Content-Digest") == str(image.digest)
    else:
        assert_told(response)
        assert str(image.digest) not in shared.cache.states()
        assert shared.cache.linked(f"{shared.upstream}/{image.repository}") == set()
    shared.registry.heal()
    shared.cache.check()


@pytest.mark.parametrize("fault", MANIFESTS, ids=lambda fault: fault.id)
def test_a_manifest_that_is_cached(shared: SharedMirror, image: MockImage, fault: Row) -> None:
    shared.pull(image.repository, "1")
    put_in_place(shared.registry, fault, f"/v2/{image.repository}/*")
    response = shared.manifest(image.repository, "1")
    assert (response.status, response.body) == (200, image.manifest)
    warnings = response.all("Warning")
    assert bool(warnings) is fault.stale, str(response)
    if fault.stale:
        assert warnings[0].startswith("299 "), warnings
        assert int(response.header("Age") or "") >= 0
    by_digest = shared.manifest(image.repository, image.digest)
    assert (by_digest.status, by_digest.body) == (200, image.manifest)
    assert not by_digest.all("Warning")
    head = shared.manifest(image.repository, "1", method="HEAD")
    assert (head.status, head.header("Docker-Content-Digest")) == (200, str(image.digest))
    layer = shared.blob(image.repository, image.layers[0].digest)
    assert layer is not None
    assert layer.body == shared.registry.blob(image.layers[0].digest)


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fault", TOKENS, ids=lambda fault: fault.id)
def test_no_token_for_what_is_not_cached(
    guarded: SharedMirror, tokens: TokenServer, fault: Row
) -> None:
    name = f"faults/guarded-{next(_numbers)}"
    image = guarded.registry.add_image(name, "1")
    tokens.fault(fault.fault(), times=None)
    response = guarded.manifest(name, "1")
    assert response.status in fault.cold, str(response)
    if response.status != 200:
        assert_told(response)
    tokens.origin.heal()
    if not fault.id.endswith("-until"):
        wait_until(lambda: guarded.manifest(name, "1").body == image.manifest)
    assert not [one for one in guarded.registry.secrets if one in guarded.mirror.log()]


@pytest.mark.parametrize("fault", TOKENS, ids=lambda fault: fault.id)
def test_no_token_for_what_is_cached(
    guarded: SharedMirror, tokens: TokenServer, fault: Row
) -> None:
    name = f"faults/guarded-{next(_numbers)}"
    image = guarded.registry.add_image(name, "1")
    guarded.pull(name, "1")
    tokens.expire()
    tokens.fault(fault.fault(), times=None)
    response = guarded.manifest(name, "1")
    assert (response.status, response.body) == (200, image.manifest)
    assert bool(response.all("Warning")) is fault.stale, str(response)
    layer = guarded.blob(name, image.layers[0].digest)
    assert layer is not None
    assert layer.status == 200


def test_a_token_that_has_run_out_is_replaced(guarded: SharedMirror, tokens: TokenServer) -> None:
    name = f"faults/guarded-{next(_numbers)}"
    guarded.registry.add_image(name, "1")
    for _ in range(3):
        assert not guarded.pull(name, "1").all("Warning")
        tokens.expire()


# ── blobs ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("known", [True, False], ids=["size-known", "size-unknown"])
@pytest.mark.parametrize("fault", BLOBS, ids=lambda fault: fault.id)
def test_a_blob_that_is_not_cached(
    shared: SharedMirror, image: MockImage, fault: Row, known: bool
) -> None:
    layer = image.layers[0]
    if known:
        shared.manifest(image.repository, "1")
    put_in_place(shared.registry, fault, f"*/blobs/{layer.digest}")
    response = shared.blob(image.repository, layer.digest)
    status = response.status if response is not None else 0
    assert status in fault.cold, str(response)
    if response is not None and status == 200:
        assert response.body == shared.registry.blob(layer.digest)
        assert shared.cache.holds(layer.digest)
    else:
        if response is not None:
            assert_told(response)
        assert str(layer.digest) not in shared.cache.stored()
    shared.cache.check()


@pytest.mark.parametrize("fault", BLOBS, ids=lambda fault: fault.id)
def test_a_blob_that_went_wrong_is_right_once_the_upstream_is(
    shared: SharedMirror, image: MockImage, fault: Row
) -> None:
    layer = image.layers[0]
    put_in_place(shared.registry, fault, f"*/blobs/{layer.digest}")
    shared.blob(image.repository, layer.digest)
    shared.registry.heal()
    if fault.id.endswith("-until"):
        return  # it asked to be left alone
    response = shared.blob(image.repository, layer.digest)
    if response is None and fault.id == "other-part":
        # What was kept of the first try was wrong, which is seen only when all is there.
        response = shared.blob(image.repository, layer.digest)
    assert response is not None
    assert response.status == 200, str(response)
    assert response.body == shared.registry.blob(layer.digest)
    assert shared.cache.holds(layer.digest)
    shared.cache.check()


@pytest.mark.parametrize("fault", BLOBS, ids=lambda fault: fault.id)
def test_a_small_blob_says_what_is_wrong(
    shared: SharedMirror, image: MockImage, fault: Row
) -> None:
    """What cannot be read before it is verified is answered when that is done."""
    config = image.blobs[0]
    shared.manifest(image.repository, "1")
    put_in_place(shared.registry, fault, f"*/blobs/{config.digest}")
    response = shared.blob(image.repository, config.digest)
    assert response is not None
    assert response.status in fault.cold | {502, 503, 200}, str(response)
    if response.status == 200:
        assert response.body == shared.registry.blob(config.digest)
    else:
        assert_told(response)
        assert str(config.digest) not in shared.cache.stored()
