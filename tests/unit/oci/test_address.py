"""Addresses: every transport, what is filled in and what is not, and what is refused."""

import pytest

from entrepot.oci.address import Address, parse_address, registry_host, repository_address
from entrepot.oci.digest import Digest
from entrepot.oci.errors import NameInvalid, TagInvalid
from entrepot.oci.reference import RepositoryName, Tag

DIGEST = Digest.parse("sha256:" + "a" * 64)


def repository(host: str, name: str, tag: str = "", digest: Digest | None = None) -> Address:
    return Address("docker", "", host, RepositoryName(name), Tag(tag) if tag else None, digest)


def local(kind: str, path: str, tag: str = "", digest: Digest | None = None) -> Address:
    return Address(kind, path, tag=Tag(tag) if tag else None, digest=digest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("alpine", repository("docker.io", "library/alpine")),
        ("alpine:3", repository("docker.io", "library/alpine", "3")),
        ("grafana/grafana", repository("docker.io", "grafana/grafana")),
        ("docker:27", repository("docker.io", "library/docker", "27")),
        ("docker/compose", repository("docker.io", "docker/compose")),
        ("index.docker.io/alpine", repository("docker.io", "library/alpine")),
        ("registry.hub.docker.com/library/alpine", repository("docker.io", "library/alpine")),
        ("docker://ghcr.io/a/b:1", repository("ghcr.io", "a/b", "1")),
        ("localhost/a", repository("localhost", "a")),
        ("localhost:5000/a:b", repository("localhost:5000", "a", "b")),
        ("[::1]:5000/a", repository("[::1]:5000", "a")),
        (f"quay.io/a@{DIGEST}", repository("quay.io", "a", "", DIGEST)),
        (f"quay.io/a:1@{DIGEST}", repository("quay.io", "a", "1", DIGEST)),
        ("quay.io/single", repository("quay.io", "single")),
        ("oci:folder", local("oci", "folder")),
        ("oci:folder:1.0", local("oci", "folder", "1.0")),
        ("oci:/a/b:c/d", local("oci", "/a/b:c/d")),
        ("oci:/a/b:c/d:1", local("oci", "/a/b:c/d", "1")),
        (f"oci:folder@{DIGEST}", local("oci", "folder", "", DIGEST)),
        ("oci-archive:image.tar", local("oci-archive", "image.tar")),
        ("oci-archive:image.tar:1", local("oci-archive", "image.tar", "1")),
        ("docker-archive:image.tar", local("docker-archive", "image.tar")),
        ("-", local("oci-archive", "-")),
    ],
)
def test_an_address_is_taken_apart(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "path", "name", "tag"),
    [
        ("docker-archive:i.tar:busybox:1", "i.tar", "busybox", "1"),
        ("docker-archive:i.tar:localhost:5000/a/b:1", "i.tar", "localhost:5000/a/b", "1"),
        ("store:team/app:1", "", "team/app", "1"),
        ("store:./data:team/app:1", "./data", "team/app", "1"),
        ("store:/var/lib/entrepot:app:1", "/var/lib/entrepot", "app", "1"),
    ],
)
def test_names_inside_archives_and_stores(text: str, path: str, name: str, tag: str) -> None:
    address = parse_address(text)
    assert (address.path, address.repository, address.tag) == (path, name, tag)


@pytest.mark.parametrize(
    "text",
    [
        "docker://docker.io/library/alpine:3",
        f"docker://quay.io/a/b:1@{DIGEST}",
        "oci:folder:1",
        f"oci-archive:image.tar@{DIGEST}",
        "docker-archive:i.tar:localhost:5000/a/b:1",
        "store:team/app:1",
        "store:./data:team/app:1",
        "-",
    ],
)
def test_an_address_is_shown_as_it_is_written(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", NameInvalid),
        ("UPPER/case", NameInvalid),
        ("oci:", NameInvalid),
        ("oci-archive:", NameInvalid),
        ("docker-archive:", NameInvalid),
        ("store:", NameInvalid),
        ("store:./data", NameInvalid),
        ("store:localhost:5000/a", NameInvalid),
        ("containers-storage://x", NameInvalid),
        ("https://ghcr.io/a", NameInvalid),
        ("docker://", NameInvalid),
        ("localhost:99999/a", NameInvalid),
        ("[::1]:65536/a", NameInvalid),
        ("alpine:", TagInvalid),
        ("oci:folder:-bad", TagInvalid),
        ("alpine@sha256:abc", NameInvalid),
        ("oci:folder@sha256:abc", NameInvalid),
    ],
)
def test_what_is_no_address_is_refused(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_address(text)


def test_an_unknown_transport_is_told_what_there_is() -> None:
    with pytest.raises(NameInvalid, match="oci-archive:"):
        parse_address("https://ghcr.io/a")


def test_the_digest_counts_before_the_tag() -> None:
    assert repository_address(f"quay.io/a:1@{DIGEST}").reference == DIGEST
    assert repository_address("quay.io/a:1").reference == "1"


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("ghcr.io", "ghcr.io"),
        ("localhost", "localhost"),
        ("localhost:5000", "localhost:5000"),
        ("https://127.0.0.1:5000/v2/", "127.0.0.1:5000"),
        ("registry-1.docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
    ],
)
def test_a_registry_may_be_pasted_with_scheme_and_path(text: str, host: str) -> None:
    assert registry_host(text) == host


@pytest.mark.parametrize("text", ["", "https://", "a b", "-x.example", "localhost:65536"])
def test_what_is_no_registry_is_refused(text: str) -> None:
    with pytest.raises(NameInvalid):
        registry_host(text)
