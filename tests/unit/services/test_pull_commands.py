"""Pull commands: three lines, as the mission has them, for any name that clients take (UX-03)."""

from typing import Final, cast

import pytest

from entrepot.oci.errors import RegistryError
from entrepot.services.pull_commands import Client, Names, commands, hosted_names, mirrored_names

HERE: Final = "https://proxy.example.com"
DIGEST: Final = "sha256:" + "0" * 64


def test_they_are_the_missions_three_lines() -> None:
    assert commands(HERE, mirrored_names(HERE, "ubuntu:latest", "docker", "docker.io")) == (
        "docker pull proxy.example.com/ubuntu:latest && \\\n"
        "docker tag proxy.example.com/ubuntu:latest ubuntu:latest && \\\n"
        "docker rmi proxy.example.com/ubuntu:latest"
    )


NAMED: Final = [
    # asked for, default registry, pulled, wanted
    ("ubuntu", "docker.io", "ubuntu:latest", "ubuntu:latest"),
    ("ubuntu", "", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
    ("acme/app:1", "", "docker.io/acme/app:1", "acme/app:1"),
    ("acme/app:1", "docker.io", "acme/app:1", "acme/app:1"),
    ("quay.io/acme/app:1", "docker.io", "quay.io/acme/app:1", "quay.io/acme/app:1"),
    ("docker.io/library/ubuntu", "", "docker.io/library/ubuntu:latest",
     "docker.io/library/ubuntu:latest"),
    (f"quay.io/acme/app:1@{DIGEST}", "", f"quay.io/acme/app@{DIGEST}", "quay.io/acme/app:1"),
    (f"ubuntu@{DIGEST}", "docker.io", f"ubuntu@{DIGEST}", ""),
    ("  docker://quay.io/acme/app ", "", "quay.io/acme/app:latest", "quay.io/acme/app:latest"),
    ("proxy.example.com/quay.io/acme/app:1", "", "quay.io/acme/app:1", "quay.io/acme/app:1"),
]  # fmt: skip


@pytest.mark.parametrize(("image", "default", "pulled", "wanted"), NAMED)
def test_a_name_leads_through_here(image: str, default: str, pulled: str, wanted: str) -> None:
    names = mirrored_names(HERE, image, "docker", default)
    assert names == Names(f"proxy.example.com/{pulled}", wanted)


@pytest.mark.parametrize(
    ("image", "default", "wanted"),
    [
        ("ubuntu", "docker.io", "docker.io/library/ubuntu:latest"),
        ("ubuntu", "", "docker.io/library/ubuntu:latest"),
        ("acme/app", "quay.io", "quay.io/acme/app:latest"),
        ("quay.io/acme/app:1", "docker.io", "quay.io/acme/app:1"),
    ],
)
def test_podman_is_given_the_full_name(image: str, default: str, wanted: str) -> None:
    """It would keep a short one below localhost/."""
    assert mirrored_names(HERE, image, "podman", default).wanted == wanted


@pytest.mark.parametrize(
    ("client", "pull"),
    [
        ("docker", "docker pull lan:5000/x:1"),
        ("podman", "podman pull --tls-verify=false lan:5000/x:1"),
        ("nerdctl", "nerdctl --insecure-registry pull lan:5000/x:1"),
    ],
)
def test_plain_http_has_to_be_allowed(client: str, pull: str) -> None:
    names = Names("lan:5000/x:1", "x:1")
    lines = commands("http://lan:5000", names, cast(Client, client)).split(" && \\\n")
    assert lines == [pull, f"{client} tag lan:5000/x:1 x:1", f"{client} rmi lan:5000/x:1"]
    assert "=false" not in commands("https://lan:5000", names, cast(Client, client))


def test_what_a_digest_alone_names_keeps_its_name() -> None:
    shown = commands(HERE, mirrored_names(HERE, f"quay.io/a@{DIGEST}"))
    assert shown == f"docker pull proxy.example.com/quay.io/a@{DIGEST}"


@pytest.mark.parametrize("image", ["app:1", "proxy.example.com/app:1"])
def test_what_is_hosted_here_has_its_name_from_here(image: str) -> None:
    assert commands(HERE, hosted_names(HERE, image)) == "docker pull proxy.example.com/app:1"


@pytest.mark.parametrize(
    "image",
    [
        "", "UPPER", "a b", "a;rm -rf /", "$(id)", "a`id`", "<b>", "x:", "x@sha256:0", "a&&b",
        "registry.lan:5000/app", "-v", "../x",
    ],
)  # fmt: skip
def test_what_is_no_name_becomes_no_command(image: str) -> None:
    with pytest.raises(RegistryError):
        mirrored_names(HERE, image)
