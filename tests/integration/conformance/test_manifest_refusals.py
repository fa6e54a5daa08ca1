"""Manifests that are refused: malformed ones, ones whose content is missing, and large ones."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.conformance.content import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Content,
    Graph,
    Json,
    digest_of,
    document,
    empty_json,
    image,
    index,
)
from tests.integration.conformance.expectations import (
    assert_manifest_created,
    assert_manifest_is,
    assert_refused,
    push_blobs,
    push_image,
)
from tests.integration.conformance.repository import Repository

LIMIT = 4 * 1024 * 1024


# ── references that are none ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "reference",
    ["sha256:baddigeststring", "sha256:", "sha512:" + "0" * 64, "sha256:" + "0" * 63,
     "sha256:" + "g" * 64, "md5:d41d8cd98f00b204e9800998ecf8427e", ":", "a:b"],
)  # fmt: skip
def test_a_malformed_digest_names_no_manifest(repository: Repository, reference: str) -> None:
    graph = image()
    push_blobs(repository, graph)
    refused = repository.put_manifest(graph.top, reference)
    assert_refused(refused, 400, "DIGEST_INVALID")
    assert_refused(repository.get_manifest(reference), (400, 404), "DIGEST_INVALID")
    assert repository.head_manifest(reference).status in (400, 404)
    assert_refused(repository.delete_manifest(reference), (400, 404), "DIGEST_INVALID")


@pytest.mark.parametrize("reference", ["-a", ".a", "a%20b", "a" * 129, "%C3%A4", "a%0A", "a%00"])
def test_a_malformed_tag_names_no_manifest(repository: Repository, reference: str) -> None:
    graph = image()
    push_blobs(repository, graph)
    assert_refused(repository.put_manifest(graph.top, reference), 400, "TAG_INVALID")
    assert repository.get_manifest(reference).status in (400, 404)
    assert repository.delete_manifest(reference).status in (400, 404)


@pytest.mark.parametrize("tag", ["a", "_", "0", "A.b-c_D", "a" * 128, "latest", "..".join("ab")])
def test_any_tag_of_the_grammar_works(repository: Repository, tag: str) -> None:
    manifest = push_image(repository, tag)
    assert_manifest_is(repository, tag, manifest)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_bytes_that_are_not_those_of_the_digest_are_refused(
    repository: Repository, algorithm: str
) -> None:
    graph = image(algorithm=algorithm)
    push_blobs(repository, graph)
    altered = graph.top.content + b"  "
    target = repository.manifest(graph.top.digest)
    refused = repository.client.put(target, altered, {"Content-Type": OCI_MANIFEST})
    assert_refused(refused, 400, "DIGEST_INVALID")
    assert repository.head_manifest(graph.top.digest).status == 404
    assert repository.head_manifest(digest_of(altered, algorithm)).status == 404


# ── content that is no manifest ──────────────────────────────────────────────────────────────


def without(name: str) -> Callable[[Json], Json]:
    return lambda body: {key: value for key, value in body.items() if key != name}


def with_(**fields: Any) -> Callable[[Json], Json]:
    return lambda body: body | fields


CONFIG = empty_json().descriptor()

ALTERED: dict[str, Callable[[Json], Json]] = {
    "no schemaVersion": without("schemaVersion"),
    "schemaVersion 1": with_(schemaVersion=1),
    "schemaVersion as text": with_(schemaVersion="2"),
    "schemaVersion true": with_(schemaVersion=True),
    "no config": without("config"),
    "config null": with_(config=None),
    "config as text": with_(config="sha256"),
    "no layers": without("layers"),
    "layers as object": with_(layers={}),
    "a layer as text": with_(layers=["layer"]),
    "manifests beside layers": with_(manifests=[]),
    "another mediaType": with_(mediaType=OCI_INDEX),
    "mediaType as number": with_(mediaType=7),
    "digest missing": with_(config=without("digest")(CONFIG)),
    "digest malformed": with_(config=CONFIG | {"digest": "sha256:short"}),
    "digest unsupported": with_(config=CONFIG | {"digest": "md5:" + "0" * 32}),
    "size missing": with_(config=without("size")(CONFIG)),
    "size negative": with_(config=CONFIG | {"size": -1}),
    "size as text": with_(config=CONFIG | {"size": "2"}),
    "size a fraction": with_(config=CONFIG | {"size": 1.5}),
    "descriptor without mediaType": with_(config=without("mediaType")(CONFIG)),
    "subject as text": with_(subject="sha256:" + "0" * 64),
    "subject without digest": with_(subject=without("digest")(CONFIG)),
    "annotations as list": with_(annotations=[]),
    "annotation as number": with_(annotations={"a": 1}),
    "artifactType as number": with_(artifactType=1),
    "data that is something else": with_(config=CONFIG | {"data": "e30K"}),
    "data that is not base64": with_(config=CONFIG | {"data": "?"}),
}


@pytest.mark.parametrize("by_tag", [True, False], ids=["by tag", "by digest"])
@pytest.mark.parametrize("altered", ALTERED)
def test_a_malformed_manifest_is_refused(
    repository: Repository, altered: str, by_tag: bool
) -> None:
    graph = image()
    push_blobs(repository, graph)
    assert repository.push(empty_json()).status == 201  # what some of the alterations name
    body = ALTERED[altered](json.loads(graph.top.content))
    manifest = document(body, OCI_MANIFEST)
    refused = repository.put_manifest(manifest, "bad" if by_tag else None)
    assert_refused(refused, 400, "MANIFEST_INVALID")
    assert repository.head_manifest("bad").status == 404
    assert repository.head_manifest(manifest.digest).status == 404


@pytest.mark.parametrize(
    "content",
    [b"", b" ", b"null", b"[]", b"2", b'"text"', b"{", b"{}", b"\xff\xfe{}", b"\xef\xbb\xbf{}",
     b'{"schemaVersion":2,"schemaVersion":2}', b'{"schemaVersion":NaN}', b"[" * 100_000,
     b'{"schemaVersion":' + b"9" * 5000 + b"}"],
    ids=lambda content: repr(content[:24]),
)  # fmt: skip
def test_content_that_is_no_json_object_is_refused(repository: Repository, content: bytes) -> None:
    target = repository.manifest("bad")
    refused = repository.client.put(target, content, {"Content-Type": OCI_MANIFEST})
    assert_refused(refused, 400, "MANIFEST_INVALID")


@pytest.mark.parametrize(
    "content_type",
    [OCI_INDEX, DOCKER_MANIFEST, "application/json", "text/plain", "application/octet-stream",
     "application/vnd.docker.distribution.manifest.v1+json",
     "application/vnd.docker.distribution.manifest.v1+prettyjws", "a"],
)  # fmt: skip
def test_a_content_type_that_is_not_the_manifests_is_refused(
    repository: Repository, content_type: str
) -> None:
    graph = image()
    push_blobs(repository, graph)
    target = repository.manifest("latest")
    refused = repository.client.put(target, graph.top.content, {"Content-Type": content_type})
    assert_refused(refused, 400, "MANIFEST_INVALID")


def test_an_index_with_layers_is_refused(repository: Repository) -> None:
    for name, value in (("layers", []), ("config", CONFIG)):
        both = document(json.loads(index().top.content) | {name: value}, OCI_INDEX)
        assert_refused(repository.put_manifest(both, "both"), 400, "MANIFEST_INVALID")


# ── content that is not there ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("missing", [0, 1, 2], ids=["first layer", "last layer", "config"])
def test_a_manifest_whose_blob_is_missing_is_refused(repository: Repository, missing: int) -> None:
    whole = image()
    absent = whole.blobs[missing]
    push_blobs(repository, whole.without(absent))
    error = assert_refused(
        repository.put_manifest(whole.top, "latest"), 404, "MANIFEST_BLOB_UNKNOWN"
    )
    assert absent.digest in json.dumps(error["detail"])
    assert repository.head_manifest("latest").status == 404
    assert repository.head_manifest(whole.top.digest).status == 404
    assert repository.push(absent).status == 201
    assert repository.put_manifest(whole.top, "latest").status == 201


def test_a_blob_of_another_repository_is_not_there(
    repository: Repository, other: Repository
) -> None:
    graph = image()
    push_blobs(other, graph)
    refused = repository.put_manifest(graph.top, "latest")
    assert_refused(refused, 404, "MANIFEST_BLOB_UNKNOWN")


def test_an_index_may_list_manifests_that_are_not_there(repository: Repository) -> None:
    absent = image().top.descriptor()
    sparse = index(absent=[absent]).top
    assert_manifest_created(repository, repository.put_manifest(sparse, "sparse"), sparse)


# ── size ─────────────────────────────────────────────────────────────────────────────────────


def manifest_of_size(graph: Graph, size: int) -> Content:
    """Return the graph's manifest, made `size` bytes long by an annotation."""
    body = json.loads(graph.top.content)
    spare = size - len(document(body | {"annotations": {"padding": ""}}, OCI_MANIFEST).content)
    padded = document(body | {"annotations": {"padding": "x" * spare}}, OCI_MANIFEST)
    assert len(padded.content) == size
    return padded


@pytest.mark.parametrize("framed", ["chunked", "with a length"])
@pytest.mark.parametrize(("size", "fits"), [(LIMIT, True), (LIMIT + 1, False), (3 * LIMIT, False)])
def test_manifests_of_up_to_four_mebibytes_are_taken(
    repository: Repository, size: int, fits: bool, framed: str
) -> None:
    graph = image()
    push_blobs(repository, graph)
    manifest = manifest_of_size(graph, size)
    blocks = [manifest.content[at : at + 65536] for at in range(0, size, 65536)]
    body = blocks if framed == "chunked" else manifest.content
    headers = {"Content-Type": OCI_MANIFEST}
    response = repository.client.put(repository.manifest("large"), body, headers)
    if fits:
        assert_manifest_created(repository, response, manifest)
        assert_manifest_is(repository, "large", manifest)
    else:
        assert_refused(response, 413, "MANIFEST_INVALID")
        repository.client.close()
        assert repository.head_manifest("large").status == 404
