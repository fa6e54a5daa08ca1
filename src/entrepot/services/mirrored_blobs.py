"""Blobs of upstreams: from the cache, from a spool that is still growing, or from the upstream into
both. A client gets a blob only through a repository that the upstream has shown to hold it."""

import asyncio
import contextlib

from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUnknown, RegistryError, StoreFull
from entrepot.oci.manifest import Manifest
from entrepot.ports.delivery import Delivery, Follow, Redirect, Spool
from entrepot.rules.sources import Mirrored
from entrepot.services.fills import Fills
from entrepot.services.mirror_place import MirroredBlob, MirrorPlace, nothing

_PREFETCHES = 3
"""Blobs that are prefetched at once."""


class MirroredBlobs:
    """The blobs of every upstream."""

    def __init__(self, fills: Fills) -> None:
        self._fills = fills
        self._prefetching: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_PREFETCHES)

    async def get(self, place: MirrorPlace, source: Mirrored, digest: Digest) -> MirroredBlob:
        """Return a blob to be read, beginning to fetch it where it is not here.

        Raise BlobUnknown, or why the upstream cannot be asked.
        """
        linked = await place.cache.index.names.blob(source.repository, digest)
        if linked is None:
            await place.refuse_absent(source, str(digest), blob=True)
        found = await place.cache.find(digest)
        if found is not None:
            if linked is None:
                await self._confirm(place, source, digest)
            place.cache.use.answered(
                place.upstream.name, "blob", "miss" if linked is None else "hit"
            )
            return self._stored(place, digest, found.size)
        if not place.rules.follow_redirects:
            elsewhere = await place.upstream.location(source.name, digest)
            if elsewhere is not None:
                return await self._elsewhere(place, source, digest, elsewhere)
        running = self._fills.running(place, digest)
        if running is not None and linked is None:
            await self._confirm(place, source, digest)
        size = linked
        if size is None:
            expected = await place.cache.index.names.expected(source.repository, digest)
            size = None if expected is None else expected.size
        fill = self._fills.start(place, source, digest, size)
        place.cache.use.answered(
            place.upstream.name, "blob", "coalesced" if running is not None else "miss"
        )
        spool = await asyncio.shield(fill.opened)
        if spool is None:
            return await self._just_stored(place, digest)
        return self._followed(place, digest, spool)

    async def head(self, place: MirrorPlace, source: Mirrored, digest: Digest) -> MirroredBlob:
        """Return a blob's size truthfully, downloading nothing."""
        linked = await place.cache.index.names.blob(source.repository, digest)
        if linked is not None and await place.cache.find(digest) is not None:
            place.cache.use.answered(place.upstream.name, "blob", "hit")
            return MirroredBlob(digest, linked, nothing)
        await place.refuse_absent(source, str(digest), blob=True)
        place.cache.use.answered(place.upstream.name, "blob", "miss")
        return MirroredBlob(digest, await self._confirm(place, source, digest), nothing)

    async def ensure(self, place: MirrorPlace, source: Mirrored, digest: Digest) -> None:
        """Bring a blob into the cache; return once it is there."""
        await self.get(place, source, digest)
        fill = self._fills.running(place, digest)
        if fill is not None:
            await fill.ended.wait()
            if fill.error is not None:
                raise fill.error

    def prefetch(self, place: MirrorPlace, source: Mirrored, manifest: Manifest) -> None:
        """Begin to bring what a manifest refers to, a few blobs at a time, for nobody yet."""
        for digest in manifest.blobs():
            task = asyncio.get_running_loop().create_task(self._bring(place, source, digest))
            self._prefetching.add(task)
            task.add_done_callback(self._prefetching.discard)

    async def close(self) -> None:
        """Stop what is being fetched; what has come is kept."""
        tasks = list(self._prefetching)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._fills.close()

    async def _bring(self, place: MirrorPlace, source: Mirrored, digest: Digest) -> None:
        # A client who wants what cannot be had will be told why.
        async with self._slots:
            with contextlib.suppress(RegistryError):
                await self.ensure(place, source, digest)

    async def _confirm(self, place: MirrorPlace, source: Mirrored, digest: Digest) -> int:
        """Ask the upstream whether the repository holds a blob, and remember that it does."""
        try:
            size = await place.upstream.blob_size(source.name, digest)
        except BlobUnknown:
            await place.note_absent(source, str(digest))
            raise
        await place.cache.index.names.link(
            source.repository, blobs=[(digest, size)], at=place.cache.clock.now()
        )
        return size

    async def _just_stored(self, place: MirrorPlace, digest: Digest) -> MirroredBlob:
        found = await place.cache.find(digest)
        if found is None:
            raise StoreFull(
                f"blob {digest} was evicted as soon as it was stored; raise cache.max_size"
            )
        return self._stored(place, digest, found.size)

    def _stored(self, place: MirrorPlace, digest: Digest, size: int) -> MirroredBlob:
        async def opened(offset: int, length: int) -> Delivery:
            place.cache.use.used(digest, place.upstream.name, "blob", length)
            return await place.cache.open(digest, offset, length)

        return MirroredBlob(digest, size, opened)

    def _followed(self, place: MirrorPlace, digest: Digest, spool: Spool) -> MirroredBlob:
        async def opened(offset: int, length: int) -> Delivery:
            place.cache.use.used(digest, place.upstream.name, "blob", length)
            return Follow(spool, offset, length)

        return MirroredBlob(digest, spool.size, opened)

    async def _elsewhere(
        self, place: MirrorPlace, source: Mirrored, digest: Digest, url: str
    ) -> MirroredBlob:
        place.cache.use.answered(place.upstream.name, "blob", "miss")

        async def opened(offset: int, length: int) -> Delivery:
            return Redirect(url)

        return MirroredBlob(digest, None, opened)
