"""The watch over endpoints: probes find who is away and who is back, discovery who is new."""

import asyncio
from contextlib import suppress

from entrepot.oci import errors
from entrepot.rules.circuit_breaker import BreakerPolicy
from entrepot.rules.retries import RetryPolicy
from entrepot.services.upstreams import Discovered, PooledEndpoint
from tests.unit.services.scripted_endpoints import BLOB, NAME, TAG, Scene, manifest

ONCE = RetryPolicy(retries=0)


def gone() -> errors.ConnectionLost:
    return errors.ConnectionLost("cannot be reached")


async def test_probes_find_who_is_away_and_who_is_back() -> None:
    """BE-09: unhealthy before the third probe, back with the first that is answered, and the
    history has both."""
    scene = Scene()
    only = scene.endpoint("only")
    upstream = scene.upstream(only, breaker=BreakerPolicy(failures=5))
    await upstream.probe()
    assert upstream.healthy
    only.pings = [gone(), gone()]
    await upstream.probe()
    assert upstream.healthy, "once may be chance"
    await upstream.probe()
    assert not upstream.healthy
    assert only.asked == []
    await upstream.probe()
    assert upstream.healthy
    assert [one.state for one in upstream.history()] == ["open", "half-open", "closed"]
    assert upstream.history()[0].reason == "cannot be reached"
    assert [call[2:4] for call in scene.books.of("exchanged")] == [
        ("ping", outcome) for outcome in ("ok", "UNAVAILABLE", "UNAVAILABLE", "ok")
    ]


async def test_a_login_that_is_refused_is_an_answer() -> None:
    scene = Scene()
    only = scene.endpoint("only", always=errors.Unauthorized("wrong password"))
    upstream = scene.upstream(only)
    for _ in range(5):
        await upstream.probe()
    assert upstream.healthy


async def test_a_probe_only_invites_a_trial_where_requests_have_failed() -> None:
    """`/v2/` may answer while everything else fails."""
    scene = Scene()
    only = scene.endpoint("only", always=errors.Unavailable("503"))
    only.pings = [None, None]
    upstream = scene.upstream(only, breaker=BreakerPolicy(failures=1), retry=ONCE)
    with suppress(errors.Unavailable):
        await upstream.head(NAME, TAG)
    assert not upstream.healthy
    await upstream.probe()
    await upstream.probe()
    assert upstream.healthy
    with suppress(errors.Unavailable):
        await upstream.head(NAME, TAG)
    assert not upstream.healthy


async def test_who_asked_to_be_left_alone_is_not_probed() -> None:
    scene = Scene()
    only = scene.endpoint("only", errors.TooManyRequests("slow", detail={"retry_after": 60}))
    upstream = scene.upstream(only, retry=ONCE)
    with suppress(errors.TooManyRequests):
        await upstream.head(NAME, TAG)
    told = len(scene.books.of("exchanged"))
    await upstream.probe()
    assert len(scene.books.of("exchanged")) == told
    scene.time.now += 60
    await upstream.probe()
    assert len(scene.books.of("exchanged")) == told + 1


async def test_a_probe_that_gets_no_answer_is_ended() -> None:
    scene = Scene()
    only = scene.endpoint("only")

    async def hang() -> None:
        await asyncio.Event().wait()

    only.ping = hang  # type: ignore[method-assign,assignment]
    upstream = scene.upstream(only, probe_timeout=0.001)
    await upstream.probe()
    await upstream.probe()
    assert "does not answer" in upstream.history()[0].reason


async def test_the_watch_probes_at_its_interval() -> None:
    scene = Scene()
    only, thrice, pings = scene.endpoint("only"), asyncio.Event(), list[float]()

    async def ping() -> None:
        pings.append(scene.time.now)
        if len(pings) == 3:
            thrice.set()

    only.ping = ping  # type: ignore[method-assign,assignment]
    upstream = scene.upstream(only, probe_interval=30.0)
    watch = asyncio.create_task(upstream.watch())
    await thrice.wait()
    watch.cancel()
    with suppress(asyncio.CancelledError):
        await watch
    assert pings[:3] == [1030.0, 1060.0, 1090.0]


async def test_what_discovery_finds_is_asked_before_its_time_is_over() -> None:
    """BE-08: no later than the TTL, and without a restart."""
    scene = Scene()
    old, new = scene.endpoint("old"), scene.endpoint("new")
    answers = [Discovered([PooledEndpoint(old)], 5.0), Discovered([PooledEndpoint(new)], 7.0)]
    enough = asyncio.Event()

    async def discover() -> Discovered:
        if answers:
            return answers.pop(0)
        enough.set()
        raise errors.HostUnknown("no DNS")

    upstream = scene.upstream(discover=discover)
    watch = asyncio.create_task(upstream.watch())
    await enough.wait()
    assert await upstream.head(NAME, TAG) == manifest()
    watch.cancel()
    with suppress(asyncio.CancelledError):
        await watch
    assert scene.time.slept[:2] == [5.0, 7.0]
    assert new.asked == ["head"]
    assert old.closed
    assert scene.books.of("noted")[0] == ("upstream.undiscovered", "hub", "no DNS")


async def test_the_first_question_waits_for_discovery() -> None:
    scene = Scene()
    found, times = scene.endpoint("found"), 0

    async def discover() -> Discovered:
        nonlocal times
        times += 1
        await asyncio.sleep(0)
        return Discovered([PooledEndpoint(found)], 60.0)

    upstream = scene.upstream(discover=discover)
    answers = await asyncio.gather(*(upstream.head(NAME, TAG) for _ in range(5)))
    assert answers == [manifest()] * 5
    assert times == 1


async def test_who_is_found_again_keeps_connections_and_health() -> None:
    scene = Scene()
    first, again = (
        scene.endpoint("first", always=errors.Unavailable("503")),
        scene.endpoint("first"),
    )
    upstream = scene.upstream(first, breaker=BreakerPolicy(failures=1), retry=ONCE)
    with suppress(errors.Unavailable):
        await upstream.head(NAME, TAG)
    upstream.refresh([PooledEndpoint(again, weight=3)])
    await asyncio.sleep(0)
    assert again.closed
    assert not first.closed
    assert not upstream.healthy


async def test_who_is_gone_ends_what_it_has_begun() -> None:
    scene = Scene()
    old, new = scene.endpoint("old"), scene.endpoint("new")
    upstream = scene.upstream(old)
    async with upstream.blob(NAME, BLOB) as arriving:
        upstream.refresh([PooledEndpoint(new)])
        await upstream.head(NAME, TAG)
        assert not old.closed
        await arriving.pour(lambda piece: None)
    await asyncio.sleep(0)
    assert old.closed
    assert new.asked == ["head"]
