"""One upstream of several endpoints: who is asked, who is asked next, and when it is given up."""

import asyncio

import pytest

from entrepot.oci import errors
from entrepot.oci.errors import RegistryError
from entrepot.ports.remote_registry import RateLimit
from entrepot.rules.circuit_breaker import BreakerPolicy
from entrepot.rules.retries import RetryPolicy
from entrepot.services.upstreams import PooledEndpoint
from tests.unit.services.scripted_endpoints import BLOB, NAME, TAG, ArrivingBytes, Scene, manifest


@pytest.fixture
def scene() -> Scene:
    return Scene()


def away(retry_after: float | None = None) -> errors.Unavailable:
    detail = {} if retry_after is None else {"retry_after": retry_after}
    return errors.Unavailable("it answers 503", detail=detail)


CANNOT_NOW = (
    errors.Unavailable("503"),
    errors.ConnectionLost("broken off"),
    errors.HostUnknown("no such name"),
    errors.CertificateRefused("expired"),
    errors.TooManyRequests("slow down"),
    errors.Unauthorized("who are you"),
    errors.Denied("not you"),
    errors.Unsupported("never heard"),
    errors.DigestInvalid("other bytes"),
    errors.ManifestInvalid("no manifest"),
)
"""What sends a question on to the next endpoint."""


@pytest.mark.parametrize("error", CANNOT_NOW, ids=lambda error: type(error).__name__)
async def test_who_cannot_answer_is_followed_by_the_next(
    scene: Scene, error: RegistryError
) -> None:
    first, second = scene.endpoint("first", always=error), scene.endpoint("second")
    upstream = scene.upstream(first, second)
    assert await upstream.head(NAME, TAG) == manifest()
    assert (await upstream.manifest(NAME, TAG))[1] == b"{}"
    assert await upstream.blob_size(NAME, BLOB) == 8
    assert (await upstream.page(NAME, "tags/list", "")).content == b"{}"
    async with upstream.blob(NAME, BLOB) as arriving:
        assert arriving.url == second.url
    assert len(first.asked) == len(second.asked) == 5
    assert scene.time.slept == []


@pytest.mark.parametrize(
    "error",
    [errors.RangeInvalid("beyond the end", size=8), errors.NameInvalid("no name")],
    ids=lambda error: type(error).__name__,
)
async def test_a_wrong_question_is_asked_once(scene: Scene, error: RegistryError) -> None:
    first, second = scene.endpoint("first"), scene.endpoint("second")

    async def refuse(*_: object) -> int:
        raise error

    first.blob_size = refuse  # type: ignore[method-assign]
    with pytest.raises(type(error)):
        await scene.upstream(first, second).blob_size(NAME, BLOB)
    assert second.asked == []


async def test_what_a_mirror_lacks_the_origin_may_have(scene: Scene) -> None:
    mirror = scene.endpoint("mirror", always=errors.ManifestUnknown("not here"))
    origin = scene.endpoint("origin")
    assert await scene.upstream(mirror, origin).head(NAME, TAG) == manifest()
    assert origin.asked == ["head"]


async def test_what_none_has_is_unknown_without_asking_twice(scene: Scene) -> None:
    endpoints = [
        scene.endpoint(name, always=errors.ManifestUnknown(f"not at {name}")) for name in "ab"
    ]
    with pytest.raises(errors.ManifestUnknown):
        await scene.upstream(*endpoints).head(NAME, TAG)
    assert [one.asked for one in endpoints] == [["head"], ["head"]]
    assert scene.time.slept == []


@pytest.mark.parametrize("selection", ["round-robin", "least-connections", "latency", "cost"])
async def test_of_equal_endpoints_one_may_say_unknown(scene: Scene, selection: str) -> None:
    first, second = (
        scene.endpoint(name, always=errors.ManifestUnknown("not here")) for name in "ab"
    )
    with pytest.raises(errors.ManifestUnknown):
        await scene.upstream(first, second, selection=selection).head(NAME, TAG)
    assert len(first.asked) + len(second.asked) == 1


@pytest.mark.parametrize("failing", [0, 1], ids=["mirror", "origin"])
async def test_who_failed_may_have_it_so_unknown_does_not_count(scene: Scene, failing: int) -> None:
    endpoints = [scene.endpoint(name, always=errors.ManifestUnknown("not here")) for name in "ab"]
    endpoints[failing].always = errors.Denied("not you")
    with pytest.raises(errors.Denied):
        await scene.upstream(*endpoints).head(NAME, TAG)


async def test_a_dead_mirror_that_is_left_out_does_not_hide_that_the_origin_has_it_not(
    scene: Scene,
) -> None:
    mirror = scene.endpoint("mirror", always=away())
    origin = scene.endpoint("origin", always=errors.ManifestUnknown("not here"))
    upstream = scene.upstream(mirror, origin, breaker=BreakerPolicy(failures=1))
    with pytest.raises(errors.Unavailable):
        await upstream.head(NAME, TAG)
    with pytest.raises(errors.ManifestUnknown):
        await upstream.head(NAME, TAG)
    assert mirror.asked == ["head"]


