"""The contract suites of content stores.

ContentStoreSuite holds for every driver; CanEnumerateSuite for those that can list what they
hold; FullContentStoreSuite shows what a driver does when no space is left.
"""

import time
from typing import Final, Protocol

import pytest

from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUnknown, StoreFull
from entrepot.ports.content_store import CanEnumerate, ContentStore
from entrepot.testing.content_store_contents import MIB, ContentTests, pattern, store_blob
from entrepot.testing.content_store_ingests import IngestTests
from entrepot.testing.sources import arriving

ROOM: Final = 4 * MIB
"""How large the store of FullContentStoreSuite is, in bytes."""

TOO_MUCH: Final = pattern(ROOM + MIB)


class Enumerable(ContentStore, CanEnumerate, Protocol):
    """A content store that can be listed."""


@pytest.mark.asyncio
class ContentStoreSuite(ContentTests, IngestTests):
    """Subclasses give the fixture `store`: an empty content store."""


@pytest.mark.asyncio
class CanEnumerateSuite:
    """Subclasses give the fixture `store`: an empty content store that can be listed."""

    async def test_an_empty_store_lists_nothing(self, store: Enumerable) -> None:
        assert [digest async for digest in store.digests()] == []
        assert [upload async for upload, _ in store.ingests()] == []

    async def test_all_content_is_listed(self, store: Enumerable) -> None:
        expected = {await store_blob(store, b"%d" % number) for number in range(40)}
        long = Digest.of(b"long", "sha512")
        await store.put(long, b"long")
        listed = [digest async for digest in store.digests()]
        assert set(listed) == {*expected, long}
        assert len(listed) == len(set(listed))

    async def test_deleted_content_is_not_listed(self, store: Enumerable) -> None:
        kept, deleted = await store_blob(store, b"kept"), await store_blob(store, b"deleted")
        await store.delete(deleted)
        assert [digest async for digest in store.digests()] == [kept]

    async def test_content_may_go_while_it_is_listed(self, store: Enumerable) -> None:
        kept = {await store_blob(store, b"%d" % number) for number in range(20)}
        going = {await store_blob(store, b"-%d" % number) for number in range(20)}
        listed = set()
        async for digest in store.digests():
            listed.add(digest)
            while going:
                await store.delete(going.pop())
        assert listed >= kept

    async def test_open_ingests_are_listed_with_their_last_write(self, store: Enumerable) -> None:
        before = time.time() - 1  # a file's time may come from a coarser clock
        for upload in ("one", "two", "three"):
            ingest = await store.ingest(upload, create=True)
            await ingest.append(arriving(b"bytes"))
        await (await store.ingest("two")).commit(Digest.of(b"bytes"))
        listed = [entry async for entry in store.ingests()]
        assert sorted(upload for upload, _ in listed) == ["one", "three"]
        assert all(before <= written_at <= time.time() + 1 for _, written_at in listed)

    async def test_ingests_may_end_while_they_are_listed(self, store: Enumerable) -> None:
        going = [await store.ingest(f"going-{number}", create=True) for number in range(20)]
        await store.ingest("kept", create=True)
        listed = set()
        async for upload, _ in store.ingests():
            listed.add(upload)
            while going:
                await going.pop().abort()
        assert "kept" in listed


@pytest.mark.asyncio
class FullContentStoreSuite:
    """Subclasses give the fixture `full_store`: an empty store with ROOM bytes of space."""

    async def test_what_was_stored_before_the_store_was_full_stays(
        self, full_store: ContentStore
    ) -> None:
        ingest = await full_store.ingest("upload", create=True)
        await ingest.append(arriving(b"begun, "))
        with pytest.raises(StoreFull):
            await ingest.append(arriving(*[pattern(MIB // 4)] * 24))
        assert await ingest.offset() == len(b"begun, ")
        await ingest.append(arriving(b"ended"), at=len(b"begun, "))
        assert await ingest.commit(Digest.of(b"begun, ended")) == len(b"begun, ended")

    async def test_what_does_not_fit_is_nowhere(self, full_store: ContentStore) -> None:
        digest = Digest.of(TOO_MUCH)
        ingest = await full_store.ingest("upload", create=True)
        with pytest.raises(StoreFull):
            await ingest.append(arriving(TOO_MUCH))
        with pytest.raises(StoreFull):
            await full_store.put(digest, TOO_MUCH)
        with pytest.raises(BlobUnknown):
            await full_store.size(digest)

    async def test_a_failed_write_gives_its_space_back(self, full_store: ContentStore) -> None:
        ingest = await full_store.ingest("upload", create=True)
        for _ in range(3):
            with pytest.raises(StoreFull):
                await ingest.append(arriving(TOO_MUCH))
            with pytest.raises(StoreFull):
                await full_store.put(Digest.of(TOO_MUCH), TOO_MUCH)
        digest = Digest.of(pattern(ROOM // 2))
        await full_store.put(digest, pattern(ROOM // 2))
        assert await full_store.size(digest) == ROOM // 2

    async def test_a_full_store_still_reads_and_deletes(self, full_store: ContentStore) -> None:
        digest = await store_blob(full_store, b"kept")
        ingest = await full_store.ingest("upload", create=True)
        with pytest.raises(StoreFull):
            await ingest.append(arriving(TOO_MUCH))
        assert await full_store.read(digest, MIB) == b"kept"
        await ingest.abort()
        await full_store.delete(digest)
