"""The `config.yaml` of oci-proxy starts this server unchanged, and what stood around that program
finds what it knows: health, statistics, the one user, and blobs alone in the cache."""

import base64
import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from entrepot.oci.descriptor import Descriptor
from entrepot.testing import MockImage, MockRegistry
from tests.http_client import Response
from tests.interop.clients import require_root
from tests.interop.configured_server import ConfiguredServer
from tests.interop.images import HERE
from tests.interop.mirror_clients import started_daemon
from tests.interop.sandbox import Sandbox
from tests.interop.servers import stop

pytestmark = pytest.mark.slow

USER, PASSWORD = "admin", "front-secret"
LAYER_SIZE: Final = 200_000
LOGIN: Final = {
    "Authorization": f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
}

CONFIG: Final = """\
port: {port}
log_level: warn
whitelist_mode: true
default_registry: {upstream}
base_url: http://127.0.0.1:{port}

auth:
  username: admin
  password: front-secret

defaults:
  cache_dir: ./cache
  cache_max_size: 1g
  upstream_proxy: http://127.0.0.1:9
  follow_redirects: true
  insecure: false

registries:
  {upstream}:
    auth:
      username: robot
      password: upstream-secret
    cache_dir: ./cache-of-its-own
    cache_max_size: 500k
    upstream_proxy: none
    follow_redirects: true
    insecure: true
  registry-1.docker.io:
    auth:
      username: someone
      password: hub-secret
    cache_max_size: 500m
  ghcr.io:
    upstream_proxy: socks5://user:proxy-secret@127.0.0.1:9
    cache_max_size: 1024k
"""
"""Every key that the program's README names."""


@pytest.fixture
def upstream() -> Iterator[MockRegistry]:
    """A registry that lets a robot in, and keeps its blobs elsewhere."""
    with MockRegistry() as registry:
        registry.preset("quay.io", users={"robot": "upstream-secret"})
        yield registry


@pytest.fixture
def image(upstream: MockRegistry) -> MockImage:
    """An image of which two layers fit into the cache, and three do not."""
    return upstream.add_image(
        "team/app", "1", layers=3, layer_size=LAYER_SIZE, platform=f"linux/{HERE}"
    )


@pytest.fixture
def server(sandbox: Sandbox, upstream: MockRegistry) -> Iterator[ConfiguredServer]:
    text = CONFIG.replace("{upstream}", upstream.host)
    server = ConfiguredServer(sandbox.folder / "proxy", file=text)
    yield server
    stop(server)


def asked(server: ConfiguredServer, path: str, login: bool = True) -> Response:
    with server.client() as client:
        return client.request("GET", path, headers=LOGIN if login else {})


def statistics(server: ConfiguredServer) -> Any:
    answer = asked(server, "/_/stats")
    assert answer.status == 200, str(answer)
    return answer.json()


def test_it_starts_and_tells_how_it_is(server: ConfiguredServer, upstream: MockRegistry) -> None:
    """PX-05 and PX-08: health for everybody, statistics for the user, a host for each registry."""
    healthy = asked(server, "/_/health", login=False)
    assert (healthy.status, healthy.json()) == (200, {"status": "healthy"})
    refused = asked(server, "/_/stats", login=False)
    assert refused.status == 401
    assert (refused.header("www-authenticate") or "").startswith("Basic ")
    empty = {"Hits": 0, "Misses": 0, "Evictions": 0, "Items": 0, "CurrentSize": 0}
    assert statistics(server) == {
        upstream.host: empty | {"MaxSize": 500 * 1024},
        "registry-1.docker.io": empty | {"MaxSize": 500 * 1024**2},
        "ghcr.io": empty | {"MaxSize": 1024 * 1024},
    }


def test_other_registries_are_refused(server: ConfiguredServer, upstream: MockRegistry) -> None:
    """PX-03: `whitelist_mode`."""
    answer = asked(server, "/v2/quay.io/team/app/manifests/1")
    assert answer.status == 403
    assert answer.json()["errors"][0]["code"] == "DENIED"
    assert "entrepot upstream add quay.io" in answer.body.decode()


def test_statistics_are_those_of_a_script(
    server: ConfiguredServer, upstream: MockRegistry, image: MockImage
) -> None:
    """PX-08: hits, misses and evictions as they were made, least recently used first (CA-03)."""
    first, second, third = image.layers

    def pull(layer: Descriptor) -> None:
        answer = asked(server, f"/v2/{upstream.host}/team/app/blobs/{layer.digest}")
        assert answer.status == 200, str(answer)
        assert answer.body == upstream.blob(layer.digest)

    def told() -> dict[str, int]:
        found: dict[str, int] = statistics(server)[upstream.host]
        return found

    def counted(hits: int, misses: int, evictions: int, *kept: Descriptor) -> dict[str, int]:
        size = sum(layer.size for layer in kept)
        return {
            "Hits": hits,
            "Misses": misses,
            "Evictions": evictions,
            "Items": len(kept),
            "CurrentSize": size,
            "MaxSize": 500 * 1024,
        }

    pull(first)
    pull(second)
    assert told() == counted(0, 2, 0, first, second)
    pull(first)
    pull(third)
    assert told() == counted(1, 3, 1, first, third)
    pull(first)
    pull(second)
    pull(third)
    assert told() == counted(2, 5, 3, second, third)
    before = told()
    server.kill()
    server.start()
    assert told() == before


@pytest.mark.parametrize(
    "client",
    [
        pytest.param("docker", marks=pytest.mark.real("docker", "dockerd")),
        pytest.param("podman", marks=pytest.mark.real("podman")),
    ],
)
def test_clients_log_in_and_pull(
    server: ConfiguredServer,
    sandbox: Sandbox,
    upstream: MockRegistry,
    client: str,
) -> None:
    """PX-02 and PX-03: by names without a registry, which are the default one's. Manifests are
    asked for each time, blobs once."""
    require_root(client)
    small = upstream.add_image("team/small", "1", platform=f"linux/{HERE}")
    name = f"{server.host}/team/small:1"
    daemon = started_daemon(sandbox) if client == "docker" else None
    try:
        pull = [client, "pull", *(["--tls-verify=false"] if client == "podman" else []), name]
        refused = sandbox.fails(*pull).lower()
        assert "unauthorized" in refused or "no basic auth credentials" in refused, refused
        login = [*pull[:1], "login", *pull[2:-1], "-u", USER, "--password-stdin", server.host]
        sandbox.run("sh", "-euc", f"echo {PASSWORD} | {' '.join(login)}")
        for times in (1, 2):
            sandbox.run(*pull)
            (told,) = json.loads(sandbox.run(client, "image", "inspect", name))
            assert told["Id"].rpartition(":")[2] == str(small.blobs[0].digest).rpartition(":")[2]
            sandbox.run(client, "rmi", "--force", name)
            usage = statistics(server)[upstream.host]
            assert (usage["Hits"], usage["Misses"]) == (3 * (times - 1), 3)
            for blob in small.blobs:
                assert upstream.count("GET", f"/v2/team/small/blobs/{blob.digest}") == 1
            assert upstream.count("*", "/v2/team/small/manifests/*") >= times
    finally:
        if daemon is not None:
            daemon.stop()
