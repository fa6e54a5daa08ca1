from collections.abc import Mapping

import pytest

from entrepot.oci import media_types
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Tag
from entrepot.ports.metadata_store import MetadataStore
from entrepot.protocol.referrers import fallback_tag
from entrepot.services.gates import Gates
from entrepot.services.manifests import Manifests
from entrepot.services.referrers import PAGE_BYTES, Referrers
from entrepot.testing import MemoryContentStore
from tests.unit.oci import documents
from tests.unit.services.conftest import SetClock
from tests.unit.services.examples import ALICE, ALPHA, BETA

SUBJECT = b"whatever has referrers"
NAMED = Digest.of(SUBJECT)


@pytest.fixture
def manifests(
    metadata: MetadataStore, content: MemoryContentStore, gates: Gates, clock: SetClock
) -> Manifests:
    return Manifests(metadata.manifests, content, gates, clock, 8 << 20, require_blobs=False)


@pytest.fixture
def referrers(metadata: MetadataStore, content: MemoryContentStore) -> Referrers:
    return Referrers(metadata.manifests, content, 8 << 20)


async def push(
    manifests: Manifests,
    name: str,
    *,
    kind: str = "application/x.sbom",
    subject: bool = True,
    padding: str = "",
) -> Digest:
    """Push an artifact, about SUBJECT unless told otherwise; return its digest."""
    about = documents.descriptor(SUBJECT, media_types.OCI_MANIFEST) if subject else None
    body = documents.encode(
        documents.manifest(
            artifactType=kind, subject=about, annotations={"name": name, "padding": padding}
        )
    )
    return (await manifests.push(ALICE, ALPHA, body, None)).digest


async def listed(
    referrers: Referrers, *, kind: str | None = None, after: Digest | None = None, limit: int = 10
) -> tuple[dict[Digest, Mapping[str, str]], bool]:
    """Return the annotations of the referrers of a page, by digest, and whether others follow."""
    page = await referrers.list(ALPHA, NAMED, artifact_type=kind, after=after, limit=limit)
    return {record.digest: record.annotations for record in page.records}, page.more


async def test_there_are_none_of_what_nobody_refers_to(referrers: Referrers) -> None:
    assert await listed(referrers) == ({}, False)


async def test_they_come_by_digest_with_their_annotations(
    manifests: Manifests, referrers: Referrers
) -> None:
    names = {await push(manifests, name): name for name in "abcde"}
    await push(manifests, "unrelated", subject=False)
    found, more = await listed(referrers)
    assert list(found) == sorted(names, key=str)
    assert {digest: one["name"] for digest, one in found.items()} == names
    assert not more


async def test_another_repository_shows_none_of_them(
    manifests: Manifests, referrers: Referrers
) -> None:
    await push(manifests, "a")
    page = await referrers.list(BETA, NAMED, artifact_type=None, after=None, limit=10)
    assert page.records == ()


async def test_a_filter_keeps_one_type(manifests: Manifests, referrers: Referrers) -> None:
    sbom = await push(manifests, "a")
    await push(manifests, "b", kind="application/x.signature")
    found, _ = await listed(referrers, kind="application/x.sbom")
    assert list(found) == [sbom]


async def test_pages_follow_each_other_without_gap_or_repetition(
    manifests: Manifests, referrers: Referrers
) -> None:
    digests = sorted([await push(manifests, name) for name in "abcde"], key=str)
    seen: list[Digest] = []
    more = True
    while more:
        page, more = await listed(referrers, after=seen[-1] if seen else None, limit=2)
        assert 1 <= len(page) <= 2
        seen += page
    assert seen == digests


async def test_a_page_ends_before_it_grows_too_large(
    manifests: Manifests, referrers: Referrers
) -> None:
    for name in "abc":
        await push(manifests, name, padding="x" * (PAGE_BYTES * 2 // 5))
    page, more = await listed(referrers)
    assert (len(page), more) == (2, True)
    rest, more = await listed(referrers, after=list(page)[-1])
    assert (len(rest), more) == (1, False)


async def test_one_that_is_larger_than_a_page_comes_alone(
    manifests: Manifests, referrers: Referrers
) -> None:
    await push(manifests, "a", padding="x" * (PAGE_BYTES + 1))
    page, more = await listed(referrers)
    assert (len(page), more) == (1, False)


async def tag_fallback(manifests: Manifests, *entries: Mapping[str, object]) -> None:
    """Push an index of `entries` as clients do that know no referrers API."""
    body = documents.encode(documents.index(manifests=entries))
    await manifests.push(ALICE, ALPHA, body, None, tags=(Tag(fallback_tag(NAMED)),))


def entry(digest: Digest, **more: object) -> dict[str, object]:
    return {"mediaType": media_types.OCI_MANIFEST, "digest": str(digest), "size": 1, **more}


async def test_what_a_fallback_tag_lists_is_listed_too(
    manifests: Manifests, referrers: Referrers
) -> None:
    known = await push(manifests, "known")
    older = await push(manifests, "older", subject=False)
    lost = Digest.of(b"not in this repository")
    await tag_fallback(
        manifests, entry(known), entry(older, annotations={"name": "as listed"}), entry(lost)
    )
    found, _ = await listed(referrers)
    assert {digest: one.get("name") for digest, one in found.items()} == {
        known: "known",
        older: "as listed",
    }


async def test_a_fallback_tag_on_something_else_lists_nothing(
    manifests: Manifests, referrers: Referrers
) -> None:
    body = documents.encode(documents.manifest())
    await manifests.push(ALICE, ALPHA, body, None, tags=(Tag(fallback_tag(NAMED)),))
    assert await listed(referrers) == ({}, False)


async def test_the_filter_holds_for_a_fallback_too(
    manifests: Manifests, referrers: Referrers
) -> None:
    sbom = await push(manifests, "a", subject=False)
    signature = await push(manifests, "b", subject=False, kind="application/x.signature")
    await tag_fallback(manifests, entry(sbom), entry(signature))
    found, _ = await listed(referrers, kind="application/x.signature")
    assert list(found) == [signature]
