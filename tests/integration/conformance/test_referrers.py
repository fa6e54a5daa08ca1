"""Referrers: found by subject, filtered, paged, and known from older clients too (end-12)."""

from typing import Any

import pytest

from tests.http_client import next_link, pages
from tests.integration.conformance.content import (
    OCI_CONFIG,
    OCI_INDEX,
    SBOM,
    SIGNATURE,
    Content,
    artifact,
    document,
    image,
    index,
    random_blob,
)
from tests.integration.conformance.data_sets import shown_as_referrer
from tests.integration.conformance.expectations import assert_refused, push_image
from tests.integration.conformance.repository import Repository


def push_artifact(repository: Repository, artifact_type: str, **fields: Any) -> Content:
    """Push an artifact and return its manifest."""
    graph = artifact(artifact_type, **fields)
    for blob in graph.blobs:
        assert repository.push(blob, "post only").status == 201
    assert repository.put_manifest(graph.top).status == 201
    return graph.top


def digests(descriptors: list[dict[str, str]]) -> set[str]:
    return {descriptor["digest"] for descriptor in descriptors}


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_where_nothing_refers_the_list_is_empty(repository: Repository, algorithm: str) -> None:
    """Also in a repository that does not exist, which is how clients learn of the API."""
    subject = random_blob(algorithm=algorithm).digest
    for exists in (False, True):
        if exists:
            push_image(repository)
        response = repository.referrers(subject)
        assert response.status == 200, response
        assert response.header("Content-Type") == OCI_INDEX
        assert response.json() == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
        assert response.header("OCI-Filters-Applied") is None
        filtered = repository.referrers(subject, SBOM)
        assert filtered.json()["manifests"] == []
        assert filtered.header("OCI-Filters-Applied") == "artifactType"


@pytest.mark.parametrize("subject", ["sha256:short", "latest", "md5:" + "0" * 32, "sha256:"])
def test_a_malformed_subject_is_refused(repository: Repository, subject: str) -> None:
    assert_refused(repository.referrers(subject), 400, "DIGEST_INVALID")


def test_an_index_without_an_artifact_type_has_none(repository: Repository) -> None:
    subject = push_image(repository)
    referrer = index(subject=subject.descriptor()).top
    assert repository.put_manifest(referrer).status == 201
    assert repository.referrers(subject.digest).json()["manifests"] == [referrer.descriptor()]
    assert repository.referrers(subject.digest, SBOM).json()["manifests"] == []


def test_an_image_is_found_by_the_type_of_its_config(repository: Repository) -> None:
    subject = push_image(repository)
    referrer = push_image(repository, subject=subject.descriptor())
    found = repository.referrers(subject.digest, OCI_CONFIG).json()["manifests"]
    assert found == [shown_as_referrer(referrer)]


def test_a_plus_sign_in_the_filter_may_stand_unencoded(repository: Repository) -> None:
    subject = push_image(repository)
    signature = push_artifact(repository, SIGNATURE, subject=subject.descriptor())
    target = repository.path("referrers", subject.digest) + f"?artifactType={SIGNATURE}"
    assert repository.client.get(target).json()["manifests"] == [shown_as_referrer(signature)]


def test_a_referrer_is_one_whichever_way_it_is_pushed(repository: Repository) -> None:
    subject = push_image(repository, "image")
    referrer = push_artifact(repository, SBOM, subject=subject.descriptor())
    for tag in ("one", "two"):
        response = repository.put_manifest(referrer, tag)
        assert response.header("OCI-Subject") == subject.digest
    assert repository.put_manifest(referrer, tags=["three"]).status == 201
    found = repository.referrers(subject.digest).json()["manifests"]
    assert found == [shown_as_referrer(referrer)]


def test_referrers_are_a_repositorys_own(repository: Repository, other: Repository) -> None:
    subject = push_image(repository)
    push_artifact(other, SBOM, subject=subject.descriptor())
    assert repository.referrers(subject.digest).json()["manifests"] == []


