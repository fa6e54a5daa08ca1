from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count

import pytest

from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    BlobUnknown,
    BlobUploadUnknown,
    Denied,
    DigestInvalid,
    StoreFull,
    UploadOutOfOrder,
)
from entrepot.oci.reference import RepositoryName
from entrepot.ports.metadata_store import MetadataStore
from entrepot.services.gates import Actor, Change, Gates
from entrepot.services.uploads import TOUCH_INTERVAL, UploadProgress, Uploads
from entrepot.testing import MemoryContentStore
from entrepot.testing.sources import SourceLost, arriving, lost_after
from tests.unit.services.conftest import Gatekeeper, SetClock
from tests.unit.services.examples import ALICE, ALPHA, BETA, BOB, DIGEST, ELSE, LAYER, LEASE, NOW


@pytest.fixture
def uploads(
    metadata: MetadataStore, content: MemoryContentStore, gates: Gates, clock: SetClock
) -> Uploads:
    numbers = count(1)
    return Uploads(
        metadata.uploads,
        metadata.blobs,
        content,
        gates,
        clock,
        lambda: f"upload-{next(numbers)}",
        LEASE,
    )


async def assert_nothing_is_left(metadata: MetadataStore, content: MemoryContentStore) -> None:
    """Assert that there is no upload, no session and no blob."""
    assert content.arriving == {}
    assert content.contents == {}
    assert await metadata.uploads.idle_since(float("inf"), 10) == []
    assert await metadata.blobs.holders(DIGEST, 10) == []


async def test_a_blob_comes_in_chunks(
    uploads: Uploads, metadata: MetadataStore, content: MemoryContentStore, clock: SetClock
) -> None:
    assert await uploads.start(ALICE, ALPHA) == UploadProgress("upload-1", 0)
    progress = await uploads.append(ALICE, ALPHA, "upload-1", arriving(LAYER[:3]), at=0)
    assert progress == UploadProgress("upload-1", 3)
    assert await uploads.status(ALICE, ALPHA, "upload-1") == progress
    clock.time += 30
    done = uploads.finish(ALICE, ALPHA, "upload-1", DIGEST, arriving(LAYER[3:]), at=3)
    assert await done == len(LAYER)
    assert content.contents == {DIGEST: LAYER}
    assert (await metadata.blobs.find(ALPHA, DIGEST)).leased_until == NOW + 30 + LEASE
    with pytest.raises(BlobUploadUnknown):
        await uploads.status(ALICE, ALPHA, "upload-1")


async def test_the_closing_request_may_bring_nothing(uploads: Uploads) -> None:
    await uploads.start(ALICE, ALPHA)
    await uploads.append(ALICE, ALPHA, "upload-1", arriving(LAYER), at=None)
    assert await uploads.finish(ALICE, ALPHA, "upload-1", DIGEST, None, at=None) == len(LAYER)


async def test_a_blob_comes_in_one_request(
    uploads: Uploads, metadata: MetadataStore, content: MemoryContentStore
) -> None:
    assert await uploads.store(ALICE, ALPHA, DIGEST, arriving(LAYER)) == len(LAYER)
    assert content.contents == {DIGEST: LAYER}
    assert (await metadata.blobs.find(ALPHA, DIGEST)).leased_until == NOW + LEASE


@pytest.mark.parametrize(("actor", "repository"), [(BOB, ALPHA), (ALICE, BETA)])
async def test_an_upload_exists_only_for_who_began_it_and_where(
    uploads: Uploads, actor: Actor, repository: RepositoryName
) -> None:
    await uploads.start(ALICE, ALPHA)
    attempts: list[Awaitable[object]] = [
        uploads.status(actor, repository, "upload-1"),
        uploads.append(actor, repository, "upload-1", arriving(LAYER), at=None),
        uploads.finish(actor, repository, "upload-1", DIGEST, arriving(LAYER), at=None),
        uploads.cancel(actor, repository, "upload-1"),
    ]
    for attempt in attempts:
        with pytest.raises(BlobUploadUnknown):
            await attempt
    assert await uploads.status(ALICE, ALPHA, "upload-1") == UploadProgress("upload-1", 0)


async def test_a_chunk_elsewhere_is_refused_and_told_where_to_go_on(uploads: Uploads) -> None:
    await uploads.start(ALICE, ALPHA)
    await uploads.append(ALICE, ALPHA, "upload-1", arriving(LAYER[:3]), at=0)
    with pytest.raises(UploadOutOfOrder) as refused:
        await uploads.append(ALICE, ALPHA, "upload-1", arriving(LAYER), at=0)
    assert refused.value.offset == 3


