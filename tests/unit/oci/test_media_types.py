import pytest

from entrepot.oci import media_types


@pytest.mark.parametrize(
    ("media_type", "manifest", "index", "kind"),
    [
        ("application/vnd.oci.image.manifest.v1+json", True, False, True),
        ("application/vnd.docker.distribution.manifest.v2+json", True, False, True),
        ("application/vnd.oci.image.index.v1+json", False, True, True),
        ("application/vnd.docker.distribution.manifest.list.v2+json", False, True, True),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", False, False, True),
        ("application/vnd.oci.artifact.manifest.v1+json", False, False, True),
        ("application/vnd.oci.image.config.v1+json", False, False, False),
        ("application/json", False, False, False),
        ("", False, False, False),
    ],
)
def test_manifests_indexes_and_all_else(
    media_type: str, manifest: bool, index: bool, kind: bool
) -> None:
    assert media_types.is_manifest(media_type) is manifest
    assert media_types.is_index(media_type) is index
    assert media_types.is_manifest_kind(media_type) is kind


@pytest.mark.parametrize(
    ("media_type", "distributable"),
    [
        ("application/vnd.oci.image.layer.v1.tar+gzip", True),
        ("application/vnd.oci.image.layer.v1.tar+zstd", True),
        ("application/vnd.example.anything", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", False),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", False),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", False),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", False),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar", False),
    ],
)
def test_foreign_and_non_distributable_layers_live_elsewhere(
    media_type: str, distributable: bool
) -> None:
    assert media_types.is_distributable(media_type) is distributable


@pytest.mark.parametrize(
    ("content_type", "bare"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=UTF-8", "application/json"),
        (" application/json ;q=1", "application/json"),
        ("", ""),
        (";", ""),
    ],
)
def test_parameters_of_a_content_type_are_ignored(content_type: str, bare: str) -> None:
    assert media_types.bare(content_type) == bare


@pytest.mark.parametrize("text", ["text/plain", "unknown/unknown", "a", "x" * 255])
def test_any_short_printable_text_may_be_a_media_type(text: str) -> None:
    assert media_types.is_acceptable(text)


@pytest.mark.parametrize("text", ["", "a\n", "a\0", "é", "x" * 256, "a\x7f"])
def test_what_a_header_could_not_carry_may_not(text: str) -> None:
    assert not media_types.is_acceptable(text)
