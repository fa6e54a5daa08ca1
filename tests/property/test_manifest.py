"""Manifests: whatever the image-spec allows is kept verbatim, and no bytes do more than be
read or refused as MANIFEST_INVALID."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.errors import ManifestInvalid
from entrepot.oci.manifest import Index, Manifest, parse_manifest
from tests.property import strategies


@given(strategies.descriptors())
def test_a_descriptor_round_trips_through_json(descriptor: Descriptor) -> None:
    document = json.loads(json.dumps(descriptor.to_json()))
    assert Descriptor.of_json(document, "d") == descriptor


@given(strategies.manifests(), st.booleans())
def test_every_manifest_of_the_spec_is_kept_and_read(
    document: dict[str, object], pretty: bool
) -> None:
    content = json.dumps(document, indent=3 if pretty else None).encode()
    parsed = parse_manifest(content)
    assert isinstance(parsed, Manifest)
    assert parsed.content == content
    assert parsed.config.to_json() == document["config"]
    assert [layer.to_json() for layer in parsed.layers] == document["layers"]
    assert parsed.annotations == document.get("annotations", {})
    assert parsed.artifact_type == document.get("artifactType", parsed.config.media_type)
    everything = {parsed.config, *parsed.layers}
    assert set(parsed.blobs()) == {d.digest for d in everything if d.is_distributable}


@given(strategies.indexes())
def test_every_index_of_the_spec_is_kept_and_read(document: dict[str, object]) -> None:
    content = json.dumps(document).encode()
    parsed = parse_manifest(content)
    assert isinstance(parsed, Index)
    assert parsed.content == content
    assert [child.to_json() for child in parsed.manifests] == document["manifests"]
    assert parsed.artifact_type == document.get("artifactType")
    listed = {d.digest for d in parsed.manifests}
    assert set(parsed.children()) <= listed
    assert set(parsed.blobs()) <= listed


@given(
    st.one_of(st.binary(max_size=60), strategies.json_values.map(lambda v: json.dumps(v).encode()))
)
def test_any_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        parse_manifest(content)


@given(
    st.one_of(strategies.manifests(), strategies.indexes()),
    st.none() | strategies.acceptable_media_types | strategies.any_text,
    st.data(),
)
def test_a_damaged_manifest_is_read_or_refused(
    document: dict[str, object], media_type: str | None, data: st.DataObject
) -> None:
    _damage(document, data)
    content = json.dumps(document).encode()
    try:
        parsed = parse_manifest(content, media_type)
    except ManifestInvalid as refused:
        json.dumps({"message": refused.message, "detail": refused.detail}).encode()
    else:
        assert parsed.content == content


def _damage(document: dict[str, object], data: st.DataObject) -> None:
    """Put any JSON in the place of one field, at any depth."""
    node: object = document
    while True:
        if isinstance(node, dict) and node:
            key = data.draw(st.sampled_from(sorted(node)))
            holder, index = node, key
        elif isinstance(node, list) and node:
            holder, index = node, data.draw(st.integers(0, len(node) - 1))
        else:
            return
        if data.draw(st.booleans()):
            holder[index] = data.draw(strategies.json_values)
            return
        node = holder[index]


@given(
    strategies.manifests(),
    st.sampled_from(['"schemaVersion"', '"config"', '"layers"', '"digest"', '"size"']),
)
def test_a_repeated_key_is_refused_wherever_it_is(document: dict[str, object], key: str) -> None:
    text = json.dumps(document)
    repeated = text.replace(f"{key}: ", f"{key}: 0, {key}: ", 1)
    with pytest.raises(ManifestInvalid, match="twice"):
        parse_manifest(repeated.encode())