def test_a_deleted_referrer_is_listed_no_more(repository: Repository) -> None:
    subject = push_image(repository)
    kept, gone = (push_artifact(repository, SBOM, subject=subject.descriptor()) for _ in range(2))
    assert repository.delete_manifest(gone.digest).status == 202
    found = repository.referrers(subject.digest).json()["manifests"]
    assert found == [shown_as_referrer(kept)]


def test_a_deleted_subject_keeps_its_referrers(repository: Repository) -> None:
    subject = push_image(repository)
    referrer = push_artifact(repository, SBOM, subject=subject.descriptor())
    assert repository.delete_manifest(subject.digest).status == 202
    found = repository.referrers(subject.digest).json()["manifests"]
    assert found == [shown_as_referrer(referrer)]


def test_a_tags_deletion_changes_no_referrers(repository: Repository) -> None:
    subject = push_image(repository)
    referrer = push_artifact(repository, SBOM, subject=subject.descriptor())
    assert repository.put_manifest(referrer, "sbom").status == 201
    assert repository.delete_manifest("sbom").status == 202
    found = repository.referrers(subject.digest).json()["manifests"]
    assert found == [shown_as_referrer(referrer)]


@pytest.mark.parametrize("size", [1, 3, 4, 100])
@pytest.mark.parametrize("artifact_type", [None, SBOM], ids=["all", "filtered"])
def test_pages_add_up_to_the_whole(
    repository: Repository, artifact_type: str | None, size: int
) -> None:
    subject = push_image(repository)
    pushed = [
        push_artifact(repository, kind, subject=subject.descriptor())
        for kind in (SBOM, SIGNATURE) * 4
    ]
    expected = {
        one.digest
        for one in pushed
        if artifact_type in (None, shown_as_referrer(one)["artifactType"])
    }
    target = repository.path("referrers", subject.digest) + f"?n={size}"
    if artifact_type:
        target += f"&artifactType={artifact_type}"
    found: list[str] = []
    for page in pages(repository.client, target):
        assert page.status == 200, page
        assert page.header("Content-Type") == OCI_INDEX
        assert page.header("OCI-Filters-Applied") == ("artifactType" if artifact_type else None)
        entries = page.json()["manifests"]
        assert len(entries) == min(size, len(expected) - len(found))
        found += [entry["digest"] for entry in entries]
    assert set(found) == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize("known", [True, False], ids=["by subject", "by tag"])
def test_a_page_is_cut_where_annotations_are_long(repository: Repository, known: bool) -> None:
    """However many are asked for, a page stays small enough to be made in memory."""
    subject = push_image(repository)
    long = {"text": "x" * 1_500_000}
    if known:
        pushed = [
            push_artifact(repository, SBOM, subject=subject.descriptor(), annotations=long)
            for _ in range(5)
        ]
    else:
        pushed = [push_artifact(repository, SBOM, annotations=long) for _ in range(5)]
        listed = [one.descriptor(artifactType=SBOM) for one in pushed]
        body = index(absent=listed).top
        assert repository.put_manifest(body, fallback_tag(subject)).status == 201
    found = []
    for page in pages(repository.client, repository.path("referrers", subject.digest)):
        assert len(page.body) < 5_000_000
        entries = page.json()["manifests"]
        assert len(entries) in (1, 2)
        found += entries
    expected = [shown_as_referrer(one) for one in pushed] if known else listed
    assert found == sorted(expected, key=lambda one: str(one["digest"]))


def test_one_referrer_is_shown_however_long(repository: Repository) -> None:
    subject = push_image(repository)
    referrer = push_artifact(
        repository, SBOM, subject=subject.descriptor(), annotations={"text": "x" * 4_190_000}
    )
    response = repository.referrers(subject.digest)
    assert response.json()["manifests"] == [shown_as_referrer(referrer)]
    assert next_link(response) is None


# ── the referrers tag of clients that do not know the API ────────────────────────────────────


def fallback_tag(subject: Content) -> str:
    return subject.digest.replace(":", "-")


