"""Referrers are listed and kept, whether or not the registry has the API."""

import asyncio
import json
from dataclasses import replace

import pytest
import pytest_asyncio

from entrepot.adapters.remotes.repository import HttpRepository
from entrepot.oci import media_types
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestInvalid, Unavailable
from entrepot.oci.reference import Tag
from entrepot.protocol.referrers import fallback_tag, render_referrers
from entrepot.testing import Exchange, MockRegistry, Reply
from entrepot.testing import example_images as examples
from entrepot.testing.example_images import SBOM, SIGNATURE
from entrepot.testing.image_end_contents import fill
from entrepot.testing.mock_connection_faults import Delay
from entrepot.testing.mock_faults import Headers, Status
from tests.remote_registries import name, remote

REFERRERS = "*/referrers/*"
SUBJECT = examples.image("subject")
SIGNED = examples.artifact(SUBJECT.root, SIGNATURE, annotations={"by": "me"})
LISTED = examples.artifact(SUBJECT.root, SBOM)
TAG = fallback_tag(SUBJECT.root.digest)


@pytest_asyncio.fixture
async def subject(repository: HttpRepository) -> Digest:
    """The digest of an image that is there."""
    await fill(repository, SUBJECT, "1.0")
    return SUBJECT.root.digest


def without_api(mock: MockRegistry) -> None:
    mock.abilities.referrers = False


def listed(mock: MockRegistry) -> list[dict[str, object]]:
    """Return the entries under the fallback tag."""
    content = mock.manifest("tests/one", TAG)
    return [] if content is None else json.loads(content)["manifests"]


async def digests(repository: HttpRepository, artifact_type: str | None = None) -> set[Digest]:
    return {one.digest for one in await repository.referrers(SUBJECT.root.digest, artifact_type)}


@pytest.mark.parametrize("api", [True, False])
async def test_referrers_are_found_and_deleted(
    mock: MockRegistry, repository: HttpRepository, subject: Digest, api: bool
) -> None:
    mock.abilities.referrers = api
    for one in (SIGNED, LISTED):
        await fill(repository, one)
    assert await digests(repository) == {SIGNED.root.digest, LISTED.root.digest}
    (found,) = await repository.referrers(subject, SIGNATURE)
    assert found.digest == SIGNED.root.digest
    assert found.size == SIGNED.root.size
    assert found.artifact_type == SIGNATURE
    assert found.annotations == {"by": "me"}
    assert (Tag(TAG) in mock.tags("tests/one")) == (not api)
    await repository.delete_manifest(SIGNED.root.digest)
    assert await digests(repository) == {LISTED.root.digest}
    await repository.delete_manifest(LISTED.root.digest)
    assert await digests(repository) == set()
    assert TAG not in mock.tags("tests/one"), "an empty list is not kept"


async def test_many_are_pushed_at_once(
    mock: MockRegistry, repository: HttpRepository, subject: Digest
) -> None:
    """Each reads the list and writes it: who comes while others wait has to wait, too."""
    without_api(mock)
    mock.fault(Delay(0.02), path=f"*/manifests/{TAG}", times=None)
    many = [examples.artifact(SUBJECT.root, SBOM, annotations={"n": str(n)}) for n in range(12)]

    async def push(number: int) -> None:
        await asyncio.sleep(number / 100)
        await fill(repository, many[number])

    await asyncio.gather(*map(push, range(len(many))))
    assert await digests(repository) == {one.root.digest for one in many}
    # Two reads and a write for each of them: nobody had to write again.
    assert mock.count("PUT", f"*/manifests/{TAG}") == len(many)


async def test_an_empty_list_that_cannot_be_deleted_stays_empty(
    mock: MockRegistry, repository: HttpRepository, subject: Digest
) -> None:
    without_api(mock)
    await fill(repository, SIGNED)
    mock.fault(Status(405), method="DELETE", times=None, after=1)
    await repository.delete_manifest(SIGNED.root.digest)
    assert listed(mock) == []
    assert await digests(repository) == set()


async def test_pages_are_followed_and_filtered(
    mock: MockRegistry, repository: HttpRepository, subject: Digest
) -> None:
    mock.abilities.page_size = 2
    many = [examples.artifact(SUBJECT.root, SBOM, annotations={"n": str(n)}) for n in range(5)]
    for one in (*many, SIGNED):
        await fill(repository, one)
    assert len(await digests(repository)) == 6
    assert await digests(repository, SBOM) == {one.root.digest for one in many}
    mock.fault(Headers({"OCI-Filters-Applied": None}), path=REFERRERS, times=None)
    assert await digests(repository, SIGNATURE) == {SIGNED.root.digest}


async def test_the_filter_is_asked_for_and_not_relied_on(
    mock: MockRegistry, repository: HttpRepository, subject: Digest
) -> None:
    for one in (SIGNED, LISTED):
        await fill(repository, one)

    async def unfiltered(exchange: Exchange) -> Reply:
        exchange.request = exchange.request.__class__(
            exchange.request.method, exchange.request.path, (), exchange.request.headers
        )
        return await exchange.proceed()

    mock.fault(unfiltered, path=REFERRERS)
    assert await digests(repository, SIGNATURE) == {SIGNED.root.digest}
    assert dict(mock.matching("GET", REFERRERS)[0].query) == {"artifactType": SIGNATURE}


