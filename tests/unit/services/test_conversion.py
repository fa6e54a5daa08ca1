"""Conversion between Docker's formats and OCI's: what changes, what stays, what is refused."""

import json
from dataclasses import replace

import pytest

from entrepot.oci import media_types as types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.errors import Unsupported
from entrepot.oci.manifest import Index, Manifest, parse_manifest
from entrepot.rules.platform_choice import ATTESTED_DIGEST, ATTESTED_KIND
from entrepot.services.conversion import Converted, Format, convert_index, convert_manifest
from entrepot.testing.example_images import (
    ELSEWHERE,
    HERE,
    ExampleImage,
    artifact,
    described,
    image,
    index,
)

PAIRS = [
    (types.DOCKER_LAYER, types.OCI_LAYER),
    (types.DOCKER_LAYER_GZIP, types.OCI_LAYER_GZIP),
    (types.DOCKER_FOREIGN_LAYER, types.OCI_NONDISTRIBUTABLE_LAYER),
    (types.DOCKER_FOREIGN_LAYER_GZIP, types.OCI_NONDISTRIBUTABLE_LAYER_GZIP),
]


def manifest(
    media_type: str, config: str, *layers: str, **fields: object
) -> tuple[Descriptor, Manifest]:
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": described(b"{}", config).to_json(),
        "layers": [described(layer.encode(), layer).to_json() for layer in layers],
        **fields,
    }
    content = json.dumps(document).encode()
    parsed = parse_manifest(content, media_type)
    assert isinstance(parsed, Manifest)
    return described(content, media_type), parsed


def converted(example: ExampleImage, format: Format) -> tuple[Converted, Manifest]:
    parsed = parse_manifest(example.content, example.root.media_type)
    assert isinstance(parsed, Manifest)
    result = convert_manifest(example.root, parsed, format)
    again = parse_manifest(result.content, result.descriptor.media_type)
    assert isinstance(again, Manifest)
    assert result.descriptor == replace(
        described(result.content, result.descriptor.media_type),
        platform=example.root.platform,
    )
    return result, again


@pytest.mark.parametrize("docker", [True, False])
def test_what_is_in_the_format_already_keeps_its_bytes(docker: bool) -> None:
    example = image(docker=docker, odd=True)
    result, _ = converted(example, "docker" if docker else "oci")
    assert (result.descriptor, result.content) == (example.root, example.content)


@pytest.mark.parametrize(("docker", "oci"), PAIRS)
def test_layer_types_have_their_like(docker: str, oci: str) -> None:
    _, of_docker = manifest(types.DOCKER_MANIFEST, types.DOCKER_CONFIG, docker)
    root, of_oci = manifest(types.OCI_MANIFEST, types.OCI_CONFIG, oci)
    to_oci = parse_manifest(convert_manifest(root, of_docker, "oci").content)
    to_docker = parse_manifest(convert_manifest(root, of_oci, "docker").content)
    assert isinstance(to_oci, Manifest)
    assert isinstance(to_docker, Manifest)
    assert (to_oci.config.media_type, to_oci.layers[0].media_type) == (types.OCI_CONFIG, oci)
    assert to_docker.layers[0].media_type == docker
    assert to_docker.config.media_type == types.DOCKER_CONFIG


def test_dockers_unofficial_zstd_layers_become_official() -> None:
    root, parsed = manifest(types.DOCKER_MANIFEST, types.DOCKER_CONFIG, types.DOCKER_LAYER_ZSTD)
    result = parse_manifest(convert_manifest(root, parsed, "oci").content)
    assert isinstance(result, Manifest)
    assert result.layers[0].media_type == types.OCI_LAYER_ZSTD


@pytest.mark.parametrize(
    ("config", "layer", "word"),
    [
        (types.OCI_CONFIG, types.OCI_LAYER_ZSTD, "zstd"),
        (types.OCI_CONFIG, types.OCI_NONDISTRIBUTABLE_LAYER_ZSTD, "zstd"),
        (types.OCI_CONFIG, "application/vnd.in-toto+json", "in-toto"),
        (types.OCI_EMPTY, types.OCI_LAYER_GZIP, "artifact"),
        ("application/vnd.cncf.helm.config.v1+json", "application/gzip", "helm"),
    ],
)
def test_what_docker_has_no_type_for_is_refused(config: str, layer: str, word: str) -> None:
    root, parsed = manifest(types.OCI_MANIFEST, config, layer)
    with pytest.raises(Unsupported, match=word):
        convert_manifest(root, parsed, "docker")


