"""Several processes, and processes that end: uploads go on, and what was answered stays true."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.http_client import Client, Response
from tests.integration.conformance.content import image, random_blob
from tests.integration.conformance.expectations import (
    assert_blob_created,
    assert_blob_is,
    assert_manifest_is,
    assert_refused,
    push_image,
)
from tests.integration.conformance.repository import (
    AS_OCTETS,
    Repository,
    content_range,
    moved_on,
)
from tests.integration.conftest import StartServer
from tests.server import RunningServer

CONNECTIONS = 16
"""Enough that all of them on one of two workers would be a rare chance."""


def each_on_its_own_connection(server: RunningServer) -> Iterator[Client]:
    for _ in range(CONNECTIONS):
        with server.client() as client:
            yield client


# ── several workers ──────────────────────────────────────────────────────────────────────────


def test_every_chunk_may_meet_another_worker(server: RunningServer, name: str) -> None:
    blob = random_blob(CONNECTIONS * 1000)
    with server.client() as first:
        location = Repository(first, name).start_upload(digest_algorithm="sha512")
    for number, client in enumerate(each_on_its_own_connection(server)):
        repository = Repository(client, name)
        chunk = blob.content[number * 1000 : (number + 1) * 1000]
        location = moved_on(repository.put_chunk(location, chunk, number * 1000))
        assert client.get(location).header("Range") == f"0-{(number + 1) * 1000 - 1}"
    with server.client() as last:
        repository = Repository(last, name)
        assert_blob_created(repository, repository.close_upload(location, blob.digest), blob)


def test_what_one_worker_answered_is_true_for_all(
    server: RunningServer, repository: Repository
) -> None:
    manifest, blob = push_image(repository, "latest"), random_blob()
    assert repository.push(blob).status == 201
    for client in each_on_its_own_connection(server):
        assert_manifest_is(Repository(client, repository.name), "latest", manifest)
        assert_blob_is(Repository(client, repository.name), blob)
    moved = push_image(repository, "latest")
    for client in each_on_its_own_connection(server):
        assert_manifest_is(Repository(client, repository.name), "latest", moved)
    assert repository.delete_manifest("latest").status == 202
    assert repository.delete_manifest(manifest.digest).status == 202
    assert repository.delete_blob(blob.digest).status == 202
    for client in each_on_its_own_connection(server):
        elsewhere = Repository(client, repository.name)
        assert elsewhere.head_manifest("latest").status == 404
        assert elsewhere.head_manifest(manifest.digest).status == 404
        assert elsewhere.head_blob(blob.digest).status == 404


def test_two_writers_of_one_upload_do_not_mix(server: RunningServer, name: str) -> None:
    """The second writes in the middle of the first one's body; one of them is refused."""
    first_bytes, second_bytes = random_blob(40_000).content, random_blob(50_000).content
    with server.client() as one, server.client() as two:
        first, second = Repository(one, name), Repository(two, name)
        location = first.start_upload()
        answers: list[Response] = []

        def body() -> Iterator[bytes]:
            yield first_bytes[:20_000]
            answers.append(second.put_chunk(location, second_bytes, 0))
            yield first_bytes[20_000:]

        answers.append(one.patch(location, body(), content_range(first_bytes, 0)))
        assert sorted(answer.status == 202 for answer in answers) == [False, True], answers
        refused = next(answer for answer in answers if answer.status != 202)
        assert_refused(refused, (409, 416), "BLOB_UPLOAD_INVALID")
        stored = second_bytes if answers[0].status == 202 else first_bytes
        with server.client() as third:
            status = third.get(location)
            assert status.header("Range") == f"0-{len(stored) - 1}"


def test_an_upload_is_closed_once(server: RunningServer, repository: Repository) -> None:
    for _ in range(5):
        blob = random_blob(100_000)
        location = moved_on(repository.put_chunk(repository.start_upload(), blob.content, 0))
        barrier = threading.Barrier(4)

        def close(location: str, digest: str, barrier: threading.Barrier) -> int:
            with server.client() as client:
                client.get("/v2/")
                barrier.wait(10)
                elsewhere = Repository(client, repository.name)
                return elsewhere.close_upload(location, digest).status

        with ThreadPoolExecutor(4) as pool:
            tasks = [pool.submit(close, location, blob.digest, barrier) for _ in range(4)]
        statuses = sorted(task.result() for task in tasks)
        assert statuses[0] == 201, statuses
        assert set(statuses[1:]) <= {404, 409}, statuses
        assert_blob_is(repository, blob)


def test_the_same_image_may_be_pushed_by_many_at_once(
    server: RunningServer, repository: Repository
) -> None:
    graph = image()
    barrier = threading.Barrier(8)

    def push(number: int) -> set[int]:
        with server.client() as client:
            elsewhere = Repository(client, repository.name)
            barrier.wait(10)
            statuses = {elsewhere.push(blob).status for blob in graph.blobs}
            return statuses | {elsewhere.put_manifest(graph.top, f"tag-{number}").status}

    with ThreadPoolExecutor(8) as pool:
        assert set().union(*pool.map(push, range(8))) == {201}
    assert repository.tags().json()["tags"] == [f"tag-{number}" for number in range(8)]
    for blob in graph.blobs:
        assert_blob_is(repository, blob)