async def test_a_mirror_does_not_speak_for_an_origin_that_is_left_out(scene: Scene) -> None:
    mirror = scene.endpoint("mirror", always=errors.ManifestUnknown("not here"))
    origin = scene.endpoint("origin", always=away())
    upstream = scene.upstream(mirror, origin, breaker=BreakerPolicy(failures=1))
    for _ in range(2):
        with pytest.raises(errors.Unavailable):
            await upstream.head(NAME, TAG)
    assert origin.asked == ["head"]


async def test_503_twice_then_200_with_the_pauses_of_the_policy(scene: Scene) -> None:
    """HA-04: back-off with jitter, which is 0.5 here."""
    only = scene.endpoint("only", away(), away())
    upstream = scene.upstream(only, retry=RetryPolicy(retries=2, first=0.5, most=4.0))
    assert await upstream.head(NAME, TAG) == manifest()
    assert scene.time.slept == [0.25, 0.5]
    assert [call[3] for call in scene.books.of("exchanged")] == ["UNAVAILABLE", "UNAVAILABLE", "ok"]


async def test_after_the_last_round_the_error_is_the_callers(scene: Scene) -> None:
    first, second = scene.endpoint("a", always=away()), scene.endpoint("b", always=away())
    upstream = scene.upstream(first, second, retry=RetryPolicy(retries=2))
    with pytest.raises(errors.Unavailable, match="503"):
        await upstream.head(NAME, TAG)
    assert len(first.asked) == len(second.asked) == 3


async def test_retry_after_is_obeyed_within_our_patience(scene: Scene) -> None:
    """HA-04: Retry-After."""
    busy = errors.TooManyRequests("slow down", detail={"retry_after": 2.0})
    only = scene.endpoint("only", busy)
    upstream = scene.upstream(only, retry=RetryPolicy(retries=2, first=0.5, patience=5.0))
    assert await upstream.head(NAME, TAG) == manifest()
    assert scene.time.slept == [2.25]  # with a little jitter


async def test_who_asks_for_more_rest_than_our_patience_is_left_alone_until_then(
    scene: Scene,
) -> None:
    busy = errors.TooManyRequests("slow down", detail={"retry_after": 600.0})
    only = scene.endpoint("only", busy)
    upstream = scene.upstream(only)
    for _ in range(3):
        with pytest.raises(errors.TooManyRequests):
            await upstream.head(NAME, TAG)
    assert only.asked == ["head"]
    assert not upstream.healthy
    scene.time.now += 601
    assert await upstream.head(NAME, TAG) == manifest()


async def test_why_an_endpoint_is_left_out_and_for_how_long_is_told(scene: Scene) -> None:
    upstream = scene.upstream(
        scene.endpoint("only", always=away()), breaker=BreakerPolicy(failures=1, ejection=30.0)
    )
    with pytest.raises(errors.Unavailable):
        await upstream.head(NAME, TAG)
    with pytest.raises(errors.Unavailable, match=r"only\.test is left out.*503") as caught:
        await upstream.head(NAME, TAG)
    assert 20 < float(str(caught.value.detail["retry_after"])) <= 30