@pytest.mark.parametrize("status", [400, 404, 405, 501])
async def test_what_is_no_api_sends_us_to_the_tag(
    mock: MockRegistry, repository: HttpRepository, subject: Digest, status: int
) -> None:
    without_api(mock)
    await fill(repository, SIGNED)
    mock.fault(Status(status), path=REFERRERS)
    assert await digests(repository) == {SIGNED.root.digest}


async def test_a_page_for_people_is_no_api(
    mock: MockRegistry, repository: HttpRepository, subject: Digest
) -> None:
    async def page(_: Exchange) -> Reply:
        return Reply.of(200, b"<html>", {"Content-Type": "text/html"})

    without_api(mock)
    await fill(repository, SIGNED)
    mock.fault(page, path=REFERRERS)
    assert await digests(repository) == {SIGNED.root.digest}


async def test_pushing_again_changes_nothing(
    mock: MockRegistry, repository: HttpRepository, subject: Digest
) -> None:
    without_api(mock)
    for _ in range(2):
        await fill(repository, SIGNED)
    assert len(listed(mock)) == 1
    assert mock.count("PUT", f"*/manifests/{TAG}") == 1


async def test_referrers_that_are_pushed_at_once_are_all_listed(
    mock: MockRegistry, repository: HttpRepository, subject: Digest
) -> None:
    without_api(mock)
    many = [examples.artifact(SUBJECT.root, SBOM, annotations={"n": str(n)}) for n in range(8)]
    await asyncio.gather(*(fill(repository, one) for one in many))
    assert await digests(repository) == {one.root.digest for one in many}


async def test_what_another_client_added_meanwhile_stays(
    mock: MockRegistry, repository: HttpRepository, subject: Digest
) -> None:
    """Another one has read the list before us and writes it after us."""
    without_api(mock)
    await fill(repository, LISTED)
    await repository.delete_tag(Tag(TAG))
    theirs = render_referrers([replace(LISTED.root, artifact_type=SBOM)])

    async def overwritten(exchange: Exchange) -> Reply:
        reply = await exchange.proceed()
        mock.add_manifest("tests/one", TAG, theirs, media_types.OCI_INDEX)
        return reply

    mock.fault(overwritten, method="PUT", path=f"*/manifests/{TAG}")
    await fill(repository, SIGNED)
    assert await digests(repository) == {SIGNED.root.digest, LISTED.root.digest}


async def test_a_list_that_is_always_overwritten_is_named(
    mock: MockRegistry, repository: HttpRepository, subject: Digest
) -> None:
    async def dropped(exchange: Exchange) -> Reply:
        await exchange.read_all()
        return Reply.of(201, b"", {})

    without_api(mock)
    mock.fault(dropped, method="PUT", path=f"*/manifests/{TAG}", times=None)
    with pytest.raises(Unavailable, match="being changed by others"):
        await fill(repository, SIGNED)


async def test_what_others_deleted_without_a_word_is_dropped(
    mock: MockRegistry, repository: HttpRepository, subject: Digest
) -> None:
    without_api(mock)
    for one in (SIGNED, LISTED):
        await fill(repository, one)
    async with remote(mock.host, referrers_tag_fallback=False) as registry:
        await registry.repository(name()).delete_manifest(SIGNED.root.digest)
    another = examples.artifact(SUBJECT.root, SBOM, annotations={"n": "1"})
    await fill(repository, another)
    assert await digests(repository) == {LISTED.root.digest, another.root.digest}


async def test_fields_that_are_not_ours_stay(
    mock: MockRegistry, repository: HttpRepository, subject: Digest
) -> None:
    without_api(mock)
    await fill(repository, SIGNED)
    document = json.loads(mock.manifest("tests/one", TAG) or b"")
    document["annotations"] = {"kept": "yes"}
    document["manifests"][0]["com.example.odd"] = [1]
    changed = json.dumps(document).encode()
    mock.add_manifest("tests/one", TAG, changed, media_types.OCI_INDEX)
    await fill(repository, LISTED)
    after = json.loads(mock.manifest("tests/one", TAG) or b"")
    assert after["annotations"] == {"kept": "yes"}
    assert after["manifests"][0]["com.example.odd"] == [1]
    assert len(after["manifests"]) == 2


async def test_an_image_under_the_tag_is_not_overwritten(
    mock: MockRegistry, repository: HttpRepository, subject: Digest
) -> None:
    without_api(mock)
    mock.add_image("tests/one", TAG)
    before = mock.manifest("tests/one", TAG)
    with pytest.raises(ManifestInvalid, match="no index"):
        await fill(repository, SIGNED)
    assert mock.manifest("tests/one", TAG) == before


async def test_no_list_is_kept_when_told_so(mock: MockRegistry) -> None:
    without_api(mock)
    async with remote(mock.host, referrers_tag_fallback=False) as registry:
        repository = registry.repository(name())
        await fill(repository, SUBJECT, "1.0")
        await fill(repository, SIGNED)
    assert list(mock.tags("tests/one")) == ["1.0"]
