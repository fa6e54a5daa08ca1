"""A domain of one's own for images that are elsewhere, as the mission's environment starts it:
clients pull by its name, and are sent to a second registry with TLS that anybody may read."""

import json
from collections.abc import Iterator
from typing import Final

import pytest

from tests.certificates import Certificate
from tests.interop.clients import LAYOUT_CLIENTS, Skopeo, require_root
from tests.interop.configured_server import ConfiguredServer
from tests.interop.layouts import Layout
from tests.interop.mirror_clients import docker_layers, layers_of, started_daemon
from tests.interop.sandbox import Sandbox
from tests.interop.servers import stop
from tests.programs import require_program
from tests.server import RunningServer

pytestmark = [pytest.mark.slow, pytest.mark.real("openssl", "skopeo")]

PREFIX: Final = "project/images"


@pytest.fixture
def trusting(sandbox: Sandbox, certificate: Certificate) -> Sandbox:
    """A machine that trusts the second registry's certificate."""
    sandbox.environment["SSL_CERT_FILE"] = str(certificate.certificate)
    return sandbox


@pytest.fixture
def pushed(trusting: Sandbox, tls_server: RunningServer, multi_platform: Layout) -> Layout:
    """The image `img:1`, in the second registry."""
    target = f"{tls_server.host}/{PREFIX}/img:1"
    Skopeo(trusting, encrypted=True).upload(multi_platform, target)
    return multi_platform


@pytest.fixture(params=["http", "https"])
def domain(
    request: pytest.FixtureRequest,
    sandbox: Sandbox,
    tls_server: RunningServer,
    certificate: Certificate,
    pushed: Layout,
) -> Iterator[ConfiguredServer]:
    """RD-01: what `UpstreamRegistry` and `PORT` start, with and without TLS of its own."""
    encrypted = request.param == "https"
    server = ConfiguredServer(
        sandbox.folder / "domain",
        environment={
            "UpstreamRegistry": f"https://{tls_server.host}/v2/{PREFIX}/",
            "PORT": "{port}",
        },
        settings=certificate.settings() if encrypted else None,
        tls=certificate.client() if encrypted else None,
    )
    yield server
    stop(server)


def test_is_healthy_and_answers_v2_itself(domain: ConfiguredServer, trusting: Sandbox) -> None:
    """RD-01 and RD-02: `/healthz` and `/v2/` are 200, whatever there is upstream."""
    require_program("curl")
    for path in ("/healthz", "/v2/", "/"):
        told = trusting.run(
            "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", domain.url + path
        )
        assert told == "200"


@pytest.mark.real("docker", "dockerd")
def test_dockerd_is_sent_there(domain: ConfiguredServer, trusting: Sandbox, pushed: Layout) -> None:
    """RD-02: dockerd pulls `127.0.0.1:P/img:1`, which is at the second registry."""
    daemon = started_daemon(trusting)
    try:
        trusting.run("docker", "pull", f"{domain.host}/img:1")
        assert docker_layers(trusting, f"{domain.host}/img:1") == layers_of(pushed)
    finally:
        daemon.stop()


@pytest.mark.parametrize(
    "client",
    [
        pytest.param("docker", marks=pytest.mark.real("docker", "dockerd")),
        pytest.param("podman", marks=pytest.mark.real("podman")),
    ],
)
def test_the_pages_line_pulls(
    domain: ConfiguredServer, trusting: Sandbox, pushed: Layout, client: str
) -> None:
    """RD-04: what the page prints for an image does that, pasted into a shell."""
    require_root(client)
    require_program("curl")
    asked = f"{domain.url}/_/commands?image=img:1&client={client}"
    line = trusting.run("curl", "-sS", "--fail", asked)
    assert line.startswith(f"{client} pull ")
    daemon = started_daemon(trusting) if client == "docker" else None
    try:
        trusting.run("sh", "-euc", line)
        (told,) = json.loads(trusting.run(client, "image", "inspect", f"{domain.host}/img:1"))
        assert tuple(told["RootFS"]["Layers"]) == layers_of(pushed)
    finally:
        if daemon is not None:
            daemon.stop()


@pytest.mark.real("podman")
def test_podman_is_sent_there(domain: ConfiguredServer, trusting: Sandbox, pushed: Layout) -> None:
    """RD-02. With TLS on both sides it verifies both."""
    require_root("podman")
    verify = f"--tls-verify={str(domain.url.startswith('https')).lower()}"
    trusting.run("podman", "pull", verify, f"{domain.host}/img:1")
    (told,) = json.loads(trusting.run("podman", "image", "inspect", f"{domain.host}/img:1"))
    assert tuple(told["RootFS"]["Layers"]) == layers_of(pushed)


@pytest.mark.parametrize("client", LAYOUT_CLIENTS)
def test_others_are_sent_there(
    domain: ConfiguredServer, trusting: Sandbox, pushed: Layout, client: str
) -> None:
    """RD-02."""
    require_program(client)
    copier = LAYOUT_CLIENTS[client](trusting, encrypted=domain.url.startswith("https"))
    pulled = copier.download(f"{domain.host}/img:1", "pulled")
    assert pulled.contents(pulled.find()) == pushed.contents(pushed.find())
