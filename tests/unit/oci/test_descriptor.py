import base64

import pytest

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestInvalid
from entrepot.oci.platform import Platform
from tests.unit.oci.documents import descriptor

CONTENT = b"content"
TYPE = "application/vnd.example"
DIGEST = Digest.of(CONTENT)


def test_a_full_descriptor_reads_and_renders_the_same() -> None:
    document = {
        "mediaType": TYPE,
        "digest": str(DIGEST),
        "size": 7,
        "urls": ["https://example.org/blob"],
        "annotations": {"org.example": "ä\n", "": ""},
        "data": base64.b64encode(CONTENT).decode(),
        "platform": {"architecture": "arm64", "os": "linux"},
        "artifactType": "application/vnd.example.sbom",
    }
    read = Descriptor.of_json(document, "config")
    assert read == Descriptor(
        media_type=TYPE,
        digest=DIGEST,
        size=7,
        annotations={"org.example": "ä\n", "": ""},
        artifact_type="application/vnd.example.sbom",
        platform=Platform("linux", "arm64"),
        urls=("https://example.org/blob",),
        data=CONTENT,
    )
    assert read.to_json() == document


def test_what_is_empty_or_null_counts_as_absent() -> None:
    absent = dict.fromkeys(("annotations", "platform", "urls", "data", "artifactType"))
    document = {"mediaType": TYPE, "digest": str(DIGEST), "size": 7}
    assert Descriptor.of_json({**document, **absent}, "d") == Descriptor(TYPE, DIGEST, 7)
    assert Descriptor(TYPE, DIGEST, 7).to_json() == document


def test_sha512_and_unknown_fields_are_accepted() -> None:
    digest = Digest.of(CONTENT, "sha512")
    document = descriptor(CONTENT, TYPE, digest=str(digest), org=1, data="Y29udGVudA==")
    assert Descriptor.of_json(document, "d").digest == digest


def test_descriptors_can_stand_in_sets() -> None:
    one = Descriptor(TYPE, DIGEST, 7, {"a": "b"})
    assert len({one, Descriptor(TYPE, DIGEST, 7, {"a": "b"})}) == 1


@pytest.mark.parametrize("value", [None, 1, "text", [], True])
def test_a_descriptor_is_an_object(value: object) -> None:
    with pytest.raises(ManifestInvalid, match=r"layers\[2\] must be a JSON object"):
        Descriptor.of_json(value, "layers[2]")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"mediaType": None}, "mediaType"),
        ({"mediaType": ""}, "mediaType"),
        ({"mediaType": 1}, "mediaType"),
        ({"mediaType": "a\nb"}, "mediaType"),
        ({"mediaType": "x" * 256}, "mediaType"),
        ({"digest": None}, "digest"),
        ({"digest": 1}, "digest"),
        ({"digest": "sha256:short"}, "digest"),
        ({"digest": "md5:d41d8cd98f00b204e9800998ecf8427e"}, "digest"),
        ({"size": None}, "size"),
        ({"size": -1}, "size"),
        ({"size": 2**63}, "size"),
        ({"size": 7.0}, "size"),
        ({"size": "7"}, "size"),
        ({"size": True}, "size"),
        ({"annotations": []}, "annotations"),
        ({"annotations": {"k": 1}}, "annotations['k']"),
        ({"annotations": {"k": None}}, "annotations['k']"),
        ({"annotations": {"k": "\ud800"}}, "annotations['k']"),
        ({"annotations": {"\udfff": "v"}}, "annotations"),
        ({"urls": "https://example.org"}, "urls"),
        ({"urls": [1]}, "urls[0]"),
        ({"platform": "linux/amd64"}, "platform"),
        ({"platform": {"os": 1}}, "platform.os"),
        ({"artifactType": {}}, "artifactType"),
        ({"data": 1}, "data"),
        ({"data": "not base64!"}, "data"),
        ({"data": "ä"}, "data"),
        ({"data": "Y29u\ndGVudA=="}, "data"),
        ({"data": "Y29udGVudA==", "size": 8}, "data"),
        ({"data": base64.b64encode(b"other").decode()}, "data"),
        ({"data": base64.b64encode(b"CONTENT").decode()}, "data"),
    ],
)
def test_a_bad_field_is_refused_by_its_path(changed: dict[str, object], field: str) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        Descriptor.of_json(descriptor(CONTENT, TYPE, **changed), "layers[2]")
    assert refused.value.detail["field"] == f"layers[2].{field}"
    assert refused.value.message.startswith(f"layers[2].{field} ")


def test_a_bad_digest_is_an_invalid_manifest_that_keeps_the_digest() -> None:
    with pytest.raises(ManifestInvalid) as refused:
        Descriptor.of_json(descriptor(CONTENT, TYPE, digest="sha256:short"), "config")
    assert refused.value.code == "MANIFEST_INVALID"
    assert refused.value.detail == {"field": "config.digest", "digest": "sha256:short"}


def test_only_distributable_content_is_expected_here() -> None:
    assert Descriptor(media_types.OCI_LAYER, DIGEST, 7).is_distributable
    assert not Descriptor(media_types.DOCKER_FOREIGN_LAYER_GZIP, DIGEST, 7).is_distributable
