"""Registries that nobody has listed lead to the internet only: whatever a name means, and on every
hop from there.

Tests have no internet but this machine's loopback addresses, of which one is taken for it where
a first hop has to succeed.
"""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from entrepot.adapters.remotes import transport_gate
from entrepot.adapters.remotes.exchange import Request
from entrepot.adapters.remotes.session import Session
from entrepot.adapters.remotes.transport import CurlTransport
from entrepot.adapters.remotes.transport_settings import TransportSettings
from entrepot.adapters.remotes.upstream_endpoint import ONCE
from entrepot.adapters.remotes.upstream_endpoints import open_endpoint
from entrepot.config.upstreams import UpstreamSettings
from entrepot.oci.errors import Denied, Unavailable
from entrepot.oci.reference import Tag
from entrepot.protocol.challenges import Scope
from entrepot.testing import MockRegistry
from tests.integration.remotes.scripted_server import Peer, Script, echo, respond, scripted
from tests.remote_registries import name

OUTSIDE, INSIDE = "127.0.0.1", "127.0.0.2"


@asynccontextmanager
async def transport(
    environment: dict[str, str] | None = None, proxy: str | None = None
) -> AsyncIterator[CurlTransport]:
    settings = TransportSettings(only_global=True, proxy=proxy)
    made = CurlTransport(settings, environment or {})
    try:
        yield made
    finally:
        await made.close()


async def ask(made: CurlTransport, url: str, *, bulk: bool = False) -> int:
    async with made.send(Request("GET", url, bulk=bulk)) as response:
        await response.read(1 << 20)
        return response.status


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take one address of this machine for one of the internet."""
    monkeypatch.setattr(transport_gate, "is_global", lambda address: address == OUTSIDE)


@pytest.mark.parametrize("bulk", [False, True], ids=["shared", "lane"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_name_that_means_this_machine_is_refused(host: str, bulk: bool) -> None:
    async with scripted(echo) as server, transport() as made:
        url = f"http://{host}:{server.host.rpartition(':')[2]}/"
        with pytest.raises(Denied, match=r"not at an address on the internet.*upstream add"):
            await ask(made, url, bulk=bulk)
        assert not server.peers


@pytest.mark.parametrize("bulk", [False, True], ids=["shared", "lane"])
@pytest.mark.usefixtures("outside")
async def test_what_is_on_the_internet_is_asked(bulk: bool) -> None:
    async with scripted(echo) as server, transport() as made:
        for _ in range(2):
            assert await ask(made, server.url, bulk=bulk) == 200
        assert len(server.peers) == 1


@pytest.mark.usefixtures("outside")
async def test_what_cannot_be_reached_there_is_no_refusal() -> None:
    with socket.socket() as unused:
        unused.bind((OUTSIDE, 0))
        async with transport() as made:
            with pytest.raises(Unavailable, match="cannot be reached"):
                await ask(made, f"http://{OUTSIDE}:{unused.getsockname()[1]}/")


@pytest.mark.parametrize("hop", ["redirect", "realm"])
@pytest.mark.usefixtures("outside")
async def test_no_answer_leads_into_the_network(hop: str) -> None:
    def answers(inner: str) -> Script:
        field = {
            "redirect": f"Location: {inner}/x",
            "realm": f'WWW-Authenticate: Bearer realm="{inner}/x"',
        }[hop]
        status = {"redirect": "307 Temporary Redirect", "realm": "401 Unauthorized"}[hop]

        async def script(peer: Peer) -> None:
            while await peer.head():
                await peer.send(respond(status=status, fields=(field,)))

        return script

    async with scripted(answers(f"http://{INSIDE}:1")) as server, transport() as made:
        session = Session(server.host, made, plain_http=True, retry_policy=ONCE)
        with pytest.raises(Denied, match="not at an address on the internet"):
            async with session.send(
                Request("GET", "/v2/a/tags/list"), scopes=[Scope.repository("a", "pull")]
            ):
                pass
        assert server.heads
        await session.close()


async def test_an_endpoint_nobody_has_listed_is_asked_on_the_internet_only() -> None:
    """The endpoint's name leads to this machine, by the address that it is given to connect to."""
    with MockRegistry() as registry:
        image = registry.add_image("tests/one", "latest", layers=1)
        port = registry.host.rpartition(":")[2]
        url = f"http://registry.example:{port}#127.0.0.1"
        settings = UpstreamSettings(insecure=True)
        listed = open_endpoint(url, settings, environ={})
        assert (await listed.manifest(name(), Tag("latest")))[1] == image.manifest
        await listed.close()
        registry.clear_requests()
        unlisted = open_endpoint(url, settings, environ={}, listed=False)
        with pytest.raises(Denied, match="not at an address on the internet"):
            await unlisted.manifest(name(), Tag("latest"))
        await unlisted.close()
        assert not registry.requests


class TestThroughAProxy:
    """A proxy resolves names; it may itself be anywhere."""

    @pytest.mark.parametrize(
        "host", ["10.0.0.1", "intra", "127.0.0.1", "[fd00::1]", "metadata.google.internal"]
    )
    async def test_it_is_not_asked_for_what_is_inside(self, host: str) -> None:
        async with scripted(echo) as proxy, transport(proxy=proxy.url) as made:
            with pytest.raises(Denied, match="not at an address on the internet"):
                await ask(made, f"http://{host}/")
            assert not proxy.peers

    @pytest.mark.parametrize("way", ["setting", "environment"])
    async def test_it_is_asked_for_all_else(self, way: str) -> None:
        async with scripted(echo) as proxy:
            environment = {"http_proxy": proxy.url, "no_proxy": "other.example"}
            made = (
                transport(proxy=proxy.url)
                if way == "setting"
                else transport(environment=environment)
            )
            async with made as opened:
                assert await ask(opened, "http://registry.example/") == 200
            assert proxy.heads[0].startswith("GET http://registry.example/")

    async def test_what_goes_past_it_is_judged_by_its_address(self) -> None:
        async with scripted(echo) as proxy, scripted(echo) as server:
            environment = {"http_proxy": proxy.url, "no_proxy": "localhost"}
            async with transport(environment) as made:
                with pytest.raises(Denied, match="not at an address on the internet"):
                    await ask(made, server.url.replace(OUTSIDE, "localhost"))
            assert not proxy.peers
            assert not server.peers
