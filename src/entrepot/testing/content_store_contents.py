"""The contract of content: stored whole under its digest, read, ranged and deleted."""

import time
from pathlib import Path
from typing import Final

import pytest

from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUnknown, DigestInvalid, SizeInvalid
from entrepot.ports.content_store import ContentStore
from entrepot.ports.delivery import File
from entrepot.testing.deliveries import chunks, collect
from entrepot.testing.sources import arriving

KIB: Final = 1 << 10
MIB: Final = 1 << 20

CONTENT: Final = bytes(range(256)) * 1024
"""256 KiB in which every byte tells where it stands."""

SIZES: Final = [0, 1, 64 * KIB, 64 * KIB + 1, 3 * MIB + 7]
RANGES: Final = [(0, 1), (0, None), (1, 100), (255, 258), (100 * KIB, None), (len(CONTENT) - 1, 1)]


def pattern(size: int) -> bytes:
    """Return `size` bytes."""
    return (CONTENT * (size // len(CONTENT) + 1))[:size]


async def store_blob(store: ContentStore, content: bytes, upload: str = "blob") -> Digest:
    """Store content by way of an upload; return its digest."""
    digest = Digest.of(content)
    ingest = await store.ingest(upload, create=True)
    await ingest.append(arriving(content))
    await ingest.commit(digest)
    return digest


def instant() -> float:
    """Return a time that lies behind all that has happened and before all that will."""
    past, future = time.time() + 0.001, 0.0
    while future <= past + 0.001:
        future = time.time()
    return past


class ContentTests:
    """Subclasses give the fixture `store`, an empty content store."""

    @pytest.mark.parametrize("size", SIZES)
    async def test_content_comes_back_as_it_was_uploaded(
        self, store: ContentStore, size: int
    ) -> None:
        content = pattern(size)
        digest = await store_blob(store, content)
        assert await store.size(digest) == size
        assert await collect(await store.open(digest)) == content

    @pytest.mark.parametrize("size", SIZES)
    async def test_content_comes_back_as_it_was_put(self, store: ContentStore, size: int) -> None:
        content = pattern(size)
        digest = Digest.of(content)
        await store.put(digest, content)
        assert await store.size(digest) == size
        assert await collect(await store.open(digest)) == content
        assert await store.read(digest, size) == content

    async def test_put_takes_sha512(self, store: ContentStore) -> None:
        digest = Digest.of(CONTENT, "sha512")
        await store.put(digest, CONTENT)
        assert await store.read(digest, MIB) == CONTENT

    async def test_the_same_bytes_under_another_algorithm_are_other_content(
        self, store: ContentStore
    ) -> None:
        await store.put(Digest.of(CONTENT, "sha512"), CONTENT)
        with pytest.raises(BlobUnknown):
            await store.size(Digest.of(CONTENT))

    async def test_put_refuses_what_the_digest_does_not_name(self, store: ContentStore) -> None:
        digest = Digest.of(CONTENT)
        with pytest.raises(DigestInvalid):
            await store.put(digest, CONTENT + b"!")
        for each in (digest, Digest.of(CONTENT + b"!")):
            with pytest.raises(BlobUnknown):
                await store.open(each)

    async def test_content_may_be_put_again(self, store: ContentStore) -> None:
        digest = Digest.of(CONTENT)
        await store.put(digest, CONTENT)
        await store.put(digest, CONTENT)
        assert await store.read(digest, MIB) == CONTENT

    @pytest.mark.parametrize(("offset", "length"), RANGES)
    @pytest.mark.parametrize("size", [len(CONTENT), 110 * KIB + 3, 64 * KIB])
    async def test_a_range_is_delivered(
        self, store: ContentStore, size: int, offset: int, length: int | None
    ) -> None:
        content = pattern(size)
        offset = min(offset, size - 1)
        digest = await store_blob(store, content)
        expected = content[offset:] if length is None else content[offset : offset + length]
        for _ in ("from the disk", "perhaps from memory"):
            delivery = await store.open(digest, offset, None if length is None else len(expected))
            assert await collect(delivery) == expected

    async def test_read_refuses_content_above_the_limit(self, store: ContentStore) -> None:
        digest = await store_blob(store, CONTENT)
        assert await store.read(digest, len(CONTENT)) == CONTENT
        with pytest.raises(SizeInvalid):
            await store.read(digest, len(CONTENT) - 1)

    async def test_absent_content_is_unknown(self, store: ContentStore) -> None:
        absent = Digest.of(b"absent")
        for attempt in (
            store.size(absent),
            store.open(absent),
            store.read(absent, MIB),
            store.delete(absent),
        ):
            with pytest.raises(BlobUnknown):
                await attempt

    @pytest.mark.parametrize("size", SIZES)
    async def test_deleted_content_is_unknown(self, store: ContentStore, size: int) -> None:
        digest = await store_blob(store, pattern(size))
        kept = await store_blob(store, b"kept")
        await collect(await store.open(digest))
        await store.delete(digest)
        for attempt in (
            store.size(digest),
            store.open(digest),
            store.read(digest, 9 * MIB),
            store.delete(digest),
        ):
            with pytest.raises(BlobUnknown):
                await attempt
        assert await store.read(kept, MIB) == b"kept"

    async def test_deleted_content_can_be_stored_again(self, store: ContentStore) -> None:
        digest = await store_blob(store, CONTENT)
        await store.delete(digest)
        await store_blob(store, CONTENT)
        assert await store.read(digest, MIB) == CONTENT

    @pytest.mark.parametrize("size", SIZES[1:])
    async def test_a_delivery_that_was_opened_outlives_the_delete(
        self, store: ContentStore, size: int
    ) -> None:
        content = pattern(size)
        digest = await store_blob(store, content)
        delivered = chunks(await store.open(digest))
        first = await anext(delivered)
        await store.delete(digest)
        assert first + b"".join([chunk async for chunk in delivered]) == content

    async def test_a_file_delivery_names_an_absolute_path(self, store: ContentStore) -> None:
        """It is opened by others: by nginx, or by a process with another working directory."""
        delivery = await store.open(await store_blob(store, pattern(MIB)))
        if isinstance(delivery, File):
            assert Path(delivery.path).is_absolute()

    # Collecting garbage

    async def test_content_that_has_been_used_since_is_kept(self, store: ContentStore) -> None:
        digest = Digest.of(CONTENT)
        before = instant()
        await store.put(digest, CONTENT)
        assert not await store.delete(digest, unused_since=before)
        assert await store.read(digest, MIB) == CONTENT
        assert await store.delete(digest, unused_since=instant())
        with pytest.raises(BlobUnknown):
            await store.delete(digest, unused_since=before)

    @pytest.mark.parametrize("way", ["put", "commit"])
    async def test_what_is_found_is_used_like_what_is_brought(
        self, store: ContentStore, way: str
    ) -> None:
        digest = await store_blob(store, CONTENT)
        between = instant()
        if way == "put":
            await store.put(digest, CONTENT)
        else:
            await store_blob(store, CONTENT)
        assert not await store.delete(digest, unused_since=between)
        assert await store.read(digest, MIB) == CONTENT

    async def test_reading_is_no_use(self, store: ContentStore) -> None:
        digest = await store_blob(store, CONTENT)
        between = instant()
        await store.size(digest)
        await store.read(digest, MIB)
        await collect(await store.open(digest))
        assert await store.delete(digest, unused_since=between)
