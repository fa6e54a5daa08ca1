"""Every client pulls through a mirror with the configuration that the mirror prints: first what is
not there yet, then with the registries stopped.

The registries behave as Docker Hub's and Quay's protocols are documented. Without a network, who
does not come through the mirror gets nothing.
"""

import shlex
import tomllib
from collections.abc import Iterator
from functools import partial

import pytest
import yaml

from entrepot.oci.reference import Reference
from tests.certificates import Certificate
from tests.interop.mirror_clients import (
    MIRROR_CLIENTS,
    MirroredContainerd,
    printed,
    printed_file,
    put_below,
)
from tests.interop.mirrored_registries import HUB, NAME, QUAY, TAG, Registries
from tests.interop.sandbox import Sandbox
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def registries(sandbox: Sandbox) -> Iterator[Registries]:
    with Registries(sandbox.folder / "mirror") as started:
        yield started


@pytest.mark.parametrize("name", MIRROR_CLIENTS)
def test_pulls_cold_and_with_the_registries_stopped(
    registries: Registries, sandbox: Sandbox, name: str
) -> None:
    """PX-01: one endpoint, many registries; CA-01 and CA-02: what was pulled stays; HA-05."""
    assert_pulls_twice(registries, sandbox, name)


@pytest.mark.real("openssl")
@pytest.mark.parametrize("name", [name for name in MIRROR_CLIENTS if name != "docker-build"])
def test_pulls_from_a_mirror_with_tls(
    sandbox: Sandbox, certificate: Certificate, name: str
) -> None:
    """The same over TLS, by HTTP/2 where the client can: all that it needs is to trust. The
    BuildKit inside dockerd speaks plain HTTP to loopback, whatever its mirror's URL says."""
    sandbox.environment["SSL_CERT_FILE"] = str(certificate.certificate)
    with Registries(sandbox.folder / "mirror", certificate=certificate) as registries:
        assert_pulls_twice(registries, sandbox, name)


def assert_pulls_twice(registries: Registries, sandbox: Sandbox, name: str) -> None:
    """Fail unless a client pulls what is not there yet, and again with the registries stopped."""
    with MIRROR_CLIENTS[name](sandbox, registries.mirror) as client:
        names = [HUB] if client.HUB_ONLY else [HUB, QUAY]
        for registry in names:
            pulled = client.pull(f"{registry}/{NAME}:{TAG}")
            assert pulled == registries.layers(registry)
            assert registries.layers_fetched(registry) == [1, 1], "how often each"
        registries.stop()
        client.forget()
        for registry in names:
            assert client.pull(f"{registry}/{NAME}:{TAG}") == registries.layers(registry)
            wait_until(partial(registries.layers_served_twice, registry))


@pytest.mark.real("buildkitd", "buildctl", "containerd", "ctr")
@pytest.mark.parametrize("name", ["containerd", "buildkit"])
def test_ns_is_what_it_is_asked_with(registries: Registries, sandbox: Sandbox, name: str) -> None:
    """PX-01: the registry stands in the path and in `ns`, which agree."""
    with MIRROR_CLIENTS[name](sandbox, registries.mirror) as client:
        client.pull(f"{QUAY}/{NAME}:{TAG}")
    layer = registries.images[QUAY].children[0].layers[0].digest
    path = {"containerd": f"/{QUAY}/v2/{NAME}", "buildkit": f"/v2/{QUAY}/{NAME}"}[name]
    wait_until(lambda: f"{path}/blobs/{layer}?ns={QUAY}" in registries.targets())


@pytest.mark.real("containerd", "ctr")
@pytest.mark.parametrize("host", ["{url}", "{url}/v2/{name}"], ids=["ns alone", "as k3s has it"])
def test_other_hosts_toml(registries: Registries, sandbox: Sandbox, host: str) -> None:
    """PX-01: people write the mirror without a path, and `ns` tells the registry. k3s, which does
    not run here, makes such a file with `override_path` of what its `registries.yaml` says."""
    url = registries.mirror.url
    endpoints = yaml.safe_load(printed_file(registries.mirror, "k3s"))["mirrors"]
    with MirroredContainerd(sandbox, registries.mirror) as client:
        for name in (HUB, QUAY):
            place = host.format(url=url, name=name)
            override = endpoints[name]["endpoint"] == [place]
            text = f'[host."{place}"]\n  override_path = {str(override).lower()}\n'
            put_below(sandbox.folder, {f"etc/containerd/certs.d/{name}/hosts.toml": text})
            assert client.pull(f"{name}/{NAME}:{TAG}") == registries.layers(name)


def test_k3s_is_told_every_registry(registries: Registries) -> None:
    """PX-01, by the text alone: k3s does not run here. Its documentation has, for each registry
    under `mirrors`, a list `endpoint` of URLs whose path is kept if there is one."""
    document = yaml.safe_load(printed_file(registries.mirror, "k3s"))
    assert document.keys() == {"mirrors"}
    url = registries.mirror.url
    assert document["mirrors"] == {name: {"endpoint": [f"{url}/v2/{name}"]} for name in (HUB, QUAY)}
    for name in (HUB, QUAY):
        path = document["mirrors"][name]["endpoint"][0].removeprefix(url)
        with registries.mirror.client() as http:
            answer = http.request("GET", f"{path}/{NAME}/manifests/{TAG}?ns={name}")
        assert answer.body == registries.images[name].manifest


def test_kaniko_is_told_every_registry(registries: Registries) -> None:
    """PX-01, by the text alone: kaniko does not run here. Its README has `--registry-mirror` for
    Docker Hub and `--registry-map=REGISTRY=MIRROR` for others, each mirror with a path, and puts
    the name of an image behind it."""
    words = shlex.split(printed_file(registries.mirror, "kaniko"))
    flags = [word.removeprefix("--").split("=", 1) for word in words]
    host = registries.mirror.host
    assert flags == [
        ["registry-mirror", f"{host}/{HUB}"],
        ["registry-map", f"{QUAY}={host}/{QUAY}"],
        ["insecure-registry", host],
    ]
    for name, mirror in ((HUB, flags[0][1]), (QUAY, flags[1][1].partition("=")[2])):
        reference = Reference.parse(f"{mirror}/{NAME}:{TAG}")
        with registries.mirror.client() as http:
            path = f"/v2/{reference.repository}/manifests/{reference.tag}"
            answer = http.request("GET", path)
        assert answer.body == registries.images[name].manifest


def test_crio_reads_what_podman_reads(registries: Registries) -> None:
    """By the text alone: CRI-O does not run here, and reads the same drop-in."""
    (path,) = printed(registries.mirror, "podman")
    assert path.startswith("/etc/containers/registries.conf.d/")
    assert path.endswith(".conf")
    table = tomllib.loads(printed_file(registries.mirror, "podman"))
    host = registries.mirror.host
    assert table["registry"] == [
        {
            "prefix": name,
            "location": name,
            "mirror": [{"location": f"{host}/{name}", "insecure": True}],
        }
        for name in (HUB, QUAY)
    ]
