"""index.json: names as every tool writes them, names that move, and documents that are none."""

import json
from typing import Any

import pytest

from entrepot.adapters.ends.layout_index import CONTAINERD_NAME, REF_NAME, LayoutIndex
from entrepot.oci.errors import ContentInvalid, ManifestUnknown
from entrepot.oci.reference import Tag
from entrepot.testing import example_images as examples

ONE, TWO = examples.image("one").root, examples.image("two").root
WHERE = "/a/layout"


def line(descriptor: examples.Descriptor, **names: str) -> dict[str, Any]:
    written = {REF_NAME: names.get("name"), CONTAINERD_NAME: names.get("full")}
    annotations = {key: value for key, value in written.items() if value is not None}
    return descriptor.to_json() | ({"annotations": annotations} if annotations else {})


def index(*lines: dict[str, Any], **more: object) -> LayoutIndex:
    document = {"schemaVersion": 2, "manifests": list(lines), **more}
    return LayoutIndex.read(json.dumps(document).encode(), WHERE)


def names(read: LayoutIndex) -> list[tuple[str, str]]:
    """Return what is listed: a name, or nothing, and which image it is."""
    called = {ONE.digest: "one", TWO.digest: "two"}
    return [(entry.name, called[entry.descriptor.digest]) for entry in read.entries]


@pytest.mark.parametrize(
    "written",
    [
        {"name": "1.0"},  # skopeo, crane, we
        {"name": "docker.io/library/busybox:1.0"},  # podman save, buildah
        {"name": "1.0", "full": "docker.io/library/busybox:1.0"},  # containerd
        {"full": "docker.io/library/busybox:1.0"},
        {"name": "a name: no tag at all", "full": "localhost:5000/busybox:1.0"},
    ],
)
def test_a_tag_is_found_however_it_is_written(written: dict[str, str]) -> None:
    read = index(line(TWO), line(ONE, **written))
    assert read.tags() == [Tag("1.0")]
    assert read.tagged(Tag("1.0")).digest == ONE.digest


def test_a_tag_as_it_is_goes_before_one_in_a_full_name() -> None:
    read = index(line(TWO, name="example.org/busybox:1.0"), line(ONE, name="1.0"))
    assert read.tagged(Tag("1.0")).digest == ONE.digest


def test_a_tag_of_several_images_is_not_guessed() -> None:
    read = index(
        line(ONE, name="example.org/a:1.0"),
        line(TWO, name="example.org/b:1.0"),
    )
    with pytest.raises(ManifestUnknown, match=r"example.org/a:1.0, example.org/b:1.0"):
        read.tagged(Tag("1.0"))


def test_what_loses_its_name_stays_without_one() -> None:
    read = index(line(ONE, name="1.0"), line(ONE, name="kept"), line(TWO, name="old"))
    moved = read.with_root(TWO, [{REF_NAME: "1.0"}])
    assert names(moved) == [("kept", "one"), ("old", "two"), ("1.0", "two")]
    again = moved.with_root(ONE, [{REF_NAME: "old"}, {REF_NAME: "1.0"}])
    assert names(again) == [("kept", "one"), ("", "two"), ("old", "one"), ("1.0", "one")]


def test_a_name_replaces_the_line_without_one() -> None:
    read = index(line(ONE)).with_root(ONE, [{REF_NAME: "1.0"}])
    assert names(read) == [("1.0", "one")]
    assert names(read.with_root(ONE, ())) == [("1.0", "one")]


def test_full_names_with_the_same_tag_stand_beside_each_other() -> None:
    read = index(line(ONE, name="1", full="example.org/a:1"))
    both = read.with_root(TWO, [{REF_NAME: "1", CONTAINERD_NAME: "example.org/b:1"}])
    assert names(both) == [("example.org/a:1", "one"), ("example.org/b:1", "two")]


def test_what_is_not_understood_stays() -> None:
    other = line(ONE, name="1.0") | {"org.example": {"x": [1]}, "platform": {"os": "plan9"}}
    read = index(other, annotations={"a": "b"}, more=7).with_root(TWO, [{REF_NAME: "2.0"}])
    document = json.loads(read.to_bytes())
    assert document["manifests"][0] == other
    assert (document["annotations"], document["more"]) == ({"a": "b"}, 7)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"manifests": 7}',
        b'{"manifests": [7]}',
        b'{"manifests": [{}]}',
        b'{"manifests": [], "manifests": []}',
        b'{"manifests": ' + b"[" * 100_000,
        json.dumps(
            {"manifests": [{"mediaType": "x", "size": 1, "digest": "sha256:../../etc/passwd"}]}
        ).encode(),
        json.dumps({"manifests": [line(ONE) | {"size": -1}]}).encode(),
        json.dumps({"manifests": [line(ONE) | {"digest": "sha256:" + "A" * 64}]}).encode(),
    ],
)
def test_what_is_no_index_is_refused(content: bytes) -> None:
    with pytest.raises(ContentInvalid, match=WHERE):
        LayoutIndex.read(content, WHERE)


def test_an_index_without_images_is_one() -> None:
    assert index().entries == ()
    assert LayoutIndex.read(b'{"schemaVersion":2,"manifests":null}', WHERE).entries == ()
