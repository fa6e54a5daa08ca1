"""What an upstream's settings do to its endpoint: logins, headers, paths, trust."""

import base64
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.adapters.remotes.upstream_endpoints import Transports
from entrepot.oci.errors import (
    CertificateRefused,
    ManifestUnknown,
    NameUnknown,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from entrepot.oci.reference import Tag
from entrepot.testing import MockRegistry
from entrepot.testing.mock_exchange import Exchange, Record, Reply
from entrepot.testing.mock_faults import Challenge, RedirectTo
from entrepot.testing.mock_images import MockImage
from entrepot.testing.mock_tokens import TokenFlavour
from tests.certificates import Certificate, make_certificate
from tests.integration.remotes.test_transport_tls import server_context
from tests.integration.remotes.upstreams import Below, opened, read
from tests.remote_registries import name

NAME = "tests/one"
TAG = Tag("latest")
ANN = {"username": "ann", "password": "wonderland"}
USERS = {"ann": "wonderland"}


@pytest.fixture
def image(mock: MockRegistry) -> MockImage:
    return mock.add_image(NAME, "latest", layers=1)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("upstream"))


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def authorizations(records: list[Record]) -> list[str]:
    return [one.scheme for one in records]


class TestAuto:
    async def test_nothing_is_sent_before_the_registry_asks(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        async with opened(mock.url, **ANN) as endpoint:
            await endpoint.manifest(name(), TAG)
        assert authorizations(mock.requests) == [""]

    async def test_a_robots_name_may_hold_a_plus(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        """BE-03: Quay's robots are called `organisation+name`."""
        tokens = mock.preset("quay.io", users={"acme+puller": "s3cret"}).tokens
        assert tokens is not None
        tokens.may = lambda user, repository: "pull" if user == "acme+puller" else ""
        login = {"username": "acme+puller", "password": "s3cret"}
        async with opened(mock.url, **login) as endpoint:
            assert (await endpoint.manifest(name(), TAG))[1] == image.manifest
        assert tokens.requests[0].path == "/v2/auth"
        assert ("account", "acme+puller") in tokens.requests[0].query

    async def test_an_expired_login_does_not_hide_what_is_public(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        """ghcr.io refuses an expired token for public images, too."""
        preset = mock.preset("ghcr.io", users=USERS)
        assert preset.tokens is not None
        expired = {"username": "ann", "password": "expired"}
        async with opened(mock.url, **expired) as endpoint:
            for _ in range(3):
                assert (await endpoint.manifest(name(), TAG))[1] == image.manifest
        assert authorizations(preset.tokens.requests) == ["basic", ""]

    async def test_less_rights_in_one_repository_are_not_less_in_another(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        mock.add_image("tests/private", "latest", layers=0)
        mock.require_token(
            users=USERS,
            may=lambda user, repository: "pull" if user and repository == "tests/private" else "",
        )
        async with opened(mock.url, **ANN) as endpoint:
            with pytest.raises(Unauthorized):
                await endpoint.manifest(name(), TAG)
            await endpoint.manifest(name("tests/private"), TAG)

    @pytest.mark.parametrize("allowed", [False, True])
    async def test_a_strange_realm_gets_the_login_only_if_it_is_allowed(
        self, mock: MockRegistry, image: MockImage, allowed: bool
    ) -> None:
        realm = 'Bearer realm="https://token.stranger.invalid/token",service="x"'
        mock.fault(Challenge(realm), times=None)
        warnings: list[str] = []
        async with opened(
            f"http://registry.invalid:{mock.port}#127.0.0.1",
            warnings=warnings,
            insecure=True,
            allowed_realms=("token.stranger.invalid",) if allowed else (),
            **ANN,
        ) as endpoint:
            # It has no address, so nothing is sent in truth; what would be is told before.
            with pytest.raises(Unavailable, match="stranger"):
                await endpoint.manifest(name(), TAG)
        told = [text for text in warnings if "allowed_realms = token.stranger.invalid" in text]
        assert len(told) == (0 if allowed else 1)


class TestAnonymous:
    async def test_a_login_that_is_there_is_not_used(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        tokens = mock.require_token(users=USERS)
        async with opened(mock.url, auth="anonymous", **ANN) as endpoint:
            await endpoint.manifest(name(), TAG)
        assert authorizations(tokens.requests) == [""]


class TestBasic:
    async def test_it_goes_with_each_request_and_no_token_is_fetched(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        """BE-02: Cloudflare's registry takes a short-lived JWT as the password."""
        jwt = "eyJhbGciOi.J9eyJzdWIi.c2ln"
        mock.require_basic({"acct": jwt}, realm="cloudflare")
        login = {"username": "acct", "password": jwt}
        async with opened(mock.url, auth="basic", **login) as endpoint:
            assert (await endpoint.manifest(name(), TAG))[1] == image.manifest
            assert await read(endpoint, image.layers[0].digest)
        assert {one.authorization for one in mock.requests} == {basic("acct", jwt)}

    async def test_it_stays_with_the_registry(self, mock: MockRegistry, image: MockImage) -> None:
        """BE-02: a blob host (CDN) is reached directly, and without the login."""
        mock.require_basic(USERS)
        cdn = mock.other_origin(refuse_authorization=True)
        mock.fault(RedirectTo(cdn), path="/v2/*/blobs/*", times=None)
        async with opened(mock.url, auth="basic", **ANN) as endpoint:
            assert await read(endpoint, image.layers[0].digest)
        assert [one.authorization for one in cdn.requests] == [None]

    async def test_a_wrong_one_is_told_and_no_token_asked_for(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        tokens = mock.require_token(users=USERS, basic=True)
        async with opened(mock.url, auth="basic", username="ann", password="no") as endpoint:
            with pytest.raises(Unauthorized, match="set its username and password"):
                await endpoint.manifest(name(), TAG)
        assert tokens.requests == []


class TestHeaders:
    async def test_a_field_goes_to_the_registry_and_its_own_realm_only(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        """BE-05: Artifactory's `X-JFrog-Art-Api`."""
        tokens = mock.require_token()
        storage = mock.other_origin()
        mock.fault(RedirectTo(storage), path="/v2/*/blobs/*", times=None)
        key = "X-JFrog-Art-Api: key-1"
        async with opened(mock.url, auth="header", headers=(key,)) as endpoint:
            assert await read(endpoint, image.layers[0].digest)
        assert {one.header("X-JFrog-Art-Api") for one in mock.requests} == {"key-1"}
        assert len(tokens.requests) == 1
        assert [one.header("X-JFrog-Art-Api") for one in storage.requests] == [None]

    async def test_a_field_does_not_go_to_a_realm_elsewhere(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        tokens = mock.require_token(elsewhere=True)
        async with opened(mock.url, headers=("X-Key: key-1",)) as endpoint:
            await endpoint.manifest(name(), TAG)
        assert [one.header("X-Key") for one in tokens.requests] == [None]

    async def test_a_fixed_authorization_is_the_only_one(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        async def guard(exchange: Exchange) -> Reply | None:
            known = exchange.request.header("authorization") == "Bearer fixed"
            return None if known else Reply.of_error(401, "UNAUTHORIZED")

        mock.fault(guard, times=None)
        fixed = ("Authorization: Bearer fixed",)
        async with opened(mock.url, auth="header", headers=fixed) as endpoint:
            assert (await endpoint.manifest(name(), TAG))[1] == image.manifest
        wrong = ("Authorization: Bearer wrong",)
        async with opened(mock.url, auth="header", headers=wrong) as endpoint:
            with pytest.raises(Unauthorized):
                await endpoint.manifest(name(), TAG)


class TestExec:
    @pytest.fixture
    def helper(self, tmp_path: Path) -> Path:
        """A program that notes what it is asked, and prints what stands beside it."""
        program = tmp_path / "helper"
        program.write_text(
            f'#!/bin/sh\ncat >> {tmp_path}/asked; echo "|$*" >> {tmp_path}/asked\n'
            f"cat {tmp_path}/answer\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return program

    def tell(self, helper: Path, user: str, secret: str) -> None:
        answer = json.dumps({"ServerURL": "x", "Username": user, "Secret": secret})
        (helper.parent / "answer").write_text(answer)

    async def test_what_it_prints_is_the_login_for_a_while(
        self, mock: MockRegistry, image: MockImage, helper: Path
    ) -> None:
        mock.require_basic({"AWS": "token-1"})
        self.tell(helper, "AWS", "token-1")
        command = (str(helper), "get")
        async with opened(mock.url, auth="exec", exec=command) as endpoint:
            for _ in range(3):
                await endpoint.manifest(name(), TAG)
        assert (helper.parent / "asked").read_text() == f"{mock.host}|get\n"

    async def test_it_is_asked_again_when_that_is_over(
        self, mock: MockRegistry, image: MockImage, helper: Path
    ) -> None:
        users = {"AWS": "token-1"}
        mock.require_basic(users)
        self.tell(helper, "AWS", "token-1")
        settings = {"auth": "exec", "exec": (str(helper),), "credentials_ttl": 0.0}
        async with opened(mock.url, **settings) as endpoint:
            await endpoint.manifest(name(), TAG)
            users["AWS"] = "token-2"
            self.tell(helper, "AWS", "token-2")
            await endpoint.manifest(name(), TAG)

    async def test_it_may_print_an_identity_token(
        self, mock: MockRegistry, image: MockImage, helper: Path
    ) -> None:
        tokens = mock.require_token("identity", users=USERS, anonymous=None)
        self.tell(helper, "<token>", tokens.identity_token("ann"))
        async with opened(mock.url, auth="exec", exec=(str(helper),)) as endpoint:
            await endpoint.manifest(name(), TAG)
        assert [one.method for one in tokens.requests] == ["POST"]

    async def test_its_failure_is_told_where_the_login_is_needed(
        self, mock: MockRegistry, image: MockImage, tmp_path: Path
    ) -> None:
        mock.require_basic(USERS)
        command = ("/bin/sh", "-c", "echo no keychain >&2; exit 3", "hush")
        async with opened(mock.url, auth="exec", exec=command) as endpoint:
            with pytest.raises(Unauthorized, match="failed with status 3: no keychain") as caught:
                await endpoint.manifest(name(), TAG)
        assert "hush" not in str(caught.value)


class TestPlaces:
    @pytest.fixture
    def secured(self, certificate: Certificate) -> Iterator[MockRegistry]:
        with MockRegistry(tls=server_context(certificate)) as registry:
            registry.add_image(NAME, "latest", layers=1)
            yield registry

    async def test_a_path_with_its_own_authority(
        self, secured: MockRegistry, certificate: Certificate
    ) -> None:
        """BE-06: works with its CA, fails without."""
        secured.fault(Below("/prefix"), times=None)
        url = f"{secured.url}/prefix"
        async with opened(url, ca_file=certificate.certificate) as endpoint:
            descriptor, _ = await endpoint.manifest(name(), TAG)
            assert endpoint.url == url
            assert (await endpoint.ping()).url == url
            assert await endpoint.page(name(), "tags/list", "")
            with pytest.raises(ManifestUnknown):
                await endpoint.head(name(), Tag("no-such"))
        assert {one.path.partition("/v2/")[0] for one in secured.requests} == {"/prefix"}
        async with opened(url) as endpoint:
            with pytest.raises(CertificateRefused, match="ca_file"):
                await endpoint.manifest(name(), TAG)
        async with opened(url, insecure=True) as endpoint:
            assert (await endpoint.manifest(name(), TAG))[0] == descriptor
        async with opened(secured.url, ca_file=certificate.certificate) as endpoint:
            with pytest.raises(NameUnknown):
                await endpoint.manifest(name(), TAG)

    async def test_https_is_not_left_unless_that_is_allowed(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        secure = mock.url.replace("http:", "https:")
        async with opened(secure) as endpoint:
            with pytest.raises(Unavailable, match="TLS"):
                await endpoint.manifest(name(), TAG)
        assert mock.requests == []
        async with opened(secure, insecure=True) as endpoint:
            assert (await endpoint.manifest(name(), TAG))[1] == image.manifest

    async def test_plain_http_is_for_who_allows_it(self) -> None:
        with pytest.raises(Unsupported, match="insecure = true"):
            async with opened("http://registry.example"):
                pass
        async with opened("http://registry.example", insecure=True) as endpoint:
            assert endpoint.host == "registry.example"

    @pytest.mark.parametrize(
        "url",
        ["https://registry-1.docker.io", "https://registry.hub.docker.com", "https://docker.io"],
    )
    async def test_docker_hub_has_one_name_for_its_logins(self, url: str) -> None:
        """BE-01"""
        async with opened(url) as endpoint:
            assert (endpoint.host, endpoint.url) == ("docker.io", url)

    @pytest.mark.parametrize(
        "url",
        [
            "ftp://x.example",
            "https://",
            "https://a:b@x.example",
            "https://x.example?a=b",
            "https://x:y",
        ],
        ids=["scheme", "nothing", "account", "query", "port"],
    )
    async def test_a_url_that_is_none_is_refused(self, url: str) -> None:
        with pytest.raises(Unsupported, match="https://host"):
            async with opened(url):
                pass

    @pytest.mark.parametrize("auth", ["basic", "header", "exec"])
    async def test_settings_that_lack_something_are_refused(self, auth: str) -> None:
        with pytest.raises(Unsupported, match=auth):
            async with opened("https://x.example", auth=auth):
                pass

    async def test_equal_connections_are_shared_and_closed_with_the_last(
        self, mock: MockRegistry, image: MockImage
    ) -> None:
        transports = Transports({})
        async with opened(mock.url, transports=transports, **ANN) as second:
            async with opened(mock.url, transports=transports) as first:
                await first.manifest(name(), TAG)
            await second.manifest(name(), TAG)
        assert mock.connections == 1


LAYOUTS = {
    "repository path": ("/artifactory/api/docker/docker-local", "localhost", NAME),
    "path in the name": ("", "art.localhost", f"docker-local/{NAME}"),
    "sub-domain": ("", "docker-local.art.localhost", NAME),
    "port": ("", "127.0.0.1", NAME),
    "cloud, path": ("", "acme.jfrog.localhost", f"docker-local/{NAME}"),
    "cloud, sub-domain": ("", "acme-docker-local.jfrog.localhost", NAME),
}


@pytest.mark.parametrize("layout", LAYOUTS)
async def test_artifactory_has_six_layouts(mock: MockRegistry, layout: str) -> None:
    """BE-05: the same digest is pulled through each."""
    prefix, host, repository = LAYOUTS[layout]
    image = mock.add_image(repository, "latest", layers=1)
    mock.preset("artifactory", users=USERS)
    if prefix:
        realm = TokenFlavour(path=f"{prefix}/v2/token", service="art", post_refused=405)
        mock.require_token(realm, users=USERS)
        behind = Below(prefix)
        mock.fault(behind, times=None, when=lambda request: not request.path.endswith("/token"))
    async with opened(f"http://{host}:{mock.port}{prefix}", **ANN) as endpoint:
        assert await endpoint.manifest(name(repository), TAG) == (image.descriptor, image.manifest)
        assert await read(endpoint, image.layers[0].digest, of=name(repository))
    assert {one.header("host") for one in mock.matching(path="*/manifests/*")} == {
        f"{host}:{mock.port}"
    }


async def test_ranchers_service_has_spaces_in_its_name(mock: MockRegistry) -> None:
    """BE-04: `registry.rancher.com` and SUSE's; the other name is what the routes rewrite to."""
    image = mock.add_image("stable/rancher/shell", "latest", layers=1)
    tokens = mock.preset("suse", users=USERS).tokens
    assert tokens is not None
    async with opened(mock.url) as endpoint:
        _, content = await endpoint.manifest(name("stable/rancher/shell"), TAG)
    assert content == image.manifest
    assert ("service", "SUSE Linux Docker Registry") in tokens.requests[0].query