@pytest.mark.parametrize(
    "error",
    [
        errors.Unauthorized("who are you"),
        errors.Denied("not you"),
        errors.ManifestUnknown("not here"),
        errors.TooManyRequests("slow down"),
        errors.Unsupported("never heard"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_refusal_is_no_illness(scene: Scene, error: RegistryError) -> None:
    upstream = scene.upstream(
        scene.endpoint("only", always=error),
        breaker=BreakerPolicy(failures=2),
        retry=RetryPolicy(retries=0),
    )
    for _ in range(5):
        with pytest.raises(type(error)):
            await upstream.head(NAME, TAG)
    assert upstream.healthy
    assert upstream.history() == ()


async def test_the_breaker_opens_tries_and_closes(scene: Scene) -> None:
    """HA-04: closed, open, half-open, closed, as the books and the history tell it."""
    only = scene.endpoint("only", away(), away(), away())
    upstream = scene.upstream(
        only, breaker=BreakerPolicy(failures=3, ejection=10.0), retry=RetryPolicy(retries=0)
    )
    for _ in range(3):
        with pytest.raises(errors.Unavailable):
            await upstream.head(NAME, TAG)
    assert not upstream.healthy
    with pytest.raises(errors.Unavailable):
        await upstream.head(NAME, TAG)
    assert len(only.asked) == 3
    scene.time.now += 10
    assert await upstream.head(NAME, TAG) == manifest()
    assert [call[2] for call in scene.books.of("breaker")] == ["open", "half-open", "closed"]
    changes = upstream.history()
    assert [(one.endpoint, one.state) for one in changes] == [
        (only.url, "open"),
        (only.url, "half-open"),
        (only.url, "closed"),
    ]
    assert "503" in changes[0].reason
    assert changes[0].at == changes[1].at - 10


async def test_a_trial_that_fails_keeps_the_others_waiting_longer(scene: Scene) -> None:
    only = scene.endpoint("only", always=away())
    upstream = scene.upstream(
        only, breaker=BreakerPolicy(failures=1, ejection=10.0), retry=RetryPolicy(retries=0)
    )
    for pause in (10, 20):
        with pytest.raises(errors.Unavailable):
            await upstream.head(NAME, TAG)
        scene.time.now += pause * 0.8
        assert not upstream.healthy
        scene.time.now += pause * 0.2
        assert upstream.healthy


async def test_cancelled_attempts_count_for_nothing(scene: Scene) -> None:
    only = scene.endpoint("only", away())
    upstream = scene.upstream(only, breaker=BreakerPolicy(failures=1), retry=RetryPolicy(retries=0))
    with pytest.raises(errors.Unavailable):
        await upstream.head(NAME, TAG)
    scene.time.now += 10
    blob = upstream.blob(NAME, BLOB)
    hangs = asyncio.Event()

    async def hang(*_: object) -> int:
        hangs.set()
        await asyncio.Event().wait()
        raise AssertionError

    only.blob_size = hang  # type: ignore[method-assign]
    told = len(scene.books.of("exchanged"))
    for _ in range(3):
        hangs.clear()
        task = asyncio.create_task(upstream.blob_size(NAME, BLOB))
        await hangs.wait()
        assert not upstream.healthy, "the trial is taken"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert upstream.healthy, "and free again"
    assert len(scene.books.of("exchanged")) == told
    async with blob as arriving:
        assert arriving.size == 8


async def test_an_answer_that_has_begun_ends_the_trial(scene: Scene) -> None:
    """A large blob may take minutes; who else asks meanwhile must not wait for its end."""
    only = scene.endpoint("only", away())
    upstream = scene.upstream(only, breaker=BreakerPolicy(failures=1), retry=RetryPolicy(retries=0))
    with pytest.raises(errors.Unavailable):
        await upstream.head(NAME, TAG)
    scene.time.now += 10
    async with upstream.blob(NAME, BLOB):
        assert await upstream.head(NAME, TAG) == manifest()


async def test_a_blob_that_breaks_off_counts_against_its_endpoint(scene: Scene) -> None:
    broken = ArrivingBytes(b"the blob", 0, breaks=errors.ConnectionLost("broken off"))
    first, second = scene.endpoint("first", always=broken), scene.endpoint("second")
    upstream = scene.upstream(first, second, breaker=BreakerPolicy(failures=2))
    for _ in range(2):
        async with upstream.blob(NAME, BLOB) as arriving:
            with pytest.raises(errors.ConnectionLost):
                await arriving.pour(lambda piece: None)
    async with upstream.blob(NAME, BLOB, 3) as arriving:
        assert (arriving.url, arriving.start, arriving.size) == (second.url, 3, 8)
    assert first.asked == ["blob@0", "blob@0"]


async def test_a_sink_that_fails_is_no_fault_of_the_endpoint(scene: Scene) -> None:
    only = scene.endpoint("only")
    upstream = scene.upstream(only, breaker=BreakerPolicy(failures=1))

    def full(piece: memoryview) -> None:
        raise errors.StoreFull("the disk is full")

    with pytest.raises(errors.StoreFull):
        async with upstream.blob(NAME, BLOB) as arriving:
            await arriving.pour(full)
    assert upstream.healthy
    assert [call[3] for call in scene.books.of("exchanged")] == ["ok"]


async def test_wrong_bytes_found_in_the_context_count_against_the_endpoint(scene: Scene) -> None:
    first, second = scene.endpoint("first"), scene.endpoint("second")
    upstream = scene.upstream(first, second, breaker=BreakerPolicy(failures=1))
    with pytest.raises(errors.DigestInvalid):
        async with upstream.blob(NAME, BLOB):
            raise errors.DigestInvalid("other bytes")
    async with upstream.blob(NAME, BLOB) as arriving:
        assert arriving.url == second.url


async def test_whom_to_avoid_is_asked_last(scene: Scene) -> None:
    first, second = scene.endpoint("first"), scene.endpoint("second")
    upstream = scene.upstream(first, second)
    async with upstream.blob(NAME, BLOB, 5, avoid={first.url}) as arriving:
        assert arriving.url == second.url
    second.always = away()
    async with upstream.blob(NAME, BLOB, 5, avoid={first.url}) as arriving:
        assert arriving.url == first.url


async def test_a_lie_that_another_endpoint_makes_good_is_noted(scene: Scene) -> None:
    liar = scene.endpoint("liar", always=errors.DigestInvalid("other bytes"))
    await scene.upstream(liar, scene.endpoint("b")).manifest(NAME, TAG)
    assert scene.books.of("noted") == [("upstream.lied", "hub", f"{liar.url}: other bytes")]


async def test_heads_asks_all_that_are_healthy(scene: Scene) -> None:
    a = scene.endpoint("a", always=manifest(b"one"))
    b = scene.endpoint("b", always=errors.Denied("not you"))
    c = scene.endpoint("c", away(), always=manifest(b"two"))
    upstream = scene.upstream(c, a, b, breaker=BreakerPolicy(failures=1))
    heads = dict(await upstream.heads(NAME, TAG))
    assert list(heads) == [c.url, a.url, b.url]
    assert heads[a.url] == manifest(b"one")
    assert isinstance(heads[b.url], errors.Denied)
    assert isinstance(heads[c.url], errors.Unavailable)
    assert [url for url, _ in await upstream.heads(NAME, TAG)] == [a.url, b.url]


async def test_heads_of_nobody_says_why(scene: Scene) -> None:
    only = scene.endpoint("only", always=away())
    upstream = scene.upstream(only, breaker=BreakerPolicy(failures=1))
    await upstream.heads(NAME, TAG)
    with pytest.raises(errors.Unavailable, match="left out"):
        await upstream.heads(NAME, TAG)


async def test_the_budget_is_the_one_told_last(scene: Scene) -> None:
    first, second = scene.endpoint("first"), scene.endpoint("second")
    first.rate_limit = RateLimit(100, 7, 21600)
    upstream = scene.upstream(first, second)
    assert upstream.rate_limit is None
    await upstream.head(NAME, TAG)
    await upstream.head(NAME, TAG)
    assert upstream.rate_limit == first.rate_limit
    assert scene.books.of("rate_limit") == [("hub", 100, 7)]


async def test_every_attempt_is_told_with_its_time(scene: Scene) -> None:
    first, second = scene.endpoint("first", always=away()), scene.endpoint("second")
    first.takes, second.takes = 1.0, 3.0
    await scene.upstream(first, second).manifest(NAME, TAG)
    assert scene.books.of("exchanged") == [
        ("hub", first.url, "manifest", "UNAVAILABLE", 1.0),
        ("hub", second.url, "manifest", "ok", 3.0),
    ]


async def test_without_endpoints_the_configuration_is_named(scene: Scene) -> None:
    with pytest.raises(errors.Unavailable, match="discovery"):
        await scene.upstream().head(NAME, TAG)


async def test_a_mistyped_host_is_not_asked_again_but_one_that_was_there_is(scene: Scene) -> None:
    unknown = errors.HostUnknown("no such name")
    mistyped = scene.endpoint("mistyped", always=unknown)
    with pytest.raises(errors.HostUnknown):
        await scene.upstream(mistyped).head(NAME, TAG)
    assert mistyped.asked == ["head"]
    known = scene.endpoint("known", None, unknown)
    upstream = scene.upstream(known)
    for _ in range(2):
        assert await upstream.head(NAME, TAG) == manifest()
    assert known.asked == ["head"] * 3


@pytest.mark.parametrize(
    ("selection", "costs"),
    [("latency", (0.0, 0.0)), ("cost", (1.0, 10.0))],
    ids=["slower", "dearer"],
)
async def test_the_worse_endpoint_gets_a_tenth_at_most(
    scene: Scene, selection: str, costs: tuple[float, float]
) -> None:
    """BE-07: of 1,000 requests fewer than 100 go to the slower, or dearer, one."""
    good, bad = scene.endpoint("good"), scene.endpoint("bad")
    good.takes, bad.takes = (0.02, 0.2) if selection == "latency" else (0.02, 0.02)
    upstream = scene.upstream(
        PooledEndpoint(bad, cost=costs[1]), PooledEndpoint(good, cost=costs[0]), selection=selection
    )
    for number in range(1000):
        scene.time.chance = number % 100 / 100  # every hundredth part comes once
        await upstream.head(NAME, TAG)
    assert len(good.asked) + len(bad.asked) == 1000
    assert 0 < len(bad.asked) < 100


async def test_weights_share_the_work(scene: Scene) -> None:
    """BE-07."""
    light, heavy = scene.endpoint("light"), scene.endpoint("heavy")
    upstream = scene.upstream(
        PooledEndpoint(light, weight=1), PooledEndpoint(heavy, weight=3), selection="round-robin"
    )
    for _ in range(1000):
        await upstream.head(NAME, TAG)
    assert (len(light.asked), len(heavy.asked)) == (250, 750)
