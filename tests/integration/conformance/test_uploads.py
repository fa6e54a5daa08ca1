"""Upload sessions: chunks in order, status, cancelling, and everything that goes wrong."""

import pytest

from tests.http_client import Response, with_query
from tests.integration.conformance.content import random_blob
from tests.integration.conformance.expectations import assert_blob_created, assert_refused
from tests.integration.conformance.repository import (
    AS_OCTETS,
    Repository,
    content_range,
    moved_on,
)

CHUNK = 1024


def status(repository: Repository, location: str) -> Response:
    """Return the status of an upload, which must be known."""
    response = repository.client.get(location)
    assert response.status == 204, response
    assert response.body == b""
    return response


def test_an_opened_upload_says_where_it_goes_on(repository: Repository) -> None:
    response = repository.post_upload()
    assert response.status == 202
    assert response.header("Range") == "0-0"
    assert response.header("OCI-Chunk-Min-Length") is None
    assert status(repository, moved_on(response)).header("Range") == "0-0"


def test_every_chunk_is_confirmed_with_the_range_stored(repository: Repository) -> None:
    blob = random_blob(3067)
    location = repository.start_upload()
    for start in range(0, 3067, CHUNK):
        response = repository.put_chunk(location, blob.content[start : start + CHUNK], start)
        location = moved_on(response)
        stored = f"0-{min(start + CHUNK, 3067) - 1}"
        assert response.header("Range") == stored
        assert status(repository, location).header("Range") == stored
    assert_blob_created(repository, repository.close_upload(location, blob.digest), blob)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("last_in_put", [False, True], ids=["patched", "last chunk put"])
def test_a_chunk_out_of_order_is_refused_and_the_upload_goes_on(
    repository: Repository, last_in_put: bool, algorithm: str
) -> None:
    """Before each chunk one is sent that skips ahead, or the first again where none is ahead."""
    blob = random_blob(3067, algorithm=algorithm)
    location = repository.start_upload()
    for start in range(0, 3067, CHUNK):
        wrong = start + CHUNK if start + CHUNK < 3067 else 0
        location = _refused_chunk(repository, location, blob.content, wrong, start, last_in_put)
        chunk = blob.content[start : start + CHUNK]
        if last_in_put and start + len(chunk) == 3067:
            target = with_query(location, {"digest": blob.digest})
            response = repository.client.put(target, chunk, content_range(chunk, start))
        else:
            response = repository.put_chunk(location, chunk, start)
            location = moved_on(response)
    if not last_in_put:
        response = repository.close_upload(location, blob.digest)
    assert_blob_created(repository, response, blob)


def _refused_chunk(
    repository: Repository,
    location: str,
    content: bytes,
    wrong: int,
    right: int,
    last_in_put: bool,
) -> str:
    """Send the chunk at `wrong` where `right` is due; return where the upload goes on."""
    chunk = content[wrong : wrong + CHUNK]
    method = "PATCH"
    if last_in_put and wrong + len(chunk) == len(content):
        method = "PUT"
        location = with_query(location, {"digest": "sha256:" + "0" * 64})
    response = repository.client.request(method, location, chunk, content_range(chunk, wrong))
    assert_refused(response, 416, "BLOB_UPLOAD_INVALID")
    stored = f"0-{max(right - 1, 0)}"
    assert response.header("Range") == stored, response
    assert response.header("Location"), response
    found = status(repository, location)
    assert found.header("Range") == stored
    return found.header("Location") or location


def test_head_of_an_upload_is_its_status_too(repository: Repository) -> None:
    location = moved_on(repository.put_chunk(repository.start_upload(), b"0123456789", 0))
    head, get = repository.client.head(location), status(repository, location)
    assert head.status == 204
    assert head.header("Range") == get.header("Range") == "0-9"


def test_streams_append_one_behind_the_other(repository: Repository) -> None:
    blob = random_blob(3000)
    location = repository.start_upload()
    for start in (0, 1000, 2000):
        body = [blob.content[start : start + 500], blob.content[start + 500 : start + 1000]]
        location = moved_on(repository.client.patch(location, body, AS_OCTETS))
    assert_blob_created(repository, repository.close_upload(location, blob.digest), blob)


def test_a_cancelled_upload_is_gone(repository: Repository) -> None:
    blob = random_blob()
    location = moved_on(repository.put_chunk(repository.start_upload(), blob.content, 0))
    cancelled = repository.client.delete(location)
    assert (cancelled.status, cancelled.body) == (204, b"")
    _assert_unknown(repository, location)
    assert repository.head_blob(blob.digest).status == 404


