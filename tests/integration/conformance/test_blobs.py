"""Blobs: every way to push one, reading it, mounting it, deleting it (end-2, end-4 … end-11)."""

from collections.abc import Callable

import pytest

from tests.http_client import with_query
from tests.integration.conformance.content import Content, digest_of, image, random_blob
from tests.integration.conformance.expectations import (
    assert_blob_created,
    assert_blob_is,
    assert_refused,
)
from tests.integration.conformance.repository import AS_OCTETS, WAYS, Repository, moved_on

ALGORITHMS = ("sha256", "sha512")

BLOBS: dict[str, Callable[[str], Content]] = {
    "of 512 bytes": lambda algorithm: random_blob(512, algorithm=algorithm),
    "of three chunks": lambda algorithm: random_blob(3067, algorithm=algorithm),
    "of 3 MiB": lambda algorithm: random_blob(3 * 1024 * 1024 + 1, algorithm=algorithm),
    "empty": lambda algorithm: Content(b"", algorithm=algorithm),
    "empty JSON": lambda algorithm: Content(b"{}", algorithm=algorithm),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", BLOBS)
@pytest.mark.parametrize("way", WAYS)
def test_a_pushed_blob_can_be_read(
    repository: Repository, way: str, kind: str, algorithm: str
) -> None:
    blob = BLOBS[kind](algorithm)
    assert_blob_created(repository, repository.push(blob, way), blob)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("way", WAYS)
def test_bytes_that_are_not_those_of_the_digest_are_refused(
    repository: Repository, way: str, algorithm: str
) -> None:
    blob = random_blob(3067, algorithm=algorithm)
    response = WAYS[way](repository, blob.corrupted(), blob.digest)
    assert_refused(response, 400, "DIGEST_INVALID")
    assert repository.head_blob(blob.digest).status == 404
    assert repository.head_blob(digest_of(blob.corrupted(), algorithm)).status == 404


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_blob_that_nobody_pushed_is_unknown(repository: Repository, algorithm: str) -> None:
    digest = random_blob(algorithm=algorithm).digest
    assert_refused(repository.get_blob(digest), 404, "BLOB_UNKNOWN")
    assert repository.head_blob(digest).status == 404
    assert_refused(repository.delete_blob(digest), 404, "BLOB_UNKNOWN")


def test_a_blob_of_another_repository_is_unknown(repository: Repository, other: Repository) -> None:
    blob, own = random_blob(), random_blob()
    assert other.push(blob).status == 201
    assert repository.push(own).status == 201
    assert_refused(repository.get_blob(blob.digest), 404, "BLOB_UNKNOWN")
    assert repository.head_blob(blob.digest).status == 404


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("way", WAYS)
def test_a_deleted_blob_is_gone_at_once_and_can_be_pushed_again(
    repository: Repository, way: str, algorithm: str
) -> None:
    blob = random_blob(algorithm=algorithm)
    assert repository.push(blob, way).status == 201
    assert repository.delete_blob(blob.digest).status == 202
    assert repository.head_blob(blob.digest).status == 404
    assert_refused(repository.get_blob(blob.digest), 404, "BLOB_UNKNOWN")
    assert_refused(repository.delete_blob(blob.digest), 404, "BLOB_UNKNOWN")
    assert_blob_created(repository, repository.push(blob, way), blob)


def test_pushing_a_blob_again_changes_nothing(repository: Repository) -> None:
    blob = random_blob()
    for way in WAYS:
        assert_blob_created(repository, repository.push(blob, way), blob)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("hint", ALGORITHMS)
def test_the_digest_algorithm_is_a_hint(repository: Repository, hint: str, algorithm: str) -> None:
    blob = random_blob(3067, algorithm=algorithm)
    location = repository.start_upload(digest_algorithm=hint)
    location = moved_on(repository.put_chunk(location, blob.content[:1024], 0))
    location = moved_on(repository.put_chunk(location, blob.content[1024:], 1024))
    assert_blob_created(repository, repository.close_upload(location, blob.digest), blob)


def test_an_unknown_digest_algorithm_is_refused(repository: Repository) -> None:
    assert_refused(repository.post_upload(digest_algorithm="md5"), 400, "DIGEST_INVALID")


def test_one_digest_of_a_blob_does_not_name_it_by_another_algorithm(
    repository: Repository,
) -> None:
    blob = random_blob(algorithm="sha512")
    assert repository.push(blob).status == 201
    assert repository.head_blob(digest_of(blob.content, "sha256")).status == 404


# ── mounts ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("anonymous", [False, True], ids=["from a repository", "anonymous"])
def test_a_blob_is_mounted_and_each_repository_deletes_its_own(
    repository: Repository, other: Repository, anonymous: bool, algorithm: str
) -> None:
    blob = random_blob(algorithm=algorithm)
    assert other.push(blob).status == 201
    source = {} if anonymous else {"from": other.name}
    response = repository.post_upload(mount=blob.digest, **source)
    assert_blob_created(repository, response, blob)
    assert repository.delete_blob(blob.digest).status == 202
    assert repository.head_blob(blob.digest).status == 404
    assert_blob_is(other, blob)
    assert other.delete_blob(blob.digest).status == 202
    assert other.head_blob(blob.digest).status == 404


def test_a_mounted_blob_outlives_its_source(repository: Repository, other: Repository) -> None:
    blob = random_blob()
    assert other.push(blob).status == 201
    assert repository.post_upload(mount=blob.digest, **{"from": other.name}).status == 201
    assert other.delete_blob(blob.digest).status == 202
    assert_blob_is(repository, blob)


@pytest.mark.parametrize("source", ["other", "nowhere", "itself", None])
def test_a_mount_of_what_is_not_there_becomes_an_upload(
    repository: Repository, other: Repository, source: str | None
) -> None:
    blob = random_blob()
    assert other.push(random_blob()).status == 201
    names = {"other": other.name, "nowhere": "no/such/repository", "itself": repository.name}
    asked = {"from": names[source]} if source else {}
    location = moved_on(repository.post_upload(mount=blob.digest, **asked))
    assert_blob_created(
        repository, repository.close_upload(location, blob.digest, blob.content), blob
    )


def test_an_anonymous_mount_of_a_deleted_blob_becomes_an_upload(
    repository: Repository, other: Repository
) -> None:
    blob = random_blob()
    assert other.push(blob).status == 201
    assert other.delete_blob(blob.digest).status == 202
    moved_on(repository.post_upload(mount=blob.digest))


def test_a_malformed_digest_cannot_be_mounted(repository: Repository) -> None:
    assert_refused(repository.post_upload(mount="sha256:short"), 400, "DIGEST_INVALID")


# ── what a blob push is not ──────────────────────────────────────────────────────────────────


def test_a_post_without_a_digest_only_opens_an_upload(repository: Repository) -> None:
    location = moved_on(repository.post_upload(b"ignored or refused, but never a blob"))
    blob = random_blob()
    assert_blob_created(
        repository, repository.close_upload(location, blob.digest, blob.content), blob
    )


@pytest.mark.parametrize("digest", ["", "sha256", "sha256:", "sha256:xyz", "md5:" + "0" * 32])
def test_a_malformed_digest_is_refused(repository: Repository, digest: str) -> None:
    assert_refused(repository.post_upload(b"content", digest=digest), 400, "DIGEST_INVALID")
    location = repository.start_upload()
    response = repository.client.put(with_query(location, {"digest": digest}), b"x", AS_OCTETS)
    assert_refused(response, 400, "DIGEST_INVALID")


def test_an_upper_case_digest_is_not_the_lower_case_one(repository: Repository) -> None:
    blob = random_blob()
    assert repository.push(blob).status == 201
    shouted = "sha256:" + blob.digest.partition(":")[2].upper()
    assert_refused(repository.get_blob(shouted), 400, "DIGEST_INVALID")


def test_a_blob_that_a_manifest_needs_is_not_deleted(repository: Repository) -> None:
    graph = image()
    for blob in graph.blobs:
        assert repository.push(blob).status == 201
    assert repository.put_manifest(graph.top, "kept").status == 201
    needed = graph.blobs[0]
    assert_refused(repository.delete_blob(needed.digest), 403, "DENIED")
    assert_blob_is(repository, needed)
    assert repository.delete_manifest(graph.top.digest).status == 202
    assert repository.delete_blob(needed.digest).status == 202
