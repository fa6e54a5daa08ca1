"""Prefetching, for any manifest (CA-05)."""

import json

from hypothesis import given
from hypothesis import strategies as st

from entrepot.oci.manifest import Index, Manifest, parse_manifest
from entrepot.oci.platform import Platform
from entrepot.rules.prefetch import to_prefetch
from tests.property import strategies


@given(strategies.manifests(), st.none() | strategies.platforms)
def test_of_a_manifest_all_blobs_that_must_exist(
    document: dict[str, object], wanted: Platform | None
) -> None:
    pulled = parse_manifest(json.dumps(document).encode())
    assert isinstance(pulled, Manifest)
    assert tuple(one.digest for one in to_prefetch(pulled, wanted)) == pulled.blobs()


@given(strategies.indexes(), strategies.platforms)
def test_of_an_index_at_most_one_child(document: dict[str, object], wanted: Platform) -> None:
    pulled = parse_manifest(json.dumps(document).encode())
    assert isinstance(pulled, Index)
    chosen = to_prefetch(pulled, wanted)
    assert len(chosen) <= 1
    assert {one.digest for one in chosen} <= set(pulled.children())
