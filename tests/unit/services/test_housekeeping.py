import asyncio

import pytest

from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUploadUnknown
from entrepot.ports.metadata_store import MetadataStore, UploadSession
from entrepot.services import housekeeping as settings
from entrepot.services.housekeeping import Housekeeping
from entrepot.testing import MemoryContentStore
from entrepot.testing.sources import Stalled, arriving
from tests.unit.services.conftest import SetClock
from tests.unit.services.examples import ALICE, ALPHA, LAYER, NOW, place

UPLOADS_EXPIRE, EVENTS_EXPIRE = 100.0, 1000.0


@pytest.fixture
def housekeeping(
    metadata: MetadataStore, content: MemoryContentStore, clock: SetClock
) -> Housekeeping:
    return Housekeeping(
        metadata.uploads, metadata.outbox, content, clock, UPLOADS_EXPIRE, EVENTS_EXPIRE
    )


async def begin(metadata: MetadataStore, content: MemoryContentStore, upload: str) -> None:
    """Begin an upload at NOW."""
    await content.ingest(upload, create=True)
    await metadata.uploads.start(UploadSession(upload, ALPHA, "sha256", ALICE.name, NOW, NOW))


async def open_uploads(metadata: MetadataStore) -> list[str]:
    return [session.id for session in await metadata.uploads.idle_since(float("inf"), 10)]


async def test_an_abandoned_upload_is_dropped_with_its_bytes(
    housekeeping: Housekeeping,
    metadata: MetadataStore,
    content: MemoryContentStore,
    clock: SetClock,
) -> None:
    await begin(metadata, content, "abandoned")
    clock.time = NOW + UPLOADS_EXPIRE
    await begin(metadata, content, "young")
    await metadata.uploads.touch("young", clock.time)
    assert await housekeeping.run() == 0
    clock.time += 1
    assert await housekeeping.run() == 1
    assert await open_uploads(metadata) == ["young"]
    assert list(content.arriving) == ["young"]


async def test_an_upload_lives_as_long_as_its_bytes_arrive(
    housekeeping: Housekeeping,
    metadata: MetadataStore,
    content: MemoryContentStore,
    clock: SetClock,
) -> None:
    await begin(metadata, content, "slow")
    source = Stalled(LAYER)
    clock.time = NOW + UPLOADS_EXPIRE - 1
    appending = asyncio.create_task((await content.ingest("slow")).append(source))
    await source.reached.wait()
    clock.time = NOW + UPLOADS_EXPIRE + 1  # since the request began, but not since its last bytes
    assert await housekeeping.run() == 0
    assert (await metadata.uploads.find("slow")).touched_at == NOW + UPLOADS_EXPIRE - 1
    source.resume()
    assert await appending == len(LAYER)


async def test_bytes_without_a_session_are_dropped(
    housekeeping: Housekeeping, content: MemoryContentStore, clock: SetClock
) -> None:
    await (await content.ingest("orphan", create=True)).append(arriving(LAYER))
    assert await housekeeping.run() == 0
    clock.time = NOW + UPLOADS_EXPIRE + 1
    assert await housekeeping.run() == 1
    assert content.arriving == {}


async def test_a_session_without_bytes_is_dropped(
    housekeeping: Housekeeping,
    metadata: MetadataStore,
    content: MemoryContentStore,
    clock: SetClock,
) -> None:
    await begin(metadata, content, "hollow")
    await (await content.ingest("hollow")).abort()
    clock.time = NOW + UPLOADS_EXPIRE + 1
    assert await housekeeping.run() == 1
    with pytest.raises(BlobUploadUnknown):
        await metadata.uploads.find("hollow")


async def test_stale_events_are_dropped_and_others_kept(
    housekeeping: Housekeeping,
    metadata: MetadataStore,
    content: MemoryContentStore,
    clock: SetClock,
) -> None:
    await place(metadata, content, ALPHA, LAYER)
    clock.time = NOW + EVENTS_EXPIRE
    await housekeeping.run()
    assert [event.kind for event in await metadata.outbox.pending(10)] == ["blob.push"]
    clock.time += 1
    await housekeeping.run()
    assert await metadata.outbox.pending(10) == []


async def test_one_run_drops_all_stale_events_up_to_a_bound(
    housekeeping: Housekeeping,
    metadata: MetadataStore,
    content: MemoryContentStore,
    clock: SetClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings, "BATCH", 2)
    monkeypatch.setattr(settings, "BATCHES", 3)
    await place(metadata, content, ALPHA, *(b"%d" % number for number in range(7)))
    clock.time = NOW + EVENTS_EXPIRE + 1
    await housekeeping.run()
    assert [event.digest for event in await metadata.outbox.pending(10)] == [Digest.of(b"6")]
    await housekeeping.run()
    assert await metadata.outbox.pending(10) == []
