"""Client configuration: each text in its client's format, each path where that client wants it."""

import json
import tomllib
from typing import Final

import pytest
import yaml

from entrepot.services.client_configuration import (
    buildkit,
    configurations,
    containerd,
    dockerd,
    k3s,
    kaniko,
    podman,
)

PLAIN: Final = "http://mirror.lan:5000"
SECURE: Final = "https://mirror.example.com"
UPSTREAMS: Final = ("docker.io", "quay.io")


def test_docker_mirrors_docker_hub_by_a_path() -> None:
    assert json.loads(dockerd(SECURE, UPSTREAMS)) == {
        "registry-mirrors": ["https://mirror.example.com/docker.io"]
    }


def test_docker_needs_no_path_where_docker_hub_is_the_default() -> None:
    """Docker before 24.0.8 refuses a mirror with a path."""
    assert json.loads(dockerd(PLAIN, UPSTREAMS, "docker.io")) == {
        "registry-mirrors": ["http://mirror.lan:5000"],
        "insecure-registries": ["mirror.lan:5000"],
    }


def test_docker_mirrors_nothing_else() -> None:
    assert json.loads(dockerd(SECURE, ("quay.io",))) == {}
    assert json.loads(dockerd(SECURE, ("quay.io",), "quay.io")) == {}


def test_containerd_has_a_file_for_each_registry() -> None:
    files = containerd(PLAIN, UPSTREAMS)
    assert [*files] == [
        "/etc/containerd/certs.d/docker.io/hosts.toml",
        "/etc/containerd/certs.d/quay.io/hosts.toml",
    ]
    hub, quay = (tomllib.loads(text) for text in files.values())
    assert hub["server"] == "https://registry-1.docker.io"
    assert quay == {
        "server": "https://quay.io",
        "host": {"http://mirror.lan:5000/quay.io": {"capabilities": ["pull", "resolve"]}},
    }


@pytest.mark.parametrize(
    ("address", "mirror"),
    [
        (PLAIN, {"location": "mirror.lan:5000/quay.io", "insecure": True}),
        (SECURE, {"location": "mirror.example.com/quay.io"}),
    ],
)
def test_podman_has_a_mirror_for_each_registry(address: str, mirror: dict[str, object]) -> None:
    hub, quay = tomllib.loads(podman(address, UPSTREAMS))["registry"]
    assert (hub["prefix"], hub["location"]) == ("docker.io", "docker.io")
    assert quay["mirror"] == [mirror]


def test_buildkit_is_told_of_plain_http() -> None:
    assert tomllib.loads(buildkit(PLAIN, ("docker.io",)))["registry"] == {
        "docker.io": {"mirrors": ["mirror.lan:5000/docker.io"]},
        "mirror.lan:5000": {"http": True},
    }
    assert tomllib.loads(buildkit(SECURE, ("docker.io",)))["registry"] == {
        "docker.io": {"mirrors": ["mirror.example.com/docker.io"]}
    }


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1:5000", "[::1]:5000"])
def test_buildkit_is_told_of_tls_on_its_own_machine(host: str) -> None:
    """It takes plain HTTP for granted there."""
    tables = tomllib.loads(buildkit(f"https://{host}", ("docker.io",)))["registry"]
    assert tables[host] == {"http": False}


def test_k3s_takes_the_whole_path() -> None:
    assert yaml.safe_load(k3s(PLAIN, UPSTREAMS)) == {
        "mirrors": {
            "docker.io": {"endpoint": ["http://mirror.lan:5000/v2/docker.io"]},
            "quay.io": {"endpoint": ["http://mirror.lan:5000/v2/quay.io"]},
        }
    }
    assert yaml.safe_load(k3s(PLAIN, ())) == {"mirrors": {}}


def test_kaniko_is_given_flags() -> None:
    assert kaniko(PLAIN, UPSTREAMS).split() == [
        "--registry-mirror=mirror.lan:5000/docker.io",
        "--registry-map=quay.io=mirror.lan:5000/quay.io",
        "--insecure-registry=mirror.lan:5000",
    ]
    assert "insecure" not in kaniko(SECURE, UPSTREAMS)


def test_a_port_cannot_stand_inside_a_name() -> None:
    names = ("registry.lan:5000",)
    for generate in (podman, buildkit, kaniko):
        assert "registry.lan" not in generate(SECURE, names)
    assert "registry.lan:5000" in k3s(SECURE, names)
    assert [*containerd(SECURE, names)] == ["/etc/containerd/certs.d/registry.lan:5000/hosts.toml"]


def test_a_word_begins_no_image_name() -> None:
    for generate in (podman, buildkit, kaniko):
        assert generate(SECURE, ("corp",)) == ""
    assert containerd(SECURE, ("corp",)) == {}


@pytest.mark.parametrize("name", ["corp", "registry.lan:5000"])
def test_a_name_that_a_client_cannot_use_is_told_in_a_comment(name: str) -> None:
    for one in configurations(PLAIN, (name,))[1:]:
        told = one.text.startswith("# this client takes a registry's host")
        assert told == (name == "corp" or one.client not in ("containerd", "k3s")), one.client
        assert not told or f"none of {name} is" in one.text
    by_client = {one.client: one for one in configurations(PLAIN, (name,))}
    assert tomllib.loads(by_client["podman"].text) == {}
    tomllib.loads(by_client["buildkit"].text)
    assert yaml.safe_load(by_client["k3s"].text)


def test_one_name_that_can_be_used_is_enough() -> None:
    assert not any(one.reason for one in configurations(PLAIN, ("corp", "quay.io")))
    assert "upstream add" in configurations(PLAIN, ())[1].text


def test_every_client_has_its_text() -> None:
    shown = configurations(PLAIN, UPSTREAMS, "docker.io")
    assert [one.client for one in shown] == [
        "dockerd", "containerd", "k3s", "podman", "buildkit", "kaniko",
    ]  # fmt: skip
    for one in shown:
        assert one.title
        assert one.advice
        assert "mirror.lan:5000" in one.text
    assert "# /etc/containerd/certs.d/quay.io/hosts.toml\n" in shown[1].text
    json.loads(shown[0].text)
