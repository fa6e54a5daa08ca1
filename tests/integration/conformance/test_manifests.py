"""Manifests: pushed by tag, digest and tag parameters, read and deleted (end-3, 7, 9)."""

import json

import pytest

from tests.http_client import Response
from tests.integration.conformance.content import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    OCI_MANIFEST,
    Content,
    Graph,
    Json,
    document,
    image,
    index,
    random_blob,
)
from tests.integration.conformance.expectations import (
    assert_manifest_created,
    assert_manifest_is,
    assert_refused,
    push_blobs,
    push_image,
)
from tests.integration.conformance.repository import Repository

# ── pushing and reading ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("framed", ["chunked", "with a length"])
def test_a_manifest_is_stored_verbatim(repository: Repository, framed: str) -> None:
    """Spaces, key order and escapes are part of its identity."""
    graph = image()
    push_blobs(repository, graph)
    spelled = json.dumps(json.loads(graph.top.content), indent=3, sort_keys=True)
    spelled = "\n\t" + spelled.replace('"linux"', '"\\u006cinux"') + "\r\n"
    manifest = Content(spelled.encode(), OCI_MANIFEST)
    body = [manifest.content] if framed == "chunked" else manifest.content
    response = repository.client.put(
        repository.manifest("spelled"), body, {"Content-Type": OCI_MANIFEST}
    )
    assert_manifest_created(repository, response, manifest)
    assert_manifest_is(repository, "spelled", manifest)
    assert_manifest_is(repository, manifest.digest, manifest)


def test_what_a_client_accepts_changes_nothing(repository: Repository) -> None:
    manifest = push_image(repository, "latest")
    for accept in ("*/*", "application/json", DOCKER_MANIFEST, "text/html;q=1, */*;q=0"):
        response = repository.client.get(repository.manifest("latest"), {"Accept": accept})
        assert (response.status, response.body) == (200, manifest.content)
        assert response.header("Content-Type") == OCI_MANIFEST


@pytest.mark.parametrize("content_type", ["{}; charset=utf-8", "{} ;a=b", None])
def test_the_content_type_may_have_parameters_or_be_missing(
    repository: Repository, content_type: str | None
) -> None:
    graph = image()
    push_blobs(repository, graph)
    headers = {"Content-Type": content_type.format(OCI_MANIFEST)} if content_type else {}
    target = repository.manifest("latest")
    response = repository.client.put(target, graph.top.content, headers)
    assert_manifest_created(repository, response, graph.top)


@pytest.mark.parametrize("listed", [False, True], ids=["manifest", "manifest list"])
def test_docker_schema_2_is_stored_like_oci(repository: Repository, listed: bool) -> None:
    config = random_blob(64, media_type=DOCKER_CONFIG)
    layer = random_blob(64, media_type=DOCKER_LAYER_GZIP)
    fields: Json = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": config.descriptor(),
        "layers": [layer.descriptor()],
    }
    graph = Graph((config, layer), (document(fields, DOCKER_MANIFEST),))
    push_blobs(repository, graph)
    response = repository.put_manifest(graph.top, "image")
    assert_manifest_created(repository, response, graph.top)
    if listed:
        platform = {"os": "linux", "architecture": "amd64"}
        fields = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST_LIST,
            "manifests": [graph.top.descriptor(platform=platform)],
        }
        manifest_list = document(fields, DOCKER_MANIFEST_LIST)
        response = repository.put_manifest(manifest_list, "list")
        assert_manifest_created(repository, response, manifest_list)
        assert_manifest_is(repository, "list", manifest_list)


def test_a_tag_moves_and_the_manifest_stays(repository: Repository) -> None:
    first, second = push_image(repository, "latest"), push_image(repository, "latest")
    assert_manifest_is(repository, "latest", second)
    assert_manifest_is(repository, first.digest, first)
    assert repository.put_manifest(first, "latest").status == 201
    assert_manifest_is(repository, "latest", first)


def test_one_content_under_two_algorithms_is_two_manifests(repository: Repository) -> None:
    graph = image()
    push_blobs(repository, graph)
    other = Content(graph.top.content, OCI_MANIFEST, "sha512")
    for manifest in (graph.top, other):
        assert_manifest_created(repository, repository.put_manifest(manifest), manifest)
    assert repository.delete_manifest(other.digest).status == 202
    assert repository.head_manifest(other.digest).status == 404
    assert_manifest_is(repository, graph.top.digest, graph.top)


def test_a_missing_manifest_is_unknown(repository: Repository) -> None:
    """In a repository that exists the manifest is unknown, else the repository."""
    missing = random_blob().digest
    for reference in (missing, "missing", random_blob(algorithm="sha512").digest):
        assert_refused(repository.get_manifest(reference), 404, "NAME_UNKNOWN")
        assert repository.head_manifest(reference).status == 404
        assert_refused(repository.delete_manifest(reference), 404, "NAME_UNKNOWN")
    push_image(repository)
    for reference in (missing, "missing"):
        assert_refused(repository.get_manifest(reference), 404, "MANIFEST_UNKNOWN")
        assert repository.head_manifest(reference).status == 404
        assert_refused(repository.delete_manifest(reference), 404, "MANIFEST_UNKNOWN")


