"""Every client pulls through a mirror with the configuration that the mirror prints: first what is
not there yet, then with the registries stopped.

The registries behave as Docker Hub's and Quay's protocols are documented. Without a network, who
does not come through the mirror gets nothing.
"""

import json
import shlex
import tomllib
from collections.abc import Iterator
from functools import partial
from typing import Final

import pytest
import yaml

from entrepot.oci.reference import Reference
from entrepot.testing import MockImage, MockRegistry
from tests.interop.images import HERE
from tests.interop.mirror_clients import (
    MIRROR_CLIENTS,
    Layers,
    MirroredContainerd,
    printed,
    printed_file,
    put_below,
)
from tests.interop.sandbox import Sandbox
from tests.interop.servers import stop
from tests.mirrors import RunningMirror, upstream_table
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

HUB, QUAY = "docker.io", "quay.io"
NAME, TAG = "library/alpine", "3"
PLATFORMS: Final = (f"linux/{HERE}", "linux/s390x")
DEFAULT_HUB: Final = f'[proxy]\ndefault_registry = "{HUB}"\n'


class Registries:
    """Two registries with an image of the same name each, and a mirror of both."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.registries = {HUB: MockRegistry(), QUAY: MockRegistry()}
        self.images: dict[str, MockImage] = {}
        for name, registry in self.registries.items():
            registry.preset(name)
            self.images[name] = registry.add_index(NAME, TAG, platforms=PLATFORMS, seed=name)
        tables = [upstream_table(one, name=name) for name, one in self.registries.items()]
        self.mirror = RunningMirror(
            sandbox.folder / "mirror", more="\n".join([DEFAULT_HUB, *tables])
        )

    def layers(self, name: str) -> Layers:
        """Return the layers that a pull of a registry's image has to bring here."""
        image = self.images[name].children[0]
        config = json.loads(self.registries[name].blob(image.blobs[0].digest))
        return tuple(config["rootfs"]["diff_ids"])

    def stop(self) -> None:
        """Stop both registries; the mirror is left alone."""
        for registry in self.registries.values():
            registry.stop()

    def targets(self, method: str = "GET") -> list[str]:
        """Return the paths and queries that the mirror has answered with content so far."""
        lines = [line for line in self.mirror.log().splitlines() if line.endswith("}")]
        requests = [one for one in map(json.loads, lines) if one["event"] == "request"]
        return [
            one["target"] for one in requests if one["method"] == method and one["status"] < 300
        ]

    def layers_served_twice(self, name: str) -> bool:
        """Say whether each layer of a registry's image went through the mirror twice."""
        digests = [target.partition("?")[0].rpartition("/")[2] for target in self.targets()]
        layers = [str(one.digest) for one in self.images[name].children[0].layers]
        return all(digests.count(layer) == 2 for layer in layers)


@pytest.fixture
def registries(sandbox: Sandbox) -> Iterator[Registries]:
    started = Registries(sandbox)
    yield started
    started.stop()
    stop(started.mirror)


@pytest.mark.parametrize("name", MIRROR_CLIENTS)
def test_pulls_cold_and_with_the_registries_stopped(
    registries: Registries, sandbox: Sandbox, name: str
) -> None:
    """PX-01: one endpoint, many registries; CA-01 and CA-02: what was pulled stays; HA-05."""
    with MIRROR_CLIENTS[name](sandbox, registries.mirror) as client:
        names = [HUB] if client.HUB_ONLY else [HUB, QUAY]
        for registry in names:
            pulled = client.pull(f"{registry}/{NAME}:{TAG}")
            assert pulled == registries.layers(registry)
            for layer in registries.images[registry].children[0].layers:
                assert registries.registries[registry].count("GET", f"*/blobs/{layer.digest}") == 1
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
