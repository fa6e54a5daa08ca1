"""A disk that is full: a clear refusal, nothing left behind, reading goes on, and so does writing
once there is space again."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.http_client import Response
from tests.integration.conformance.content import OCI_CONFIG, Content, manifest, random_blob
from tests.integration.conformance.expectations import assert_refused
from tests.integration.conformance.repository import Repository, moved_on
from tests.integration.conftest import StartServer
from tests.integration.small_disk import SmallDisk, mounted
from tests.server import RunningServer

MIB = 1 << 20
SIZE = 24 * MIB
TOO_LARGE = 40 * MIB
SOME = 512 * 1024
"""Bytes by which the space used may differ afterwards: the database and directories."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk", SIZE) as disk:
        yield disk


@pytest.fixture
def server(disk: SmallDisk, start_server: StartServer) -> RunningServer:
    return start_server(workers=2, data=disk.path / "data")


@pytest.fixture
def repository(server: RunningServer) -> Iterator[Repository]:
    with server.client() as client:
        yield Repository(client, "tests/full")


@pytest.fixture
def stored(repository: Repository) -> Content:
    """A manifest, tagged `stored`, with its one blob, pushed while there was space."""
    config = random_blob(100_000, media_type=OCI_CONFIG)
    assert repository.push(config, "post only").status == 201
    body = manifest(config.descriptor(), [])
    assert repository.put_manifest(body, "stored").status == 201
    return body


def assert_full(response: Response) -> None:
    message = assert_refused(response, 507, "UNAVAILABLE")["message"]
    assert "space" in message


def assert_readable(repository: Repository, stored: Content) -> None:
    """What is stored is served, in every way of asking."""
    assert repository.get_manifest("stored").body == stored.content
    assert repository.head_manifest(stored.digest).status == 200
    digest = stored_config(stored)
    assert len(repository.get_blob(digest).body) == 100_000
    assert repository.head_blob(digest).status == 200
    assert repository.tags().json()["tags"] == ["stored"]
    assert repository.client.get("/v2/_catalog").status == 200


def stored_config(stored: Content) -> str:
    digest: str = json.loads(stored.content)["config"]["digest"]
    return digest


def assert_writable(repository: Repository, tag: str) -> None:
    config = random_blob(200_000, media_type=OCI_CONFIG)
    assert repository.push(config, "post+put").status == 201
    assert repository.put_manifest(manifest(config.descriptor(), []), tag).status == 201
    assert repository.get_blob(config.digest).body == config.content


def ingests(server: RunningServer) -> list[Path]:
    return list((server.data / "ingests").iterdir())


# ── a blob that does not fit ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "chunked",
    [
        pytest.param(False, id="with a length"),
        pytest.param(True, id="chunked", marks=pytest.mark.slow),
    ],
)
def test_a_blob_in_one_request(
    server: RunningServer, disk: SmallDisk, repository: Repository, stored: Content, chunked: bool
) -> None:
    before = disk.free
    blob = random_blob(TOO_LARGE)
    body = [blob.content[at : at + MIB] for at in range(0, TOO_LARGE, MIB)]
    response = repository.post_upload(body if chunked else blob.content, digest=blob.digest)
    assert_full(response)
    repository.client.close()
    assert repository.head_blob(blob.digest).status == 404
    assert not ingests(server)
    assert before - disk.free < SOME
    assert_readable(repository, stored)
    assert_writable(repository, "after")


def test_a_chunk(
    server: RunningServer, disk: SmallDisk, repository: Repository, stored: Content
) -> None:
    """What was acknowledged stays; the chunk that did not fit leaves nothing; cancelling frees."""
    before = disk.free
    blob = random_blob(TOO_LARGE)
    location = repository.start_upload()
    location = moved_on(repository.put_chunk(location, blob.content[: 8 * MIB], 0))
    assert_full(repository.put_chunk(location, blob.content[8 * MIB :], 8 * MIB))
    repository.client.close()
    status = repository.client.get(location)
    assert (status.status, status.header("Range")) == (204, f"0-{8 * MIB - 1}")
    assert_readable(repository, stored)
    assert repository.client.delete(location).status == 204
    assert not ingests(server)
    assert before - disk.free < SOME
    assert_writable(repository, "after")


@pytest.mark.slow
def test_a_chunk_goes_on_when_there_is_space(
    disk: SmallDisk, repository: Repository, stored: Content
) -> None:
    blob = random_blob(10 * MIB)
    location = repository.start_upload()
    location = moved_on(repository.put_chunk(location, blob.content[: 5 * MIB], 0))
    disk.fill(leave=2 * MIB)
    assert_full(repository.put_chunk(location, blob.content[5 * MIB :], 5 * MIB))
    repository.client.close()
    disk.clear()
    location = moved_on(repository.put_chunk(location, blob.content[5 * MIB :], 5 * MIB))
    assert repository.close_upload(location, blob.digest).status == 201
    assert repository.get_blob(blob.digest).body == blob.content
    assert_readable(repository, stored)


@pytest.mark.slow
def test_the_last_bytes(
    server: RunningServer, disk: SmallDisk, repository: Repository, stored: Content
) -> None:
    blob = random_blob(TOO_LARGE)
    location = repository.start_upload()
    assert_full(repository.close_upload(location, blob.digest, blob.content))
    repository.client.close()
    assert repository.head_blob(blob.digest).status == 404
    assert repository.client.get(location).status == 204
    assert repository.client.delete(location).status == 204
    assert not ingests(server)
    assert_readable(repository, stored)


