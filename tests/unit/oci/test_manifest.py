import json

import pytest

from entrepot.oci import media_types
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestInvalid
from entrepot.oci.manifest import Index, Manifest, parse_manifest
from tests.unit.oci.documents import CONFIG, LAYERS, descriptor, encode, index, manifest

SUBJECT = descriptor(b"subject", media_types.OCI_MANIFEST)
ARTIFACT = "application/vnd.example.sbom.v1"


def test_an_image_manifest_is_kept_verbatim_and_read() -> None:
    content = encode(manifest(annotations={"k": "v"}, subject=SUBJECT, unknown={"kept": [1]}))
    parsed = parse_manifest(content, media_types.OCI_MANIFEST)
    assert isinstance(parsed, Manifest)
    assert parsed.content is content
    assert parsed.media_type == media_types.OCI_MANIFEST
    assert parsed.config.digest == Digest.of(CONFIG)
    assert [layer.digest for layer in parsed.layers] == [Digest.of(layer) for layer in LAYERS]
    assert parsed.subject is not None
    assert parsed.subject.digest == Digest.of(b"subject")
    assert parsed.annotations == {"k": "v"}
    assert parsed.blobs() == tuple(Digest.of(blob) for blob in (CONFIG, *LAYERS))
    assert parsed.children() == ()


def test_an_index_is_kept_verbatim_and_read() -> None:
    content = encode(index(annotations={"k": "v"}, subject=SUBJECT))
    parsed = parse_manifest(content, media_types.OCI_INDEX)
    assert isinstance(parsed, Index)
    assert parsed.content is content
    assert parsed.media_type == media_types.OCI_INDEX
    assert parsed.subject is not None
    assert parsed.annotations == {"k": "v"}
    assert parsed.blobs() == ()
    assert parsed.children() == (Digest.of(b"amd64"), Digest.of(b"arm64"))


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        (manifest(layers=[]), media_types.OCI_MANIFEST),
        (manifest(mediaType=None), media_types.OCI_MANIFEST),
        (manifest(mediaType=media_types.DOCKER_MANIFEST), media_types.DOCKER_MANIFEST),
        (
            manifest(mediaType=media_types.DOCKER_MANIFEST, subject=SUBJECT),
            media_types.DOCKER_MANIFEST,
        ),
        (manifest(), "Application/vnd.oci.image.manifest.v1+JSON; charset=utf-8"),
        (manifest(artifactType=ARTIFACT), media_types.OCI_MANIFEST),
        (manifest(config=descriptor(b"{}", ARTIFACT)), media_types.OCI_MANIFEST),
        (manifest(config=descriptor(b"{}", media_types.OCI_EMPTY, data="e30=")), ""),
        (index(manifests=[]), media_types.OCI_INDEX),
        (index(mediaType=None), media_types.OCI_INDEX),
        (index(mediaType=media_types.DOCKER_MANIFEST_LIST), media_types.DOCKER_MANIFEST_LIST),
        (index(artifactType=ARTIFACT, subject=SUBJECT), media_types.OCI_INDEX),
    ],
)
def test_what_the_image_spec_allows_is_accepted(
    document: dict[str, object], media_type: str
) -> None:
    assert parse_manifest(encode(document), media_type).content == encode(document)


def test_null_lists_count_as_empty_as_go_clients_mean_them() -> None:
    parsed = parse_manifest(encode({**manifest(), "layers": None, "annotations": None}))
    assert isinstance(parsed, Manifest)
    assert parsed.layers == ()


def test_sha512_is_accepted_anywhere() -> None:
    config = str(Digest.of(CONFIG, "sha512"))
    subject = str(Digest.of(b"subject", "sha512"))
    parsed = parse_manifest(
        encode(
            manifest(
                config=descriptor(CONFIG, media_types.OCI_CONFIG, digest=config),
                subject={**SUBJECT, "digest": subject},
            )
        )
    )
    assert str(parsed.blobs()[0]) == config
    assert parsed.subject is not None
    assert str(parsed.subject.digest) == subject