def test_the_round_trip_of_dockers_own_manifest_gives_the_same_digest() -> None:
    layers = [described(b"1", types.DOCKER_LAYER_GZIP), described(b"2", types.DOCKER_LAYER_GZIP)]
    document = {
        "schemaVersion": 2,
        "mediaType": types.DOCKER_MANIFEST,
        "config": {
            "mediaType": types.DOCKER_CONFIG,
            "size": 2,
            "digest": str(described(b"{}", "").digest),
        },
        "layers": [
            {"mediaType": one.media_type, "size": one.size, "digest": str(one.digest)}
            for one in layers
        ],
    }
    content = json.dumps(document, indent=3).encode()
    root = described(content, types.DOCKER_MANIFEST)
    there, parsed = converted(ExampleImage(root, {root: content}, {}), "oci")
    back = convert_manifest(there.descriptor, parsed, "docker")
    assert back.content == content
    assert parsed.config.digest == described(b"{}", "").digest


def test_the_round_trip_of_an_oci_image_keeps_its_layers() -> None:
    example = image()
    there, parsed = converted(example, "docker")
    back = parse_manifest(convert_manifest(there.descriptor, parsed, "oci").content)
    assert isinstance(back, Manifest)
    assert back.layers == example.layers


def test_what_is_lost_is_said() -> None:
    root, parsed = manifest(
        types.OCI_MANIFEST,
        types.OCI_CONFIG,
        types.OCI_LAYER,
        annotations={"a": "b"},
        subject=described(b"subject", types.OCI_MANIFEST).to_json(),
        artifactType="application/x",
    )
    result = convert_manifest(root, parsed, "docker")
    assert result.lost == ("annotations", "the subject", "the artifact type")
    assert set(json.loads(result.content)) == {"schemaVersion", "mediaType", "config", "layers"}


def test_an_index_lists_what_became_of_its_children() -> None:
    example = index((HERE, image(docker=True)), (ELSEWHERE, image("other", docker=True)))
    parsed = parse_manifest(example.content)
    assert isinstance(parsed, Index)
    new = [described(bytes([number]), types.OCI_MANIFEST) for number in range(2)]
    children = {old.digest: one for old, one in zip(parsed.manifests, new, strict=True)}
    result = convert_index(example.root, parsed, "oci", children)
    again = parse_manifest(result.content, types.OCI_INDEX)
    assert isinstance(again, Index)
    assert [entry.digest for entry in again.manifests] == [one.digest for one in new]
    assert [entry.platform for entry in again.manifests] == [HERE, ELSEWHERE]


def test_an_index_becomes_a_manifest_list_and_back() -> None:
    example = index()
    parsed = parse_manifest(example.content)
    assert isinstance(parsed, Index)
    same = {entry.digest: entry for entry in parsed.manifests}
    listed = convert_index(example.root, parsed, "docker", same)
    assert listed.descriptor.media_type == types.DOCKER_MANIFEST_LIST
    again = parse_manifest(listed.content)
    assert isinstance(again, Index)
    back = convert_index(listed.descriptor, again, "oci", same)
    assert json.loads(back.content)["manifests"] == json.loads(example.content)["manifests"]


def test_an_unchanged_index_keeps_its_bytes() -> None:
    example = index(odd=True)
    parsed = parse_manifest(example.content)
    assert isinstance(parsed, Index)
    same = {entry.digest: entry for entry in parsed.manifests}
    assert convert_index(example.root, parsed, "oci", same).content == example.content


def test_an_attestation_says_of_which_image_it_speaks_now() -> None:
    about = image(docker=True).root
    statement = replace(
        artifact().root,
        annotations={ATTESTED_KIND: "attestation-manifest", ATTESTED_DIGEST: str(about.digest)},
    )
    content = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": types.OCI_INDEX,
            "manifests": [about.to_json(), statement.to_json()],
        }
    ).encode()
    parsed = parse_manifest(content)
    assert isinstance(parsed, Index)
    new = described(b"new", types.OCI_MANIFEST)
    children = {about.digest: new, statement.digest: statement}
    result = convert_index(described(content, types.OCI_INDEX), parsed, "oci", children)
    entry = json.loads(result.content)["manifests"][1]
    assert entry["annotations"][ATTESTED_DIGEST] == str(new.digest)


def test_a_list_of_layers_is_no_manifest_list() -> None:
    content = json.dumps(
        {"schemaVersion": 2, "manifests": [described(b"1", types.OCI_LAYER).to_json()]}
    ).encode()
    parsed = parse_manifest(content)
    assert isinstance(parsed, Index)
    same = {entry.digest: entry for entry in parsed.manifests}
    with pytest.raises(Unsupported):
        convert_index(described(content, types.OCI_INDEX), parsed, "docker", same)
