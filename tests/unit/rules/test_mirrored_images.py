"""How operators name images of other registries, and what the cache calls them."""

import pytest

from entrepot.oci.errors import Denied, NameInvalid, NameUnknown, RegistryError, TagInvalid
from entrepot.oci.reference import RepositoryName
from entrepot.rules.mirrored_images import mirrored_image, mirrored_repository
from entrepot.rules.source_routing import Route, RoutingTable

DIGEST = f"sha256:{'a' * 64}"

TABLE = RoutingTable.of(
    [
        Route.of("docker.io"),
        Route.of("quay.io", deny=["secret/*"]),
        Route.of("tools", aliases=["t"], rewrites=["rancher/*=mirrored/*"]),
        Route.of("127.0.0.1:5000"),
        Route.of("elsewhere.test", mode="redirect"),
    ],
    default="docker.io",
    hosted=["ours/*"],
)

NAMED = {
    "alpine": "docker.io/library/alpine:latest",
    "alpine:3": "docker.io/library/alpine:3",
    "acme/app:1": "docker.io/acme/app:1",
    "docker.io/alpine:3": "docker.io/library/alpine:3",
    "index.docker.io/library/alpine:3": "docker.io/library/alpine:3",
    "docker://docker.io/library/alpine:3": "docker.io/library/alpine:3",
    "quay.io/prometheus/node-exporter:v1": "quay.io/prometheus/node-exporter:v1",
    "tools/x:1": "tools/x:1",
    "t/rancher/x:1": "tools/mirrored/x:1",
    "127.0.0.1:5000/a/b:1": "127.0.0.1:5000/a/b:1",
    f"alpine:3@{DIGEST}": f"docker.io/library/alpine@{DIGEST}",
}


@pytest.mark.parametrize("text", NAMED)
def test_a_name_goes_the_way_of_a_pull(text: str) -> None:
    assert str(mirrored_image(TABLE, text)) == NAMED[text]


def test_a_name_without_a_tag_names_nothing_but_the_repository() -> None:
    assert mirrored_image(TABLE, "alpine").named is None
    assert mirrored_image(TABLE, "alpine:latest").named == "latest"


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("nowhere.test/x:1", Denied, "entrepot upstream add nowhere.test"),
        ("quay.io/secret/x", Denied, "deny"),
        ("ours/x:1", NameInvalid, "hosted here"),
        ("elsewhere.test/x:1", NameInvalid, "mode"),
        ("Alpine", NameInvalid, "lower-case"),
        ("alpine:!", TagInvalid, "tag"),
        ("alpine@sha256:12", NameInvalid, "sha256:12"),
    ],
)
def test_what_is_no_name_here_is_told(text: str, error: type[RegistryError], told: str) -> None:
    with pytest.raises(error, match=told):
        mirrored_image(TABLE, text)


@pytest.mark.parametrize(
    ("host", "name", "repository"),
    [
        ("docker.io", "alpine", "docker.io/library/alpine"),
        ("registry-1.docker.io:443", "acme/app", "docker.io/acme/app"),
        ("QUAY.IO", "secret/x", "quay.io/secret/x"),
        ("tools", "rancher/x", "tools/rancher/x"),
        ("elsewhere.test", "x", None),
    ],
)
def test_a_registry_names_its_repositories_itself(
    host: str, name: str, repository: str | None
) -> None:
    """CA-06: rules for clients (deny, rewrites) do not count in what a registry tells."""
    assert mirrored_repository(TABLE, host, RepositoryName(name)) == repository


@pytest.mark.parametrize("host", ["", "nowhere.test"])
def test_an_unknown_registry_is_told_how_to_name_one(host: str) -> None:
    with pytest.raises(NameUnknown, match="upstream=NAME"):
        mirrored_repository(TABLE, host, RepositoryName("x"))


def test_an_open_table_takes_the_word_of_any_host() -> None:
    table = RoutingTable.of([], open=True)
    assert mirrored_repository(table, "nowhere.test", RepositoryName("x")) == "nowhere.test/x"
