"""Every kind of image, index and artifact: pushed, listed, read, found and deleted again.

These are the rules of the official conformance suite, on a server set up as for that suite.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import pytest

from tests.integration.conformance.content import OCI_INDEX
from tests.integration.conformance.data_sets import DATA_SETS, DataSet, distinct, subject_of
from tests.integration.conformance.expectations import (
    assert_blob_created,
    assert_blob_is,
    assert_manifest_created,
    assert_manifest_is,
)
from tests.integration.conformance.repository import WAYS, Repository
from tests.integration.conformance.test_manifests import confirmed_tags
from tests.server import RunningServer

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Pushed:
    """A data set and the repository that holds it."""

    data: DataSet
    repository: Repository


@pytest.fixture(scope="module", params=DATA_SETS)
def pushed(request: pytest.FixtureRequest, sparse_server: RunningServer) -> Iterator[Pushed]:
    """Each data set, pushed once for all the tests that only read."""
    data = DATA_SETS[request.param]()
    with sparse_server.client() as client:
        repository = Repository(client, f"sets/{request.param}-{next(_numbers)}")
        push(repository, data)
        yield Pushed(data, repository)


def push(repository: Repository, data: DataSet) -> None:
    """Push blobs, then manifests by digest, then tags, and look at every answer."""
    ways = list(WAYS)
    for number, blob in enumerate(distinct(data.graph.blobs)):
        response = repository.push(blob, ways[number % len(ways)])
        assert_blob_created(repository, response, blob)
    for manifest in data.graph.manifests:
        tags = data.tags_of(manifest.digest) if data.tag_parameters else []
        response = repository.put_manifest(manifest, tags=tags)
        assert_manifest_created(repository, response, manifest, subject_of(manifest))
        if tags:
            assert confirmed_tags(response) == set(tags)
    if not data.tag_parameters:
        for tag, digest in data.tags.items():
            manifest = data.manifest(digest)
            response = repository.put_manifest(manifest, tag)
            assert_manifest_created(repository, response, manifest, subject_of(manifest))


def test_its_tags_are_listed(pushed: Pushed) -> None:
    repository, tags = pushed.repository, sorted(pushed.data.tags)
    assert repository.tags().json() == {"name": repository.name, "tags": tags}
    for position, last in enumerate(tags):
        assert repository.tags(f"last={last}").json()["tags"] == tags[position + 1 :]


def test_its_manifests_are_read_by_tag_and_digest(pushed: Pushed) -> None:
    for manifest in pushed.data.graph.manifests:
        assert_manifest_is(pushed.repository, manifest.digest, manifest)
    for tag, digest in pushed.data.tags.items():
        assert_manifest_is(pushed.repository, tag, pushed.data.manifest(digest))


def test_its_blobs_are_read(pushed: Pushed) -> None:
    for blob in distinct(pushed.data.graph.blobs):
        assert_blob_is(pushed.repository, blob)


def test_its_referrers_are_found_and_filtered(pushed: Pushed) -> None:
    referrers = pushed.data.referrers()
    for manifest in pushed.data.graph.manifests:
        referrers.setdefault(manifest.digest, [])
    for subject, expected in referrers.items():
        response = pushed.repository.referrers(subject)
        assert response.status == 200
        assert response.header("Content-Type") == OCI_INDEX
        body = response.json()
        assert (body["schemaVersion"], body["mediaType"]) == (2, OCI_INDEX)
        assert _by_digest(body["manifests"]) == _by_digest(expected)
        for artifact_type in {one["artifactType"] for one in expected if "artifactType" in one}:
            _assert_filtered(pushed.repository, subject, artifact_type, expected)


def _assert_filtered(
    repository: Repository, subject: str, artifact_type: str, expected: list[dict[str, object]]
) -> None:
    response = repository.referrers(subject, artifact_type)
    assert response.status == 200
    assert response.header("OCI-Filters-Applied") == "artifactType"
    matching = [one for one in expected if one.get("artifactType") == artifact_type]
    assert _by_digest(response.json()["manifests"]) == _by_digest(matching)


def _by_digest(descriptors: list[dict[str, object]]) -> list[dict[str, object]]:
    return sorted(descriptors, key=lambda descriptor: str(descriptor["digest"]))


@pytest.mark.parametrize("data_set", DATA_SETS)
def test_it_is_deleted_piece_by_piece(
    sparse_server: RunningServer, name: str, data_set: str
) -> None:
    """Tags, then manifests from the top down, then blobs; each is gone at once."""
    data = DATA_SETS[data_set]()
    with sparse_server.client() as client:
        repository = Repository(client, name)
        push(repository, data)
        for tag in data.tags:
            assert repository.delete_manifest(tag).status == 202
            assert repository.head_manifest(tag).status == 404
        for manifest in reversed(data.graph.manifests):
            assert repository.delete_manifest(manifest.digest).status == 202
            assert repository.head_manifest(manifest.digest).status == 404
        for blob in distinct(data.graph.blobs):
            assert repository.delete_blob(blob.digest).status == 202
            assert repository.head_blob(blob.digest).status == 404
        for subject in data.referrers():
            assert repository.referrers(subject).json()["manifests"] == []
        assert repository.tags().json()["tags"] == []


def test_one_repository_takes_all_of_them_in_turn(sparse_server: RunningServer, name: str) -> None:
    """Everything that a set leaves behind must not be in the way of the next."""
    with sparse_server.client() as client:
        repository = Repository(client, name)
        for data_set, make in DATA_SETS.items():
            if data_set == "large-manifest":
                continue
            data = make()
            push(repository, data)
            for manifest in reversed(data.graph.manifests):
                assert repository.delete_manifest(manifest.digest).status == 202
            for blob in distinct(data.graph.blobs):
                assert repository.delete_blob(blob.digest).status == 202


def test_a_blob_that_comes_after_its_manifest_counts(
    sparse_server: RunningServer, name: str
) -> None:
    """A sparse image becomes whole, and its late layer is kept like any other."""
    data = DATA_SETS["sparse"]()
    with sparse_server.client() as client:
        repository = Repository(client, name)
        push(repository, data)
        whole = DATA_SETS["image"]()
        assert repository.put_manifest(whole.graph.top, "early").status == 201
        for blob in whole.graph.blobs:
            assert_blob_created(repository, repository.push(blob), blob)
        assert_manifest_is(repository, "early", whole.graph.top)
        for blob in whole.graph.blobs:
            assert repository.delete_blob(blob.digest).status == 403
        assert repository.delete_manifest(whole.graph.top.digest).status == 202
        for blob in whole.graph.blobs:
            assert repository.delete_blob(blob.digest).status == 202