@pytest.mark.parametrize(
    ("document", "content_type", "media_type"),
    [
        (manifest(), None, media_types.OCI_MANIFEST),
        (manifest(), "", media_types.OCI_MANIFEST),
        (manifest(mediaType=media_types.DOCKER_MANIFEST), None, media_types.DOCKER_MANIFEST),
        (index(), None, media_types.OCI_INDEX),
        (manifest(mediaType=None), None, media_types.OCI_MANIFEST),
        (index(mediaType=None), None, media_types.OCI_INDEX),
        (manifest(mediaType=None), media_types.DOCKER_MANIFEST, media_types.DOCKER_MANIFEST),
    ],
)
def test_without_content_type_the_document_tells_its_type(
    document: dict[str, object], content_type: str | None, media_type: str
) -> None:
    assert parse_manifest(encode(document), content_type).media_type == media_type


@pytest.mark.parametrize(
    ("document", "artifact_type"),
    [
        (manifest(), media_types.OCI_CONFIG),
        (manifest(artifactType=ARTIFACT), ARTIFACT),
        (manifest(artifactType=""), media_types.OCI_CONFIG),
        (manifest(config=descriptor(b"{}", ARTIFACT)), ARTIFACT),
        (index(), None),
        (index(artifactType=""), None),
        (index(artifactType=ARTIFACT), ARTIFACT),
    ],
)
def test_the_artifact_type_is_the_one_the_referrers_api_shows(
    document: dict[str, object], artifact_type: str | None
) -> None:
    assert parse_manifest(encode(document)).artifact_type == artifact_type


@pytest.mark.parametrize(
    "media_type",
    [media_types.OCI_NONDISTRIBUTABLE_LAYER_GZIP, media_types.DOCKER_FOREIGN_LAYER_GZIP],
)
def test_layers_that_live_elsewhere_need_not_be_here(media_type: str) -> None:
    foreign = descriptor(b"foreign", media_type, urls=["https://example.org/layer"])
    parsed = parse_manifest(encode(manifest(layers=[foreign])))
    assert isinstance(parsed, Manifest)
    assert parsed.layers[0].urls == ("https://example.org/layer",)
    assert parsed.blobs() == (Digest.of(CONFIG),)


def test_a_blob_or_child_that_is_listed_twice_counts_once() -> None:
    layer = descriptor(LAYERS[0], media_types.OCI_LAYER)
    child = descriptor(b"amd64", media_types.OCI_MANIFEST)
    assert len(parse_manifest(encode(manifest(layers=[layer, layer]))).blobs()) == 2
    assert len(parse_manifest(encode(index(manifests=[child, child]))).children()) == 1


def test_an_index_may_list_blobs_as_buildkits_cache_does() -> None:
    layer = descriptor(b"layer", media_types.OCI_LAYER_GZIP)
    cache = descriptor(b"cache", "application/vnd.buildkit.cacheconfig.v0")
    foreign = descriptor(b"foreign", media_types.DOCKER_FOREIGN_LAYER_GZIP)
    parsed = parse_manifest(encode(index(manifests=[layer, foreign, cache])))
    assert parsed.children() == ()
    assert parsed.blobs() == (Digest.of(b"layer"), Digest.of(b"cache"))


@pytest.mark.parametrize(
    "media_type", [media_types.DOCKER_SCHEMA1_SIGNED, media_types.OCI_ARTIFACT_MANIFEST]
)
def test_manifests_we_would_refuse_are_still_children_of_an_index(media_type: str) -> None:
    parsed = parse_manifest(encode(index(manifests=[descriptor(b"old", media_type)])))
    assert (parsed.children(), parsed.blobs()) == ((Digest.of(b"old"),), ())


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b'"text"', b"7", b"{} {}"])
def test_what_is_not_one_json_object_is_refused(content: bytes) -> None:
    with pytest.raises(ManifestInvalid, match=r"not JSON|must be a JSON object"):
        parse_manifest(content, media_types.OCI_MANIFEST)


@pytest.mark.parametrize("value", [b"NaN", b"-Infinity", b"9" * 5000, b"01", b"'x'", b'"\xff"'])
def test_a_field_that_readers_disagree_on_refuses_the_manifest(value: bytes) -> None:
    content = encode(manifest(custom="here"))
    assert parse_manifest(content).content == content
    with pytest.raises(ManifestInvalid):
        parse_manifest(content.replace(b'"here"', value))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-le"])
def test_another_encoding_than_utf_8_is_refused(encoding: str) -> None:
    with pytest.raises(ManifestInvalid, match="UTF-8"):
        parse_manifest(encode(manifest()).decode().encode(encoding))


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_nesting_bomb_is_refused(opening: bytes) -> None:
    with pytest.raises(ManifestInvalid, match="nested too deeply"):
        parse_manifest(b'{"schemaVersion":2,"x":' + opening * 200_000)


