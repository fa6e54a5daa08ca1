"""The set of upstreams: changed while it is used, and bounded where anybody may name a host."""

import asyncio

import pytest

from entrepot.config.upstreams import UpstreamSettings
from entrepot.oci import errors
from entrepot.services.upstreams import IDLE, Upstream, Upstreams
from tests.unit.services.scripted_endpoints import BLOB, NAME, TAG, Scene, ScriptedEndpoint

HUB, QUAY = "docker.io", "quay.io"
PLAIN = UpstreamSettings()


class Factory:
    """Opens upstreams of one scripted endpoint each, kept by name in the order of opening."""

    def __init__(self) -> None:
        self.scene = Scene()
        self.endpoints: dict[str, list[ScriptedEndpoint]] = {}

    def __call__(self, name: str, settings: UpstreamSettings) -> Upstream:
        if settings.auth == "header":
            raise errors.Unsupported("auth = header needs headers")
        endpoint = self.scene.endpoint(name)
        self.endpoints.setdefault(name, []).append(endpoint)
        upstream = self.scene.upstream(endpoint)
        upstream.name = name
        return upstream


@pytest.fixture
def factory() -> Factory:
    return Factory()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_unlisted_name_is_denied_and_told_how_to_allow_it(factory: Factory) -> None:
    upstreams = Upstreams(factory)
    upstreams.replace({HUB: PLAIN})
    with pytest.raises(errors.Denied, match=r"entrepot upstream add quay\.io"):
        upstreams.get(QUAY)
    assert upstreams.names() == (HUB,)


async def test_added_changed_removed_without_a_restart(factory: Factory) -> None:
    upstreams = Upstreams(factory)
    first = upstreams.replace({HUB: PLAIN, QUAY: PLAIN})
    assert (first.added, first.changed, first.removed) == ((HUB, QUAY), (), ())
    hub, quay = upstreams.get(HUB), upstreams.get(QUAY)
    second = upstreams.replace({QUAY: UpstreamSettings(insecure=True), "ghcr.io": PLAIN})
    assert (second.added, second.changed, second.removed) == (("ghcr.io",), (QUAY,), (HUB,))
    assert upstreams.get(QUAY) is not quay
    with pytest.raises(errors.Denied):
        upstreams.get(HUB)
    await settled()
    assert [one.closed for one in factory.endpoints[HUB]] == [True]
    assert [one.closed for one in factory.endpoints[QUAY]] == [True, False]
    with pytest.raises(errors.Unavailable, match="changed or removed"):
        await hub.head(NAME, TAG)
    await upstreams.close()


async def test_what_is_the_same_stays(factory: Factory) -> None:
    upstreams = Upstreams(factory)
    upstreams.replace({HUB: PLAIN})
    before = upstreams.get(HUB)
    assert upstreams.replace({HUB: UpstreamSettings()}) == upstreams.replace({HUB: PLAIN})
    assert upstreams.get(HUB) is before


async def test_what_runs_at_a_removed_one_comes_to_its_end(factory: Factory) -> None:
    upstreams = Upstreams(factory)
    upstreams.replace({HUB: PLAIN})
    hub = upstreams.get(HUB)
    (endpoint,) = factory.endpoints[HUB]
    got = bytearray()
    async with hub.blob(NAME, BLOB) as arriving:
        upstreams.replace({})
        await settled()
        assert not endpoint.closed
        assert await hub.blob_size(NAME, BLOB) == 8, "what has begun may go on asking"
        await arriving.pour(got.extend)
    assert got == b"the blob"
    await settled()
    assert endpoint.closed


async def test_one_that_cannot_be_opened_stays_as_it_was(factory: Factory) -> None:
    upstreams = Upstreams(factory)
    upstreams.replace({HUB: PLAIN})
    hub, wrong = upstreams.get(HUB), UpstreamSettings(auth="header")
    replaced = upstreams.replace({HUB: wrong, QUAY: wrong})
    assert set(replaced.failed) == {HUB, QUAY}
    assert upstreams.get(HUB) is hub
    assert upstreams.names() == (HUB,)
    assert upstreams.replace({HUB: PLAIN}).changed == ()


async def test_open_hosts_are_opened_when_asked_for_and_bounded(factory: Factory) -> None:
    upstreams = Upstreams(factory, unlisted=PLAIN, most_on_demand=3)
    for number in range(3):
        upstreams.get(f"r{number}.test")
    kept = upstreams.get("r0.test")  # used last now
    upstreams.get("r3.test")
    await settled()
    assert set(upstreams.opened()) == {"r0.test", "r2.test", "r3.test"}
    assert upstreams.get("r0.test") is kept
    assert factory.endpoints["r1.test"][0].closed


@pytest.mark.parametrize("name", ["", "no host", "a/b", "https://a.test", "a.test:99999"])
async def test_what_is_no_host_is_denied_even_then(factory: Factory, name: str) -> None:
    with pytest.raises(errors.Denied):
        Upstreams(factory, unlisted=PLAIN).get(name)


async def test_a_busy_one_does_not_make_room(factory: Factory) -> None:
    upstreams = Upstreams(factory, unlisted=PLAIN, most_on_demand=2)
    busy = upstreams.get("busy.test")
    async with busy.blob(NAME, BLOB):
        upstreams.get("idle.test")
        newest = upstreams.get("newest.test")
        await settled()
        assert set(upstreams.opened()) == {"busy.test", "newest.test"}
        assert upstreams.get("newest.test") is newest


async def test_idle_ones_are_closed(factory: Factory) -> None:
    upstreams = Upstreams(factory, unlisted=PLAIN, clock=factory.scene.time.clock)
    upstreams.replace({HUB: PLAIN})
    upstreams.get(QUAY)
    factory.scene.time.now += IDLE / 2
    await upstreams.get("ghcr.io").head(NAME, TAG)
    factory.scene.time.now += IDLE / 2 + 1
    upstreams.sweep()
    await settled()
    assert set(upstreams.opened()) == {HUB, "ghcr.io"}
    assert factory.endpoints[QUAY][0].closed


async def test_one_opened_on_demand_may_be_configured(factory: Factory) -> None:
    upstreams = Upstreams(factory, unlisted=PLAIN)
    before = upstreams.get(QUAY)
    assert upstreams.replace({QUAY: PLAIN}).added == (QUAY,)
    assert upstreams.get(QUAY) is not before
    await settled()
    assert [one.closed for one in factory.endpoints[QUAY]] == [True, False]


async def test_closing_closes_all(factory: Factory) -> None:
    upstreams = Upstreams(factory, unlisted=PLAIN)
    upstreams.replace({HUB: PLAIN})
    upstreams.get(QUAY)
    await upstreams.close()
    assert all(one.closed for opened in factory.endpoints.values() for one in opened)
