"""Egress proxies, with real ones: everything goes through, and no credentials go anywhere else."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from entrepot.adapters.remotes.exchange import Body, Request
from entrepot.adapters.remotes.transport import CurlTransport
from entrepot.adapters.remotes.transport_settings import TransportSettings
from entrepot.oci.errors import CertificateRefused, HostUnknown, Unavailable
from tests.certificates import Certificate, make_certificate
from tests.integration.remotes.egress_proxies import (
    CREDENTIALS,
    NAME,
    PASSWORD,
    EgressProxy,
    microsocks,
    squid,
)
from tests.integration.remotes.scripted_server import ScriptedServer, echo, scripted
from tests.integration.remotes.test_transport_tls import server_context
from tests.waiting import wait_until

pytestmark = pytest.mark.real("squid", "microsocks", "openssl")
MIB = 1 << 20
WRONG = "me%40work:wr%2Fong"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("egress"))


@pytest.fixture(scope="module")
def http_proxy(certificate: Certificate) -> Iterator[EgressProxy]:
    with squid(certificate=certificate, account=True) as running:
        yield running


@pytest.fixture(scope="module")
def socks_proxy() -> Iterator[EgressProxy]:
    with microsocks(account=True) as running:
        yield running


@pytest.fixture(params=["http", "https"])
async def target(
    request: pytest.FixtureRequest, certificate: Certificate
) -> AsyncIterator[ScriptedServer]:
    context = server_context(certificate) if request.param == "https" else None
    async with scripted(echo, tls=context) as running:
        yield running


@asynccontextmanager
async def transport(
    certificate: Certificate, proxy: str | None, environment: dict[str, str] | None = None
) -> AsyncIterator[CurlTransport]:
    settings = TransportSettings(ca_file=certificate.certificate, proxy=proxy, connect_timeout=5)
    made = CurlTransport(settings, environment or {})
    try:
        yield made
    finally:
        await made.close()


async def asked(transport: CurlTransport, url: str) -> str:
    """Send a request with credentials of its own; return what the target got."""
    fields = {"Authorization": "Basic for-the-registry"}
    async with transport.send(Request("GET", f"{url}/v2/?sig=c2ln", fields)) as response:
        assert response.status == 200
        assert response.http_version == "1.1"
        assert response.header_lines[0][0] == "content-length"
        return (await response.read(MIB)).decode()


async def lost(transport: CurlTransport, url: str) -> str:
    with pytest.raises(Unavailable) as caught:
        await asked(transport, url)
    message = str(caught.value)
    for secret in (NAME, PASSWORD, *CREDENTIALS.split(":"), "wr/ong", "wr%2Fong", "c2ln"):
        assert secret not in message
    return message


async def logged(proxy: EgressProxy, target: ScriptedServer) -> None:
    """Wait until the proxy tells of the target; squid does when a tunnel has ended."""
    await asyncio.to_thread(wait_until, lambda: target.host in proxy.log())


PROXIES = ["http", "https", "socks5", "socks5h"]


def url_of(kind: str, http: EgressProxy, socks: EgressProxy, credentials: str = CREDENTIALS) -> str:
    host = {"http": http.host, "https": http.tls_host}.get(kind, socks.host)
    return f"{kind}://{credentials}@{host}"


@pytest.mark.parametrize("kind", PROXIES)
async def test_requests_go_through_the_proxy_with_its_credentials(
    certificate: Certificate,
    http_proxy: EgressProxy,
    socks_proxy: EgressProxy,
    target: ScriptedServer,
    kind: str,
) -> None:
    async with transport(certificate, url_of(kind, http_proxy, socks_proxy)) as made:
        for _ in range(2):
            head = await asked(made, target.url)
        assert "\r\nAuthorization: Basic for-the-registry\r\n" in head
        assert "proxy-authorization" not in head.lower()

        async def chunks() -> AsyncIterator[bytes]:
            yield b"streamed"

        async with made.send(Request("PUT", target.url, body=Body(8, chunks))) as response:
            assert (await response.read(MIB)).endswith(b"\r\n\r\nstreamed")
    used = http_proxy if kind.startswith("http") else socks_proxy
    await logged(used, target)


@pytest.mark.parametrize("kind", PROXIES)
@pytest.mark.parametrize("credentials", [WRONG, ""], ids=["wrong", "none"])
async def test_a_proxy_that_does_not_know_us(
    certificate: Certificate,
    http_proxy: EgressProxy,
    socks_proxy: EgressProxy,
    target: ScriptedServer,
    kind: str,
    credentials: str,
) -> None:
    url = url_of(kind, http_proxy, socks_proxy, credentials)
    async with transport(certificate, url) as made:
        message = await lost(made, target.url)
    place = url.replace(f"{credentials}@", "")
    assert message.startswith(f"the proxy {place} does not accept our credentials; check")
    assert not target.heads


@pytest.mark.parametrize("kind", PROXIES)
async def test_nothing_goes_past_a_proxy_that_is_gone(
    certificate: Certificate, target: ScriptedServer, kind: str
) -> None:
    running = squid(certificate=certificate) if kind.startswith("http") else microsocks()
    with running as proxy:
        url = f"{kind}://{proxy.tls_host if kind == 'https' else proxy.host}"
        async with transport(certificate, url) as made:
            await asked(made, target.url)
            before = len(target.peers)
            proxy.stop()
            message = await lost(made, target.url)
        async with transport(certificate, url) as made:
            message = await lost(made, target.url)
    assert url in message
    assert len(target.peers) == before


async def test_the_environment_names_the_proxy_and_what_is_asked_directly(
    certificate: Certificate, target: ScriptedServer
) -> None:
    """Loopback is nothing special: it is asked directly only where `no_proxy` says so."""
    with squid() as proxy:
        environment = {"http_proxy": proxy.host, "HTTPS_PROXY": f"http://{proxy.host}"}
        async with transport(certificate, None, environment) as made:
            await asked(made, target.url)
        await logged(proxy, target)
        proxy.stop()
        async with transport(certificate, None, environment) as made:
            await lost(made, target.url)
        for direct in ("127.0.0.1", "*", "127.0.0.0/8"):
            async with transport(certificate, None, environment | {"no_proxy": direct}) as made:
                await asked(made, target.url)
        async with transport(certificate, "", environment) as made:
            await asked(made, target.url)


async def test_names_are_resolved_where_the_kind_of_proxy_says(
    certificate: Certificate, socks_proxy: EgressProxy
) -> None:
    for kind, words in (
        ("socks5", "the name of registry.invalid cannot be resolved"),
        ("socks5h", f"the proxy socks5h://{socks_proxy.host} could not reach registry.invalid"),
    ):
        async with transport(certificate, f"{kind}://{CREDENTIALS}@{socks_proxy.host}") as made:
            assert (await lost(made, "http://registry.invalid")).startswith(words)


async def test_a_proxy_that_cannot_reach_the_target(
    certificate: Certificate, http_proxy: EgressProxy
) -> None:
    proxy = f"http://{http_proxy.host}"
    async with transport(certificate, proxy.replace("//", f"//{CREDENTIALS}@")) as made:
        message = await lost(made, "https://127.0.0.1:1")
    assert message.startswith(f"the proxy {proxy} could not reach 127.0.0.1:1")


async def test_a_proxy_s_own_certificate_is_verified(
    http_proxy: EgressProxy, target: ScriptedServer, tmp_path: Path
) -> None:
    """Even where the registry's is not."""
    settings = TransportSettings(verify=False, proxy=f"https://{http_proxy.tls_host}")
    made = CurlTransport(settings, {})
    with pytest.raises(CertificateRefused, match=r"through the proxy https://.* is not trusted"):
        await asked(made, target.url)
    await made.close()


async def test_a_proxy_whose_name_does_not_exist(
    certificate: Certificate, target: ScriptedServer
) -> None:
    async with transport(certificate, f"http://{CREDENTIALS}@proxy.invalid:3128") as made:
        with pytest.raises(HostUnknown, match="proxy's name cannot be resolved"):
            await asked(made, target.url)
