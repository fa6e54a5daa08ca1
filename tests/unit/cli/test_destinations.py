"""Where an image goes when the command line does not say all of it."""

import pytest

from entrepot.cli.destinations import (
    FileForm,
    below,
    familiar_name,
    named_like,
    pull_target,
    shown,
    target_tags,
)
from entrepot.oci.address import parse_address

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("image", "destination", "form", "target"),
    [
        ("alpine:3.20", None, None, "oci:alpine:3.20"),
        ("quay.io/team/app", None, None, "oci:app"),
        ("alpine:3.20", None, "oci-archive", "oci-archive:alpine-3.20.tar:3.20"),
        ("alpine", None, "docker-archive", "docker-archive:alpine-latest.tar:alpine"),
        (f"alpine@{DIGEST}", None, "oci-archive", f"oci-archive:alpine-{'a' * 12}.tar"),
        ("alpine:3.20", "a.tar", None, "oci-archive:a.tar:3.20"),
        ("alpine:3.20", "a.tar", "docker-archive", "docker-archive:a.tar:alpine:3.20"),
        ("alpine:3.20", "folder", None, "oci:folder:3.20"),
        ("alpine:3.20", "oci:folder:mine", None, "oci:folder:mine"),
        ("alpine:3.20", "docker-archive:a.tar:b:1", None, "docker-archive:a.tar:b:1"),
        ("quay.io/a/b:1", "docker-archive:a.tar", None, "docker-archive:a.tar:quay.io/a/b:1"),
        ("alpine:3.20", "store:base", None, "store:base:3.20"),
    ],
)
def test_pull_writes_where_people_expect(
    image: str, destination: str | None, form: FileForm | None, target: str
) -> None:
    assert str(pull_target(parse_address(image), destination, form)) == target


def test_a_stream_has_the_form_that_is_asked_for() -> None:
    image = parse_address("alpine:3.20")
    assert pull_target(image, "-", None).kind == "oci-archive"
    assert pull_target(image, "-", "docker-archive").kind == "docker-archive"


@pytest.mark.parametrize(
    ("source", "target", "tags"),
    [
        ("alpine:3.20", "host.example/a:mine", ("mine",)),
        ("alpine:3.20", "host.example/a", ("3.20",)),
        ("alpine", "host.example/a", ("latest",)),
        (f"alpine@{DIGEST}", "host.example/a", ()),
        (f"alpine:3.20@{DIGEST}", "host.example/a", ("3.20",)),
        ("alpine", f"host.example/a@{DIGEST}", ()),
        ("oci:folder", "host.example/a", ("latest",)),
    ],
)
def test_an_image_gets_its_tag_from_either_side(
    source: str, target: str, tags: tuple[str, ...]
) -> None:
    assert target_tags(parse_address(source), parse_address(target)) == tags


def test_a_target_keeps_a_name_of_its_own() -> None:
    target = parse_address("host.example/b:2")
    assert named_like(parse_address("host.example/a:1"), target) == target


def test_an_address_is_shown_with_the_tag_that_it_gets() -> None:
    assert shown(parse_address("docker://h.example/a"), ()) == "h.example/a"
    (tag,) = target_tags(parse_address("b:1"), parse_address("h.example/a"))
    assert shown(parse_address("h.example/a"), (tag,)) == "h.example/a:1"


@pytest.mark.parametrize(
    ("destination", "address"),
    [
        ("localhost:5000", "localhost:5000/a/b"),
        ("localhost:5000/", "localhost:5000/a/b"),
        ("h.example/mirror", "h.example/mirror/a/b"),
        ("store:", "store:a/b"),
        ("store:./data:", "store:./data:a/b"),
        ("oci:folder", "oci:folder/a/b"),
    ],
)
def test_below_a_destination_stand_names(destination: str, address: str) -> None:
    assert below(destination, "a/b") == address


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("alpine:3.20", "alpine"),
        ("bitnami/git", "bitnami/git"),
        ("localhost:5000/a/b", "localhost:5000/a/b"),
        ("store:a/b:1", "a/b"),
        ("oci:some/folder:1", "folder"),
        ("oci-archive:some/file.tar", "file"),
        ("oci:Upper", "image"),
        ("docker-archive:a.tar:quay.io/a/b:1", "quay.io/a/b"),
    ],
)
def test_an_image_has_the_name_that_docker_shows(address: str, name: str) -> None:
    assert familiar_name(parse_address(address)) == name
