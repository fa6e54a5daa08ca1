import json

import pytest

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestInvalid
from entrepot.oci.reference import Tag
from entrepot.protocol.referrers import (
    fallback_tag,
    parse_artifact_type,
    render_referrers,
)

SBOM = "application/vnd.example.sbom.v1+json"
HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("parameters", "artifact_type"),
    [
        ([], None),
        ([("artifactType", "")], None),
        ([("artifacttype", SBOM)], None),
        ([("artifactType", SBOM)], SBOM),
        ([("n", "1"), ("artifactType", SBOM), ("artifactType", "x/y")], SBOM),
        ([("artifactType", SBOM.replace("+", " "))], SBOM),
    ],
)
def test_the_filter_is_read(parameters: list[tuple[str, str]], artifact_type: str | None) -> None:
    assert parse_artifact_type(parameters) == artifact_type


@pytest.mark.parametrize("text", ["a\0b", "ä/b", "x" * 256, "a\r\nb"])
def test_a_filter_that_is_no_media_type_is_refused(text: str) -> None:
    with pytest.raises(ManifestInvalid):
        parse_artifact_type([("artifactType", text)])


def test_the_list_is_an_image_index() -> None:
    digest = Digest.of(b"sbom")
    full = Descriptor(media_types.OCI_MANIFEST, digest, 4, {"k": "ä"}, SBOM)
    plain = Descriptor(media_types.OCI_INDEX, digest, 4)
    assert json.loads(render_referrers([full, plain])) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": str(digest),
                "size": 4,
                "artifactType": SBOM,
                "annotations": {"k": "ä"},
            },
            {
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "digest": str(digest),
                "size": 4,
            },
        ],
    }


def test_no_referrers_are_an_empty_list() -> None:
    assert json.loads(render_referrers([]))["manifests"] == []


@pytest.mark.parametrize(
    ("digest", "tag"),
    [(f"sha256:{HEX}", f"sha256-{HEX}"), (f"sha512:{HEX}{'f' * 64}", f"sha512-{HEX}")],
)
def test_the_fallback_tag_is_the_digest_cut_to_fit(digest: str, tag: str) -> None:
    assert fallback_tag(Digest.parse(digest)) == Tag.parse(tag)