def test_duplicate_keys_are_refused_at_any_depth() -> None:
    text = json.dumps(manifest(custom={"deep": [{"a": 1, "b": 2}]})).replace('"b"', '"a"')
    with pytest.raises(ManifestInvalid, match="'a' appears twice"):
        parse_manifest(text.encode())


@pytest.mark.parametrize("version", [None, 0, 1, 3, "2", 2.0, True, [2]])
def test_another_schema_version_is_refused(version: object) -> None:
    with pytest.raises(ManifestInvalid):
        parse_manifest(encode(manifest(schemaVersion=version)), media_types.OCI_MANIFEST)


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        ({"schemaVersion": 1, "name": "a", "fsLayers": []}, ""),
        ({"schemaVersion": 1}, media_types.DOCKER_SCHEMA1_SIGNED),
        (manifest(), media_types.DOCKER_SCHEMA1),
    ],
)
def test_docker_schema_1_is_refused_with_a_way_out(
    document: dict[str, object], media_type: str
) -> None:
    with pytest.raises(ManifestInvalid, match="push the image as Docker schema 2 or OCI"):
        parse_manifest(encode(document), media_type)


@pytest.mark.parametrize("media_type", [media_types.OCI_MANIFEST, media_types.OCI_INDEX, ""])
@pytest.mark.parametrize("left_out", ["config", "layers", ""])
def test_a_document_that_is_both_is_refused(media_type: str, left_out: str) -> None:
    both = {**manifest(mediaType=None), **index(mediaType=None)}
    both.pop(left_out, None)
    with pytest.raises(ManifestInvalid, match="both `manifests` and"):
        parse_manifest(encode(both), media_type)


@pytest.mark.parametrize(
    ("document", "media_type", "field"),
    [
        (manifest(), media_types.DOCKER_MANIFEST, "mediaType"),
        (manifest(), media_types.OCI_INDEX, "mediaType"),
        (index(), media_types.OCI_MANIFEST, "mediaType"),
        (manifest(mediaType=1), media_types.OCI_MANIFEST, "mediaType"),
        (manifest(config=None), "", "config"),
        (manifest(config=[]), "", "config"),
        (manifest(config="sha256:x"), "", "config"),
        (manifest(layers=None), "", "layers"),
        (manifest(layers={}), "", "layers"),
        (manifest(layers=[1]), "", "layers[0]"),
        (manifest(layers=[descriptor(b"x", "t/t", size=-1)]), "", "layers[0].size"),
        (manifest(config=descriptor(b"x", "t/t", digest="sha256:x")), "", "config.digest"),
        (manifest(annotations={"k": 1}), "", "annotations['k']"),
        (manifest(annotations=["k"]), "", "annotations"),
        (manifest(artifactType=1), "", "artifactType"),
        (manifest(artifactType="a\nb"), "", "artifactType"),
        (manifest(subject={}), "", "subject.digest"),
        (manifest(subject="sha256:x"), "", "subject"),
        (index(manifests=None), media_types.OCI_INDEX, "manifests"),
        (index(manifests={}), "", "manifests"),
        (index(manifests=[{"digest": 1}]), "", "manifests[0].digest"),
        (index(mediaType=None), media_types.OCI_MANIFEST, "config"),
        (manifest(mediaType=None), media_types.OCI_INDEX, "manifests"),
    ],
)
def test_a_wrong_field_is_refused_by_its_path(
    document: dict[str, object], media_type: str, field: str
) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        parse_manifest(encode(document), media_type)
    assert refused.value.detail["field"] == field


@pytest.mark.parametrize(
    ("own", "declared"),
    [
        ("application/json", None),
        ("application/vnd.example", None),
        (media_types.OCI_ARTIFACT_MANIFEST, None),
        (None, "application/json"),
        (None, "application/octet-stream"),
        (None, "x" * 1000),
    ],
)
def test_other_media_types_are_refused_with_those_that_are_not(
    own: str | None, declared: str | None
) -> None:
    with pytest.raises(ManifestInvalid, match=r"use one of .*image\.manifest\.v1\+json"):
        parse_manifest(encode(manifest(mediaType=own)), declared)