@pytest.mark.slow
def test_many_clients_at_once(
    server: RunningServer, disk: SmallDisk, repository: Repository, stored: Content
) -> None:
    """Each fits alone, not all together: who is refused takes nothing from who is not."""
    before = disk.free
    blobs = [random_blob(5 * MIB) for _ in range(8)]

    def push(blob: Content) -> Response:
        with server.client() as client:
            return Repository(client, "tests/full").push(blob, "post only")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(push, blobs))
    fitted = [blob for blob, answer in zip(blobs, answers, strict=True) if answer.status == 201]
    for answer in answers:
        if answer.status != 201:
            assert_full(answer)
    assert len(fitted) < 8
    for blob in blobs:
        assert repository.head_blob(blob.digest).status == (200 if blob in fitted else 404)
    assert not ingests(server)
    assert before - disk.free < len(fitted) * 5 * MIB + SOME
    assert_readable(repository, stored)


# ── no space at all ──────────────────────────────────────────────────────────────────────────


def test_no_space_for_anything(
    server: RunningServer, disk: SmallDisk, repository: Repository, stored: Content
) -> None:
    """Whatever writes is refused; the database is as full as the store."""
    config = random_blob(50, media_type=OCI_CONFIG)
    assert repository.push(config, "post only").status == 201
    new = manifest(config.descriptor(), [])
    disk.fill()
    for _ in range(3):
        assert_full(repository.post_upload())
        assert_full(repository.post_upload(random_blob(10).content, digest=random_blob(10).digest))
        assert_full(repository.put_manifest(new, "new"))
        assert_full(repository.put_manifest(stored, "again"))
        assert_readable(repository, stored)
        assert disk.free == 0
    assert not ingests(server)
    disk.clear()
    assert repository.put_manifest(new, "new").status == 201
    assert repository.get_manifest("new").body == new.content
    assert_writable(repository, "after")


@pytest.mark.slow
def test_no_space_when_the_last_byte_is_there(
    server: RunningServer, disk: SmallDisk, repository: Repository, stored: Content
) -> None:
    """The bytes are stored, their link is not: the client may close the upload again."""
    blob = random_blob(3 * MIB)
    location = repository.start_upload()
    location = moved_on(repository.put_chunk(location, blob.content, 0))
    disk.fill()
    closed = repository.close_upload(location, blob.digest)
    assert_full(closed)
    assert repository.head_blob(blob.digest).status == 404
    disk.clear()
    again = repository.close_upload(location, blob.digest)
    if again.status != 201:
        assert_refused(again, 404, "BLOB_UPLOAD_UNKNOWN")
        assert repository.push(blob, "post+put").status == 201
    assert repository.get_blob(blob.digest).body == blob.content
    assert not ingests(server)


@pytest.mark.slow
def test_reading_goes_on_where_it_would_renew_a_lease(
    disk: SmallDisk,
    server: RunningServer,
    repository: Repository,
    stored: Content,
    start_server: StartServer,
) -> None:
    """A look at a blob prolongs its lease, which is a write; without space it is still a look."""
    server.stop()
    repository.client.close()
    longer = start_server(data=server.data, settings={"storage.blob_lease": "3000d"})
    with longer.client() as client:
        disk.fill()
        assert_readable(Repository(client, "tests/full"), stored)


@pytest.mark.slow
def test_deletes_free_what_they_can(
    disk: SmallDisk, repository: Repository, stored: Content
) -> None:
    """Or a full registry could not be helped over its own API."""
    disk.fill()
    deleted = repository.delete_manifest("stored")
    assert deleted.status in (202, 507), deleted
    if deleted.status == 507:
        assert_full(deleted)
    assert repository.get_manifest(stored.digest).status == 200


@pytest.mark.slow
@pytest.mark.parametrize("orderly", [True, False], ids=["stopped", "killed"])
def test_a_start_without_space_serves_or_says_why(
    disk: SmallDisk, server: RunningServer, repository: Repository, stored: Content, orderly: bool
) -> None:
    (server.stop if orderly else server.kill)()
    repository.client.close()
    disk.fill()
    try:
        server.start()
    except RuntimeError as failure:
        message = str(failure)
    else:
        assert_readable(repository, stored)
        message = "error: full"
    assert "error:" in message
    assert "full" in message or "space" in message
    disk.clear()
    server.kill()
    repository.client.close()
    server.start()
    assert_readable(repository, stored)
    assert_writable(repository, "after")


# ── no more files ────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_no_more_files(tmp_path: Path, start_server: StartServer) -> None:
    """A file system may run out of inodes with all its bytes free; at whichever step that is."""
    with mounted(tmp_path / "disk", SIZE, inodes=400) as disk:
        server = start_server(workers=2, data=disk.path / "data")
        with server.client() as client:
            repository = Repository(client, "tests/files")
            refused = []
            for left in range(8):
                disk.take_files(leave=left)
                for push in (push_in_one, push_in_two):
                    blob = random_blob(100)
                    answer = push(repository, blob)
                    if answer.status == 201:
                        assert repository.get_blob(blob.digest).body == blob.content
                    else:
                        refused.append(answer)
                disk.clear()
            assert refused
            for answer in refused:
                assert_full(answer)
            assert not ingests(server)
        server.kill()


def push_in_one(repository: Repository, blob: Content) -> Response:
    return repository.post_upload(blob.content, digest=blob.digest)


def push_in_two(repository: Repository, blob: Content) -> Response:
    """Open an upload and close it; cancel what cannot be closed."""
    opened = repository.post_upload()
    if opened.status != 202:
        return opened
    location = moved_on(opened)
    closed = repository.close_upload(location, blob.digest, blob.content)
    if closed.status != 201:
        assert repository.client.delete(location).status == 204
    return closed
