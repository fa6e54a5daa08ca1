"""PX-06: an upstream's egress proxy, with real ones. All of it goes through, tokens too, and
nothing goes directly when the proxy is gone."""

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from entrepot.oci.errors import Unavailable
from entrepot.oci.reference import Tag
from entrepot.testing import MockRegistry
from tests.certificates import Certificate, make_certificate
from tests.integration.remotes.egress_proxies import CREDENTIALS, EgressProxy, microsocks, squid
from tests.integration.remotes.test_transport_tls import server_context
from tests.integration.remotes.upstreams import opened, read
from tests.remote_registries import name
from tests.waiting import wait_until

pytestmark = pytest.mark.real("squid", "microsocks", "openssl")
NAME, TAG = "tests/one", Tag("latest")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("egress"))


@pytest.fixture
def secured(certificate: Certificate) -> Iterator[MockRegistry]:
    with MockRegistry(tls=server_context(certificate)) as registry:
        yield registry


def running(kind: str, certificate: Certificate) -> AbstractContextManager[EgressProxy]:
    if kind.startswith("http"):
        return squid(account=True, certificate=certificate if kind == "https" else None)
    return microsocks(account=True)


@pytest.mark.parametrize("kind", ["http", "https", "socks5", "socks5h"])
async def test_a_pull_goes_through_the_proxy_or_not_at_all(
    secured: MockRegistry, certificate: Certificate, kind: str
) -> None:
    image = secured.add_image(NAME, "latest", layers=1)
    preset = secured.preset("docker.io")
    assert preset.tokens is not None
    assert preset.storage is not None
    origins = (secured, preset.tokens.origin, preset.storage)
    with running(kind, certificate) as proxy:
        host = proxy.tls_host if kind == "https" else proxy.host
        url = f"{kind}://{CREDENTIALS}@{host}"
        trust = certificate.certificate
        async with opened(secured.url, proxy=url, ca_file=trust) as endpoint:
            assert (await endpoint.manifest(name(), TAG))[1] == image.manifest
            assert await read(endpoint, image.layers[0].digest)
        for origin in origins:  # squid tells of a tunnel when it has ended
            assert origin.requests
            wait_until(lambda origin=origin: origin.host in proxy.log())
        proxy.stop()
        for origin in origins:
            origin.clear_requests()
        async with opened(secured.url, proxy=url, ca_file=trust) as endpoint:
            with pytest.raises(Unavailable, match=host) as caught:
                await endpoint.manifest(name(), TAG)
    assert [one.requests for one in origins] == [[], [], []]
    assert not [part for part in CREDENTIALS.split(":") if part in str(caught.value)]


async def test_a_setting_stands_above_the_environment(
    secured: MockRegistry, certificate: Certificate
) -> None:
    secured.add_image(NAME, "latest", layers=0)
    gone = {"https_proxy": "http://127.0.0.1:9"}
    trust = certificate.certificate
    async with opened(secured.url, environ=gone, ca_file=trust, proxy=None) as endpoint:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
            await endpoint.manifest(name(), TAG)
    async with opened(secured.url, environ=gone, ca_file=trust, proxy="") as endpoint:
        await endpoint.manifest(name(), TAG)


async def test_nothing_goes_past_a_proxy_that_was_set(
    secured: MockRegistry, certificate: Certificate
) -> None:
    secured.add_image(NAME, "latest", layers=0)
    direct = {"no_proxy": "127.0.0.1,*"}
    trust = certificate.certificate
    for gone in ("http://127.0.0.1:9", "socks5h://127.0.0.1:9"):
        async with opened(secured.url, environ=direct, ca_file=trust, proxy=gone) as endpoint:
            with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
                await endpoint.manifest(name(), TAG)
    assert not secured.requests