async def test_what_arrived_before_the_client_left_stays(uploads: Uploads) -> None:
    await uploads.start(ALICE, ALPHA)
    with pytest.raises(SourceLost):
        await uploads.append(ALICE, ALPHA, "upload-1", lost_after(LAYER[:3]), at=0)
    assert await uploads.status(ALICE, ALPHA, "upload-1") == UploadProgress("upload-1", 3)


async def test_bytes_that_are_not_the_digests_end_the_upload(
    uploads: Uploads, metadata: MetadataStore, content: MemoryContentStore
) -> None:
    await uploads.start(ALICE, ALPHA)
    with pytest.raises(DigestInvalid):
        await uploads.finish(ALICE, ALPHA, "upload-1", ELSE, arriving(LAYER), at=None)
    await assert_nothing_is_left(metadata, content)


async def test_a_cancelled_upload_is_gone(
    uploads: Uploads, metadata: MetadataStore, content: MemoryContentStore
) -> None:
    await uploads.start(ALICE, ALPHA)
    await uploads.append(ALICE, ALPHA, "upload-1", arriving(LAYER), at=None)
    await uploads.cancel(ALICE, ALPHA, "upload-1")
    await assert_nothing_is_left(metadata, content)


@pytest.mark.parametrize(
    ("chunks", "digest", "error"),
    [
        (lambda: lost_after(LAYER), DIGEST, SourceLost),
        (lambda: arriving(LAYER), ELSE, DigestInvalid),
        (lambda: arriving(bytes(100)), DIGEST, StoreFull),
    ],
)
async def test_of_a_single_request_that_failed_nothing_stays(
    uploads: Uploads,
    metadata: MetadataStore,
    content: MemoryContentStore,
    chunks: Callable[[], AsyncIterator[bytes]],
    digest: Digest,
    error: type[Exception],
) -> None:
    content.capacity = 50
    with pytest.raises(error):
        await uploads.store(ALICE, ALPHA, digest, chunks())
    await assert_nothing_is_left(metadata, content)


async def test_an_algorithm_that_is_not_supported_begins_nothing(
    uploads: Uploads, metadata: MetadataStore, content: MemoryContentStore
) -> None:
    with pytest.raises(DigestInvalid):
        await uploads.start(ALICE, ALPHA, algorithm="md5")
    await assert_nothing_is_left(metadata, content)


async def test_the_digest_decides_the_algorithm(uploads: Uploads) -> None:
    digest = Digest.of(LAYER, "sha512")
    await uploads.start(ALICE, ALPHA, algorithm="sha256")
    finished = uploads.finish(ALICE, ALPHA, "upload-1", digest, arriving(LAYER), at=None)
    assert await finished == len(LAYER)


@pytest.mark.parametrize(
    ("later", "noted"), [(TOUCH_INTERVAL, NOW), (TOUCH_INTERVAL + 1, NOW + TOUCH_INTERVAL + 1)]
)
async def test_a_session_is_noted_to_be_alive_now_and_then(
    uploads: Uploads, metadata: MetadataStore, clock: SetClock, later: float, noted: float
) -> None:
    await uploads.start(ALICE, ALPHA)
    clock.time = NOW + later
    await uploads.append(ALICE, ALPHA, "upload-1", arriving(LAYER), at=None)
    assert (await metadata.uploads.find("upload-1")).touched_at == noted


async def test_gates_are_asked_before_anything_is_stored(
    uploads: Uploads, metadata: MetadataStore, content: MemoryContentStore, keeper: Gatekeeper
) -> None:
    keeper.shut = True
    with pytest.raises(Denied):
        await uploads.start(ALICE, ALPHA)
    with pytest.raises(Denied):
        await uploads.store(ALICE, ALPHA, DIGEST, arriving(LAYER))
    await assert_nothing_is_left(metadata, content)
    assert keeper.asked == [
        Change("push blob", ALICE, ALPHA),
        Change("push blob", ALICE, ALPHA, DIGEST),
    ]


async def test_a_gate_may_refuse_a_blob_once_its_digest_is_known(
    uploads: Uploads, metadata: MetadataStore, keeper: Gatekeeper
) -> None:
    await uploads.start(ALICE, ALPHA)
    keeper.shut = True
    with pytest.raises(Denied):
        await uploads.finish(ALICE, ALPHA, "upload-1", DIGEST, arriving(LAYER), at=None)
    assert keeper.asked[-1] == Change("push blob", ALICE, ALPHA, DIGEST)
    with pytest.raises(BlobUnknown):
        await metadata.blobs.find(ALPHA, DIGEST)