# ── clients that leave ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("framed", ["chunked", "with a length"])
def test_an_upload_goes_on_where_its_client_left(
    server: RunningServer, repository: Repository, framed: str
) -> None:
    blob = random_blob(300_000)
    location = repository.start_upload()
    _send_half_a_chunk(repository.client, location, blob.content[:100_000], framed)
    location = _resume(repository, location, blob.content)
    assert_blob_created(repository, repository.close_upload(location, blob.digest), blob)


def _send_half_a_chunk(client: Client, location: str, content: bytes, framed: str) -> None:
    """Begin a PATCH that announces more than it sends, and hang up."""
    head = f"PATCH {client.target(location)} HTTP/1.1\r\nHost: test\r\n".encode()
    if framed == "chunked":
        head += b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (2 * len(content))
    else:
        head += b"Content-Length: %d\r\n\r\n" % (2 * len(content))
    with socket.create_connection(client.address, timeout=10) as sock:
        sock.sendall(head + content)


def _resume(repository: Repository, location: str, content: bytes) -> str:
    """Send what the upload lacks. The server may take a moment to see that a client left."""
    deadline = time.monotonic() + 10
    while True:
        reached = (repository.client.get(location).header("Range") or "").removeprefix("0-")
        offset = int(reached) + 1 if reached != "0" else 0
        response = repository.put_chunk(location, content[offset:], offset)
        if response.status == 202:
            return moved_on(response)
        assert response.status in (409, 416), response
        assert time.monotonic() < deadline, response
        time.sleep(0.05)


def test_a_push_in_one_request_that_breaks_off_stores_nothing(
    repository: Repository,
) -> None:
    blob = random_blob(100_000)
    target = repository.path("blobs", "uploads", f"?digest={blob.digest}")
    head = f"POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(blob.content)}\r\n\r\n"
    with socket.create_connection(repository.client.address, timeout=10) as sock:
        sock.sendall(head.encode() + blob.content[:50_000])
    assert repository.head_blob(blob.digest).status == 404
    assert_blob_created(repository, repository.push(blob, "post only"), blob)


# ── servers that end ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_uploads_go_on_after_a_restart(start_server: StartServer, name: str, end: str) -> None:
    server = start_server(workers=2)
    blob, streamed = random_blob(3067), random_blob(3067, algorithm="sha512")
    with server.client() as client:
        repository = Repository(client, name)
        location = repository.start_upload()
        location = moved_on(repository.put_chunk(location, blob.content[:2048], 0))
        other = repository.start_upload()
        other = moved_on(client.patch(other, [streamed.content[:1000]], AS_OCTETS))
        untouched = repository.start_upload()
    getattr(server, end)()
    server.start()
    with server.client() as client:
        repository = Repository(client, name)
        assert client.get(untouched).header("Range") == "0-0"
        status = client.get(location)
        assert (status.status, status.header("Range")) == (204, "0-2047")
        refused = repository.put_chunk(location, blob.content[:1024], 0)
        assert_refused(refused, 416, "BLOB_UPLOAD_INVALID")
        location = moved_on(repository.put_chunk(location, blob.content[2048:], 2048))
        finished = repository.close_upload(location, blob.digest)
        assert_blob_created(repository, finished, blob)
        other = moved_on(client.patch(other, [streamed.content[1000:]], AS_OCTETS))
        finished = repository.close_upload(other, streamed.digest)
        assert_blob_created(repository, finished, streamed)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_was_answered_stays_true_after_a_restart(
    start_server: StartServer, name: str, end: str
) -> None:
    server = start_server(workers=2)
    with server.client() as client:
        repository = Repository(client, name)
        manifest, gone = push_image(repository, "latest"), push_image(repository, "gone")
        blob, deleted = random_blob(200_000), random_blob()
        assert repository.push(blob).status == 201
        assert repository.push(deleted).status == 201
        assert repository.delete_manifest(gone.digest).status == 202
        assert repository.delete_blob(deleted.digest).status == 202
        cancelled = repository.start_upload()
        assert client.delete(cancelled).status == 204
    getattr(server, end)()
    server.start()
    with server.client() as client:
        repository = Repository(client, name)
        assert_manifest_is(repository, "latest", manifest)
        assert_blob_is(repository, blob)
        assert repository.head_manifest("gone").status == 404
        assert repository.head_manifest(gone.digest).status == 404
        assert repository.head_blob(deleted.digest).status == 404
        assert client.get(cancelled).status == 404
        assert repository.tags().json()["tags"] == ["latest"]


def test_a_server_that_is_told_to_stop_ends_well(start_server: StartServer) -> None:
    server = start_server(workers=2)
    assert server.stop() == 0
