"""Public registries as they are documented, pulled through a running mirror: logins, redirects,
limits, namespaces and layouts of addresses (rows BE-01 … BE-06)."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import pytest

from entrepot.rules.upstream_presets import artifactory_place
from entrepot.testing import MockRegistry, RedirectTo
from entrepot.testing.mock_presets import PRESETS, Quota
from entrepot.testing.mock_tokens import TokenFlavour
from tests.integration.mirror.conftest import StartMirror, cache_of
from tests.integration.mirror.pulling import assert_pulls
from tests.integration.remotes.upstreams import Below
from tests.mirrors import MANIFESTS, metric, upstream_table
from tests.waiting import wait_until

NAME: Final = "library/tool"
LOGIN: Final = {"username": '"ann"', "password": '"wonderland"'}
USERS: Final = {"ann": "wonderland"}
QUIET: Final = {"probe_interval": '"0s"'}


@pytest.fixture
def documented() -> Iterator[dict[str, MockRegistry]]:
    """A registry that behaves as each of the public ones, with the same image."""
    with ExitStack() as stack:
        registries = {name: stack.enter_context(MockRegistry()) for name in PRESETS}
        for name, registry in registries.items():
            registry.add_image(NAME, "1", seed=f"of {name}")
            registry.preset(name, users=USERS)
        yield registries


def test_an_image_of_every_registry_is_there_when_all_are_gone(
    start_mirror: StartMirror, documented: dict[str, MockRegistry]
) -> None:
    """BE-01 … BE-06: tokens, Basic, redirects of blobs and manifests, HEAD that is refused."""
    hosts = {name: f"{number}.test" for number, name in enumerate(documented)}
    tables = [
        upstream_table(registry, name=hosts[name], settings=QUIET | LOGIN)
        for name, registry in documented.items()
    ]
    mirror = start_mirror(more="\n".join(tables))
    images = {}
    for name, registry in documented.items():
        images[name] = registry.add_image(NAME, "1", seed=f"of {name}")
        assert_pulls(mirror, images[name], registry, NAME, hosts[name])
    for registry in documented.values():
        registry.stop()
    for name, image in images.items():
        assert mirror.pull(NAME, "1", upstream=hosts[name]).body == image.manifest, name


def test_docker_hub_by_two_names_is_one_entry_and_its_limit_is_told(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """BE-01: Docker Hub's realm, its redirect and its 429."""
    hub = registry.preset("docker.io")
    image = registry.add_image(NAME, "1")
    registry.fault(Quota(1), path="*/manifests/*", times=None)
    more = upstream_table(registry, name="docker.io", settings=QUIET)
    mirror = start_mirror(more=more, cache={"rate_limit_floor": "0"})
    for host in ("docker.io", "registry.hub.docker.com"):
        assert_pulls(mirror, image, registry, NAME, host)
    assert hub.tokens is not None
    assert hub.storage is not None
    assert len(hub.tokens.requests) == 1
    for blob in image.blobs:
        assert hub.storage.count("GET", f"/objects/sha256/{blob.digest.hex}") == 1
    assert cache_of(mirror).linked(f"docker.io/{NAME}") >= {str(b.digest) for b in image.blobs}
    other = registry.add_image(NAME, "2")
    refused = mirror.manifest(NAME, "2", upstream="registry.hub.docker.com")
    assert refused.status == 429
    assert refused.json()["errors"][0]["code"] == "TOOMANYREQUESTS"
    assert str(other.digest) not in cache_of(mirror).states()
    labels = {"upstream": "docker.io"}
    remaining = "entrepot_upstream_rate_limit_remaining"
    wait_until(lambda: metric(mirror, remaining, labels) == 0.0)


@pytest.mark.parametrize("auth", ["auto", "basic"])
def test_cloudflares_two_registries_take_a_token_as_password(
    start_mirror: StartMirror, registry: MockRegistry, auth: str
) -> None:
    """BE-02: names begin with an account; Workers' registry, whose blobs are elsewhere, too."""
    token = "eyJhbGciOi.J9eyJzdWIi.c2ln"
    name = "0123456789abcdef/app"
    image = registry.add_image(name, "1")
    registry.require_basic({"acct": token}, realm="cloudflare")
    cdn = registry.other_origin(refuse_authorization=True)
    registry.fault(RedirectTo(cdn), method="GET", path="*/blobs/*", times=None)
    settings = QUIET | {"username": '"acct"', "password": f'"{token}"', "auth": f'"{auth}"'}
    tables = [
        upstream_table(registry, name="registry.cloudflare.com", settings=settings),
        upstream_table(
            registry,
            name="images.test",
            settings=settings | {"preset": '"serverless-registry"'},
        ),
    ]
    mirror = start_mirror(more="\n".join(tables))
    for host in ("registry.cloudflare.com", "images.test"):
        assert_pulls(mirror, image, registry, name, host)
    assert cdn.requests
    assert {one.authorization for one in cdn.requests} == {None}
    assert token not in mirror.log()