def test_an_upload_cannot_be_cancelled_before_it_began(repository: Repository) -> None:
    location = repository.path("blobs", "uploads", "0123456789abcdef")
    assert_refused(repository.client.delete(location), 404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("way", ["post+put", "chunked", "streamed"])
def test_a_finished_upload_is_gone(repository: Repository, way: str) -> None:
    blob = random_blob()
    location = repository.start_upload()
    assert repository.close_upload(location, blob.digest, blob.content).status == 201
    _assert_unknown(repository, location)
    assert repository.push(blob, way).status == 201


def test_an_upload_with_the_wrong_digest_is_gone(repository: Repository) -> None:
    location = repository.start_upload()
    refused = repository.close_upload(location, "sha256:" + "0" * 64, b"content")
    assert_refused(refused, 400, "DIGEST_INVALID")
    _assert_unknown(repository, location)


def _assert_unknown(repository: Repository, location: str) -> None:
    client = repository.client
    digest = random_blob().digest
    assert_refused(client.get(location), 404, "BLOB_UPLOAD_UNKNOWN")
    assert_refused(repository.put_chunk(location, b"more", 0), 404, "BLOB_UPLOAD_UNKNOWN")
    assert_refused(repository.close_upload(location, digest, b"x"), 404, "BLOB_UPLOAD_UNKNOWN")
    assert_refused(client.delete(location), 404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize(
    "session", ["unknown", "0" * 36, "..%2F..%2Fescape", "%00", "a" * 300, "a.b", "a%20b"]
)
def test_no_session_but_a_given_one_is_known(repository: Repository, session: str) -> None:
    _assert_unknown(repository, repository.path("blobs", "uploads", session))


def test_an_upload_belongs_to_its_repository(repository: Repository, other: Repository) -> None:
    blob = random_blob()
    location = repository.start_upload()
    stolen = location.replace(repository.name, other.name)
    assert stolen != location
    _assert_unknown(other, stolen)
    finished = repository.close_upload(location, blob.digest, blob.content)
    assert_blob_created(repository, finished, blob)


def test_an_upload_is_not_closed_without_a_digest(repository: Repository) -> None:
    blob = random_blob()
    location = moved_on(repository.put_chunk(repository.start_upload(), blob.content, 0))
    assert_refused(repository.client.put(location, b"", AS_OCTETS), 400, "DIGEST_INVALID")
    assert_blob_created(repository, repository.close_upload(location, blob.digest), blob)


def test_a_malformed_digest_leaves_the_upload_open(repository: Repository) -> None:
    blob = random_blob()
    location = moved_on(repository.put_chunk(repository.start_upload(), blob.content, 0))
    refused = repository.close_upload(location, "sha256:abc", b"never stored")
    assert_refused(refused, 400, "DIGEST_INVALID")
    assert status(repository, location).header("Range") == "0-511"
    assert_blob_created(repository, repository.close_upload(location, blob.digest), blob)


@pytest.mark.parametrize(
    "header", ["0-3", "0-5000", "5-0", "a-b", "0", "-", "0-", "-5", "0-511 0-511", "1.0-2.0"]
)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_content_range_that_does_not_fit_is_refused(
    repository: Repository, method: str, header: str
) -> None:
    """It fits neither the 512 bytes of the body nor, some of them, the grammar."""
    blob = random_blob()
    location = repository.start_upload()
    target = with_query(location, {"digest": blob.digest}) if method == "PUT" else location
    headers = AS_OCTETS | {"Content-Range": header}
    response = repository.client.request(method, target, blob.content, headers)
    assert response.status in (400, 416), response
    assert response.json()["errors"][0]["code"] in ("BLOB_UPLOAD_INVALID", "SIZE_INVALID")
    assert repository.head_blob(blob.digest).status == 404
    # What was refused was not stored, so the blob still fits.
    assert status(repository, location).header("Range") == "0-0"
    finished = repository.close_upload(location, blob.digest, blob.content)
    assert_blob_created(repository, finished, blob)


def test_a_streamed_chunk_shorter_than_its_range_is_refused(repository: Repository) -> None:
    """The length is known only at its end, so what came stays, and the client can go on."""
    blob = random_blob()
    location = repository.start_upload()
    headers = AS_OCTETS | {"Content-Range": "0-511"}
    response = repository.client.patch(location, [blob.content[:100]], headers)
    assert response.status in (400, 416), response
    offset = int((status(repository, location).header("Range") or "").partition("-")[2] or 0)
    offset = offset + 1 if offset else 0
    assert offset in (0, 100)
    location = moved_on(repository.put_chunk(location, blob.content[offset:], offset))
    assert_blob_created(repository, repository.close_upload(location, blob.digest), blob)


def test_many_uploads_stand_side_by_side(repository: Repository) -> None:
    blobs = [random_blob() for _ in range(20)]
    locations = [repository.start_upload() for _ in blobs]
    assert len(set(locations)) == len(locations)
    half = [
        moved_on(repository.put_chunk(location, blob.content[:256], 0))
        for location, blob in zip(locations, blobs, strict=True)
    ]
    for location, blob in zip(half, blobs, strict=True):
        finished = repository.close_upload(location, blob.digest, blob.content[256:])
        assert_blob_created(repository, finished, blob)
