"""What every answer of a kind must be, wherever it comes from."""

from collections.abc import Container
from typing import Any

from tests.http_client import Response
from tests.integration.conformance.content import Content, Graph, image
from tests.integration.conformance.repository import Repository

JSON = "application/json"


def assert_refused(response: Response, status: int | Container[int], code: str) -> dict[str, Any]:
    """It is an OCI error body with that code; return its first error."""
    expected: Container[int] = (status,) if isinstance(status, int) else status
    assert response.status in expected, response
    assert response.header("Content-Type") == JSON, response
    errors: list[dict[str, Any]] = response.json()["errors"]
    assert errors, response
    assert errors[0]["code"] == code, response
    assert isinstance(errors[0]["message"], str), response
    assert len(errors[0]["message"]) > 10, response
    assert "detail" in errors[0], response
    return errors[0]


def assert_blob_is(repository: Repository, blob: Content) -> None:
    """HEAD and GET show the blob."""
    head, get = repository.head_blob(blob.digest), repository.get_blob(blob.digest)
    assert get.body == blob.content
    for response in (head, get):
        assert response.status == 200, response
        assert response.header("Content-Length") == str(len(blob.content)), response
        assert response.header("Docker-Content-Digest") == blob.digest, response
    assert head.body == b""


def assert_blob_created(repository: Repository, response: Response, blob: Content) -> None:
    """A push has ended well: its Location leads to the blob, and the blob is there."""
    assert response.status == 201, response
    assert response.header("Docker-Content-Digest") == blob.digest, response
    location = response.header("Location")
    assert location, response
    found = repository.client.get(location)
    assert (found.status, found.body) == (200, blob.content)
    assert_blob_is(repository, blob)


def assert_manifest_is(repository: Repository, reference: str, manifest: Content) -> None:
    """HEAD and GET by that tag or digest show the manifest, byte for byte."""
    head, get = repository.head_manifest(reference), repository.get_manifest(reference)
    assert get.body == manifest.content
    for response in (head, get):
        assert response.status == 200, response
        assert response.header("Content-Type") == manifest.media_type, response
        assert response.header("Content-Length") == str(len(manifest.content)), response
        assert response.header("Docker-Content-Digest") == manifest.digest, response
    assert head.body == b""


def assert_manifest_created(
    repository: Repository, response: Response, manifest: Content, subject: str | None = None
) -> None:
    """A push has ended well: headers say what was stored, and its Location leads there."""
    assert response.status == 201, response
    assert response.header("Docker-Content-Digest") == manifest.digest, response
    assert response.header("OCI-Subject") == subject, response
    location = response.header("Location")
    assert location, response
    found = repository.client.get(location)
    assert (found.status, found.body) == (200, manifest.content)
    assert found.header("Content-Type") == manifest.media_type, found


def push_blobs(repository: Repository, graph: Graph) -> None:
    """Push what the graph's manifests need."""
    for blob in graph.blobs:
        assert repository.push(blob, "post only").status == 201


def push_image(repository: Repository, tag: str | None = None, **fields: Any) -> Content:
    """Push a small image and return its manifest."""
    graph = image(**fields)
    push_blobs(repository, graph)
    assert repository.put_manifest(graph.top, tag).status == 201
    return graph.top