def push_fallback(repository: Repository, subject: Content, *referrers: Content) -> None:
    """Push the index that an older client keeps of a subject's referrers."""
    listed = [shown_as_referrer(referrer) for referrer in referrers]
    body = index(absent=listed).top
    assert repository.put_manifest(body, fallback_tag(subject)).status == 201


def test_what_an_older_client_listed_is_found(repository: Repository) -> None:
    subject = push_image(repository)
    sbom, signature = push_artifact(repository, SBOM), push_artifact(repository, SIGNATURE)
    push_fallback(repository, subject, sbom, signature)
    found = repository.referrers(subject.digest).json()["manifests"]
    assert sorted(found, key=lambda one: one["digest"]) == sorted(
        [shown_as_referrer(sbom), shown_as_referrer(signature)], key=lambda one: one["digest"]
    )
    filtered = repository.referrers(subject.digest, SBOM).json()["manifests"]
    assert filtered == [shown_as_referrer(sbom)]


def test_both_ways_together_list_each_once(repository: Repository) -> None:
    subject = push_image(repository)
    to_it = subject.descriptor()
    both = push_artifact(repository, SBOM, subject=to_it, annotations={"a": "b"})
    only_listed, only_known = (
        push_artifact(repository, SIGNATURE),
        push_artifact(repository, SIGNATURE, subject=to_it),
    )
    push_fallback(repository, subject, both, only_listed)
    found = repository.referrers(subject.digest).json()["manifests"]
    assert len(found) == 3
    assert digests(found) == {both.digest, only_listed.digest, only_known.digest}
    assert shown_as_referrer(both) in found


@pytest.mark.parametrize("size", [1, 2])
def test_pages_hold_both_ways_together(repository: Repository, size: int) -> None:
    subject = push_image(repository)
    known = [push_artifact(repository, SBOM, subject=subject.descriptor()) for _ in range(3)]
    listed = [push_artifact(repository, SBOM) for _ in range(3)]
    push_fallback(repository, subject, *listed, known[0])
    target = repository.path("referrers", subject.digest) + f"?n={size}"
    found = [
        entry["digest"]
        for page in pages(repository.client, target)
        for entry in page.json()["manifests"]
    ]
    assert len(found) == 6
    assert set(found) == {one.digest for one in known + listed}


def test_what_is_not_there_is_not_listed(repository: Repository) -> None:
    subject = push_image(repository)
    push_fallback(repository, subject, image().top)
    assert repository.referrers(subject.digest).json()["manifests"] == []


def test_a_fallback_tag_that_is_no_index_is_ignored(repository: Repository) -> None:
    subject = push_image(repository)
    referrer = push_artifact(repository, SBOM, subject=subject.descriptor())
    assert repository.put_manifest(subject, fallback_tag(subject)).status == 201
    found = repository.referrers(subject.digest).json()["manifests"]
    assert found == [shown_as_referrer(referrer)]


def test_none_asked_for_is_none(repository: Repository) -> None:
    subject = push_image(repository)
    push_artifact(repository, SBOM, subject=subject.descriptor())
    response = repository.referrers(subject.digest, n="0")
    assert (response.status, response.json()["manifests"]) == (200, [])
    assert next_link(response) is None
    refused = repository.referrers(subject.digest, n="many")
    assert_refused(refused, 400, "PAGINATION_NUMBER_INVALID")


def test_a_subject_may_be_of_any_type_and_size(repository: Repository) -> None:
    """Only its digest counts."""
    subject = {"mediaType": "application/x", "digest": random_blob().digest, "size": 0}
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [],
        "subject": subject,
        "artifactType": SBOM,
    }
    referrer = document(body, OCI_INDEX)
    response = repository.put_manifest(referrer)
    assert (response.status, response.header("OCI-Subject")) == (201, subject["digest"])
    found = repository.referrers(str(subject["digest"])).json()["manifests"]
    assert found == [referrer.descriptor(artifactType=SBOM)]