def test_ranchers_names_come_from_another_namespace(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """BE-04: by any spelling, and what is not Rancher's keeps its name."""
    shell = registry.add_image("mirror/rancher/shell", "1")
    other = registry.add_image("other/shell", "1")
    settings = QUIET | {"rewrites": '["rancher/*=mirror/rancher/*"]'}
    table = upstream_table(registry, name="registry.rancher.com", settings=settings)
    mirror = start_mirror(more=table)
    assert_pulls(mirror, shell, registry, "rancher/shell", "registry.rancher.com")
    assert_pulls(mirror, other, registry, "other/shell", "registry.rancher.com")
    with mirror.client() as client:
        for path in ("/registry.rancher.com/v2/rancher/shell", "/v2/rancher/shell"):
            query = "?ns=registry.rancher.com" if path.startswith("/v2") else ""
            answer = client.get(f"{path}/manifests/1{query}", {"Accept": MANIFESTS})
            assert answer.body == shell.manifest
    assert registry.count("*", "/v2/rancher/*") == 0


def test_artifactory_in_six_layouts_gives_the_same_image(start_mirror: StartMirror) -> None:
    """BE-05: where `artifactory_place` says that it is asked; the blobs are stored once."""
    key, api = "docker-local", "/artifactory/api/docker/docker-local"
    with MockRegistry() as plain, MockRegistry() as below:
        for name in (NAME, f"{key}/{NAME}"):
            image = plain.add_image(name, "1", seed="same")
        below.add_image(NAME, "1", seed="same")
        plain.preset("artifactory", users=USERS)
        realm = TokenFlavour(path=f"{api}/v2/token", service="art", post_refused=405)
        below.require_token(realm, users=USERS)
        below.fault(
            Below(api), times=None, when=lambda request: not request.path.endswith("/token")
        )
        places = {
            layout: artifactory_place(layout, f"{host}:{registry.port}", key)  # type: ignore[arg-type]
            for layout, host, registry in (
                ("cloud", "acme.jfrog.localhost", plain),
                ("cloud-sub-domain", "acme.jfrog.localhost", plain),
                ("path", "art.localhost", below),
                ("repository-path", "art.localhost", plain),
                ("sub-domain", "art.localhost", plain),
                ("port", "art.localhost", plain),
            )
        }
        tables = []
        for layout, place in places.items():
            url = place.endpoint.replace("https:", "http:")
            rewrites = ", ".join(f'"{one}"' for one in place.rewrites)
            tables.append(
                f'[upstreams."{layout}.test"]\nendpoints = ["{url}"]\ninsecure = true\n'
                f'preset = "artifactory"\nprobe_interval = "0s"\nrewrites = [{rewrites}]\n'
                'username = "ann"\npassword = "wonderland"\n'
            )
        mirror = start_mirror(more="\n".join(tables))
        for layout in places:
            assert_pulls(mirror, image, plain, NAME, f"{layout}.test")
        asked = {
            str(one.header("host")).partition(":")[0]
            for registry in (plain, below)
            for one in registry.matching(path="*/manifests/*")
        }
        assert asked == {
            "acme.jfrog.localhost",
            "acme-docker-local.jfrog.localhost",
            "art.localhost",
            "docker-local.art.localhost",
        }
        for blob in image.blobs:
            gets = [
                one.count("GET", f"*/blobs/{blob.digest}", status=200) for one in (plain, below)
            ]
            # Stored once; but each upstream has to show once that it really has the content.
            assert sum(gets) == len(places)
        for layout in places:
            assert_pulls(mirror, image, plain, NAME, f"{layout}.test")
        for blob in image.blobs:
            gets = [
                one.count("GET", f"*/blobs/{blob.digest}", status=200) for one in (plain, below)
            ]
            assert sum(gets) == len(places), "and never again"
