"""The contract of ingests: bytes on their way in, invisible until they are verified."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import pytest

from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    UploadBusy,
    UploadOutOfOrder,
)
from entrepot.ports.content_store import ContentStore, Ingest
from entrepot.testing.content_store_contents import KIB, MIB, pattern, store_blob
from entrepot.testing.deliveries import collect
from entrepot.testing.sources import SourceLost, Stalled, arriving, lost_after

PART: Final = pattern(300 * KIB)
REST: Final = pattern(90 * KIB)[::-1]
WHOLE: Final = PART + REST

AHEAD: Final = 8 * MIB
"""How far a source may be read ahead of what is stored, in bytes."""

NOT_IDS: Final = ["", ".", "..", "a/b", "../a", "/etc", "a" * 65, "ä", "a\0b", "a\n", "a b", "a.b"]

ATTEMPTS: Final[dict[str, Callable[[Ingest], Awaitable[object]]]] = {
    "offset": lambda ingest: ingest.offset(),
    "append": lambda ingest: ingest.append(arriving(b"more")),
    "append nothing": lambda ingest: ingest.append(arriving()),
    "commit": lambda ingest: ingest.commit(Digest.of(WHOLE)),
    "abort": lambda ingest: ingest.abort(),
}

CHUNKINGS: Final = {
    "one chunk": [WHOLE],
    "small chunks": [WHOLE[at : at + 1000] for at in range(0, len(WHOLE), 1000)],
    "empty chunks between": [b"", PART, b"", b"", REST, b""],
    "single bytes": [bytes([byte]) for byte in WHOLE[:3000]],
    "many batches": [WHOLE] * 20,
    "chunks of many sizes": [WHOLE[: 1 << power] for power in range(18)] * 6,
    "one chunk of many batches": [WHOLE * 20, b"!"],
}


class IngestTests:
    """Subclasses give the fixture `store`, an empty content store."""

    async def begin(self, store: ContentStore, *chunks: bytes) -> Ingest:
        """Return an ingest with the id `upload` that holds the chunks."""
        ingest = await store.ingest("upload", create=True)
        await ingest.append(arriving(*chunks))
        return ingest

    async def assert_gone(self, store: ContentStore, ingest: Ingest) -> None:
        """Assert that an ingest has ended, whoever asks."""
        for attempt in ATTEMPTS.values():
            with pytest.raises(BlobUploadUnknown):
                await attempt(ingest)
        with pytest.raises(BlobUploadUnknown):
            await store.ingest("upload")

    # Appending

    async def test_an_ingest_starts_empty(self, store: ContentStore) -> None:
        ingest = await store.ingest("upload", create=True)
        assert await ingest.offset() == 0

    async def test_append_returns_the_offset(self, store: ContentStore) -> None:
        ingest = await store.ingest("upload", create=True)
        assert await ingest.append(arriving(PART)) == len(PART)
        assert await ingest.append(arriving()) == len(PART)
        assert await ingest.append(arriving(REST)) == len(WHOLE)
        assert await ingest.offset() == len(WHOLE)

    @pytest.mark.parametrize("chunks", CHUNKINGS.values(), ids=CHUNKINGS)
    async def test_chunks_of_any_size_are_stored_in_order(
        self, store: ContentStore, chunks: list[bytes]
    ) -> None:
        content = b"".join(chunks)
        ingest = await store.ingest("upload", create=True)
        assert await ingest.append(arriving(*chunks)) == len(content)
        assert await ingest.commit(Digest.of(content)) == len(content)
        assert await collect(await store.open(Digest.of(content))) == content

    async def test_an_ingest_is_found_again_by_its_id(self, store: ContentStore) -> None:
        await self.begin(store, PART)
        again = await store.ingest("upload")
        assert await again.offset() == len(PART)
        await again.append(arriving(REST))
        assert await (await store.ingest("upload")).commit(Digest.of(WHOLE)) == len(WHOLE)

    async def test_append_may_say_where_it_starts(self, store: ContentStore) -> None:
        ingest = await store.ingest("upload", create=True)
        await ingest.append(arriving(PART), at=0)
        assert await ingest.append(arriving(REST), at=len(PART)) == len(WHOLE)
        await ingest.commit(Digest.of(WHOLE))

    @pytest.mark.parametrize("at", [0, len(PART) - 1, len(PART) + 1])
    async def test_append_elsewhere_is_out_of_order(self, store: ContentStore, at: int) -> None:
        ingest = await self.begin(store, PART)
        with pytest.raises(UploadOutOfOrder) as refused:
            await ingest.append(arriving(REST), at=at)
        assert refused.value.offset == len(PART)
        assert await ingest.offset() == len(PART)
        await ingest.commit(Digest.of(PART))

    async def test_what_arrived_before_the_source_failed_stays(self, store: ContentStore) -> None:
        ingest = await store.ingest("upload", create=True)
        with pytest.raises(SourceLost):
            await ingest.append(lost_after(*[PART] * 10, REST[:100]))
        assert await ingest.offset() == 10 * len(PART) + 100
        await ingest.append(arriving(REST[100:]), at=10 * len(PART) + 100)
        await ingest.commit(Digest.of(PART * 10 + REST))

    async def test_a_cancelled_append_keeps_what_arrived_and_lets_go(
        self, store: ContentStore
    ) -> None:
        ingest = await store.ingest("upload", create=True)
        source = Stalled(PART)
        appending = asyncio.create_task(ingest.append(source))
        await source.reached.wait()
        appending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await appending
        assert await ingest.append(arriving(REST), at=len(PART)) == len(WHOLE)
        await ingest.commit(Digest.of(WHOLE))

    async def test_the_source_is_read_no_faster_than_bytes_are_stored(
        self, store: ContentStore
    ) -> None:
        ingest = await store.ingest("upload", create=True)
        ahead = 0

        async def source() -> AsyncIterator[bytes]:
            nonlocal ahead
            for number in range(128):
                ahead = max(ahead, number * len(PART) - await ingest.offset())
                yield PART

        await ingest.append(source())
        assert ahead <= AHEAD

    @pytest.mark.parametrize("name", ["append", "append nothing", "commit"])
    async def test_only_one_request_writes_at_a_time(self, store: ContentStore, name: str) -> None:
        ingest = await store.ingest("upload", create=True)
        source = Stalled(WHOLE)
        appending = asyncio.create_task(ingest.append(source))
        await source.reached.wait()
        for other in (ingest, await store.ingest("upload")):
            with pytest.raises(UploadBusy):
                await ATTEMPTS[name](other)
        source.resume()
        assert await appending == len(WHOLE)
        await ingest.commit(Digest.of(WHOLE))

    # Committing

    async def test_content_is_invisible_before_the_commit(self, store: ContentStore) -> None:
        ingest = await self.begin(store, WHOLE)
        with pytest.raises(BlobUnknown):
            await store.size(Digest.of(WHOLE))
        await ingest.commit(Digest.of(WHOLE))
        assert await store.size(Digest.of(WHOLE)) == len(WHOLE)

    async def test_commit_ends_the_ingest(self, store: ContentStore) -> None:
        ingest = await self.begin(store, WHOLE)
        assert await ingest.commit(Digest.of(WHOLE)) == len(WHOLE)
        await self.assert_gone(store, ingest)

    @pytest.mark.parametrize("at", [0, len(WHOLE) - 1, len(WHOLE) + 1])
    async def test_commit_may_say_how_much_there_is(self, store: ContentStore, at: int) -> None:
        """So that what another request has added is no mismatch."""
        ingest = await self.begin(store, WHOLE)
        with pytest.raises(UploadOutOfOrder) as refused:
            await ingest.commit(Digest.of(WHOLE), at=at)
        assert refused.value.offset == len(WHOLE)
        assert await ingest.commit(Digest.of(WHOLE), at=len(WHOLE)) == len(WHOLE)

    async def test_empty_content_is_content(self, store: ContentStore) -> None:
        ingest = await store.ingest("upload", create=True)
        assert await ingest.commit(Digest.of(b"")) == 0
        assert await store.read(Digest.of(b""), 0) == b""

    async def test_what_the_digest_does_not_name_is_refused_and_dropped(
        self, store: ContentStore
    ) -> None:
        ingest = await self.begin(store, PART)
        with pytest.raises(DigestInvalid):
            await ingest.commit(Digest.of(WHOLE))
        await self.assert_gone(store, ingest)
        for digest in (Digest.of(WHOLE), Digest.of(PART)):
            with pytest.raises(BlobUnknown):
                await store.size(digest)

    async def test_refused_bytes_leave_existing_content_alone(self, store: ContentStore) -> None:
        digest = await store_blob(store, WHOLE)
        ingest = await self.begin(store, PART)
        with pytest.raises(DigestInvalid):
            await ingest.commit(digest)
        assert await store.read(digest, MIB) == WHOLE

    async def test_content_that_exists_is_kept_and_the_ingest_dropped(
        self, store: ContentStore
    ) -> None:
        digest = await store_blob(store, WHOLE)
        ingest = await self.begin(store, WHOLE)
        assert await ingest.commit(digest) == len(WHOLE)
        await self.assert_gone(store, ingest)
        assert await store.read(digest, MIB) == WHOLE

    @pytest.mark.parametrize("announced", ["sha256", "sha512"])
    @pytest.mark.parametrize("claimed", ["sha256", "sha512"])
    async def test_the_algorithm_may_become_known_only_at_the_commit(
        self, store: ContentStore, announced: str, claimed: str
    ) -> None:
        ingest = await store.ingest("upload", algorithm=announced, create=True)
        await ingest.append(arriving(PART))
        again = await store.ingest("upload")
        await again.append(arriving(REST))
        digest = Digest.of(WHOLE, claimed)
        assert await again.commit(digest) == len(WHOLE)
        assert await store.read(digest, MIB) == WHOLE

    @pytest.mark.parametrize("claimed", ["sha256", "sha512"])
    async def test_every_algorithm_is_verified(self, store: ContentStore, claimed: str) -> None:
        ingest = await self.begin(store, PART)
        with pytest.raises(DigestInvalid):
            await ingest.commit(Digest.of(WHOLE, claimed))
        await self.assert_gone(store, ingest)

    async def test_the_same_content_may_be_committed_by_many_at_once(
        self, store: ContentStore
    ) -> None:
        contents = [pattern(size) for size in (10, 100 * KIB, 2 * MIB)] * 6
        digests = await asyncio.gather(
            *(
                store_blob(store, content, f"upload-{number}")
                for number, content in enumerate(contents)
            )
        )
        for digest, content in zip(digests, contents, strict=True):
            assert await collect(await store.open(digest)) == content

    # Aborting

    async def test_abort_drops_the_bytes(self, store: ContentStore) -> None:
        ingest = await self.begin(store, WHOLE)
        await ingest.abort()
        await self.assert_gone(store, ingest)
        with pytest.raises(BlobUnknown):
            await store.size(Digest.of(WHOLE))

    async def test_abort_ends_an_append_under_way(self, store: ContentStore) -> None:
        ingest = await store.ingest("upload", create=True)

        async def source() -> AsyncIterator[bytes]:
            yield PART
            await ingest.abort()
            for _ in range(64):
                yield PART

        with pytest.raises(BlobUploadUnknown):
            await ingest.append(source())
        await self.assert_gone(store, ingest)

    async def test_an_id_that_ended_may_be_used_again(self, store: ContentStore) -> None:
        former = await self.begin(store, PART)
        await former.abort()
        await self.begin(store, WHOLE)
        for attempt in ATTEMPTS.values():
            with pytest.raises(BlobUploadUnknown):
                await attempt(former)
        await (await store.ingest("upload")).commit(Digest.of(WHOLE))

    # Ids

    async def test_an_unknown_id_has_no_ingest(self, store: ContentStore) -> None:
        with pytest.raises(BlobUploadUnknown):
            await store.ingest("upload")

    @pytest.mark.parametrize("upload", NOT_IDS)
    async def test_what_is_not_an_id_has_no_ingest(self, store: ContentStore, upload: str) -> None:
        with pytest.raises(BlobUploadUnknown):
            await store.ingest(upload)
        with pytest.raises(BlobUploadInvalid):
            await store.ingest(upload, create=True)

    @pytest.mark.parametrize("upload", ["a", "_", "-", "0", "-_aZ9" * 12, "z" * 64])
    async def test_every_id_has_its_own_ingest(self, store: ContentStore, upload: str) -> None:
        await self.begin(store, PART)
        other = await store.ingest(upload, create=True)
        assert await other.append(arriving(WHOLE)) == len(WHOLE)
        assert await (await store.ingest("upload")).commit(Digest.of(PART)) == len(PART)
        assert await (await store.ingest(upload)).commit(Digest.of(WHOLE)) == len(WHOLE)

    async def test_an_id_in_use_cannot_be_created(self, store: ContentStore) -> None:
        await self.begin(store, PART)
        with pytest.raises(BlobUploadInvalid):
            await store.ingest("upload", create=True)
        assert await (await store.ingest("upload")).offset() == len(PART)

    @pytest.mark.parametrize("algorithm", ["md5", "", "../sha256", "SHA256"])
    async def test_an_unsupported_algorithm_begins_nothing(
        self, store: ContentStore, algorithm: str
    ) -> None:
        with pytest.raises(DigestInvalid):
            await store.ingest("upload", algorithm=algorithm, create=True)
        with pytest.raises(BlobUploadUnknown):
            await store.ingest("upload")