def test_a_manifest_is_no_blob_and_a_blob_no_manifest(repository: Repository) -> None:
    manifest, blob = push_image(repository), random_blob()
    assert repository.push(blob).status == 201
    assert repository.head_manifest(blob.digest).status == 404
    assert repository.get_blob(manifest.digest).status == 404


# ── tag parameters ───────────────────────────────────────────────────────────────────────────


def confirmed_tags(response: Response) -> set[str]:
    """Return the tags in `OCI-Tag`, whichever way they are listed."""
    return {tag.strip() for value in response.all("OCI-Tag") for tag in value.split(",")}


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_push_by_digest_sets_many_tags(repository: Repository, algorithm: str) -> None:
    graph = image(algorithm=algorithm)
    push_blobs(repository, graph)
    tags = [f"v1.{number}" for number in range(9)] + ["latest"]
    response = repository.put_manifest(graph.top, tags=tags)
    assert_manifest_created(repository, response, graph.top)
    assert confirmed_tags(response) == set(tags)
    assert repository.tags().json()["tags"] == sorted(tags)
    for tag in tags:
        assert_manifest_is(repository, tag, graph.top)


def test_a_tag_named_twice_is_set_once(repository: Repository) -> None:
    graph = image()
    push_blobs(repository, graph)
    response = repository.put_manifest(graph.top, tags=["a", "b", "a"])
    assert response.status == 201
    assert confirmed_tags(response) == {"a", "b"}


def test_tags_move_with_a_push_by_digest(repository: Repository) -> None:
    push_image(repository, "latest")
    after = push_image(repository)
    assert repository.put_manifest(after, tags=["latest"]).status == 201
    assert_manifest_is(repository, "latest", after)


def test_too_many_tags_are_too_long_a_uri(repository: Repository) -> None:
    manifest = push_image(repository)
    tags = [f"tag-{number}" for number in range(500)]
    assert_refused(repository.put_manifest(manifest, tags=tags), 414, "TAG_INVALID")
    assert repository.tags().json()["tags"] == []


@pytest.mark.parametrize("tag", ["", "-a", ".a", "a b", "a:b", "ä", "a" * 129, "a/b", "a\n"])
def test_a_malformed_tag_parameter_stores_nothing(repository: Repository, tag: str) -> None:
    graph = image()
    push_blobs(repository, graph)
    refused = repository.put_manifest(graph.top, tags=["good", tag])
    assert_refused(refused, 400, "TAG_INVALID")
    assert repository.head_manifest(graph.top.digest).status == 404
    assert repository.head_manifest("good").status == 404


# ── deleting ─────────────────────────────────────────────────────────────────────────────────


def test_deleting_a_tag_keeps_the_manifest(repository: Repository) -> None:
    manifest = push_image(repository, "one")
    assert repository.put_manifest(manifest, "two").status == 201
    assert repository.delete_manifest("one").status == 202
    assert repository.head_manifest("one").status == 404
    assert_refused(repository.delete_manifest("one"), 404, "MANIFEST_UNKNOWN")
    assert repository.tags().json()["tags"] == ["two"]
    assert_manifest_is(repository, "two", manifest)
    assert_manifest_is(repository, manifest.digest, manifest)


def test_deleting_a_manifest_takes_its_tags_along(repository: Repository) -> None:
    manifest, kept = push_image(repository, "one"), push_image(repository, "kept")
    assert repository.put_manifest(manifest, "two").status == 201
    assert repository.delete_manifest(manifest.digest).status == 202
    for reference in ("one", "two", manifest.digest):
        assert repository.head_manifest(reference).status == 404
        assert_refused(repository.get_manifest(reference), 404, "MANIFEST_UNKNOWN")
    assert repository.tags().json()["tags"] == ["kept"]
    assert_manifest_is(repository, "kept", kept)


def test_children_and_subjects_may_be_deleted_first(repository: Repository) -> None:
    child = image()
    parent = index(child)
    push_blobs(repository, parent)
    for manifest in parent.manifests:
        assert repository.put_manifest(manifest).status == 201
    assert repository.delete_manifest(child.top.digest).status == 202
    assert_manifest_is(repository, parent.top.digest, parent.top)


def test_a_deleted_manifest_can_be_pushed_again(repository: Repository) -> None:
    manifest = push_image(repository, "latest")
    assert repository.delete_manifest(manifest.digest).status == 202
    response = repository.put_manifest(manifest, "latest")
    assert_manifest_created(repository, response, manifest)
    assert_manifest_is(repository, "latest", manifest)
