"""Blobs of upstreams: from the cache, from a spool that is still growing, or from the upstream into
both. A client gets a blob only through a repository that the upstream has shown to hold it."""

import asyncio
import contextlib
from collections.abc import Iterable
from itertools import islice

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import RegistryError, StoreFull, Unavailable
from entrepot.ports.delivery import Delivery, Follow, Redirect
from entrepot.ports.spools import SharedSpool
from entrepot.rules.sources import Mirrored
from entrepot.services.fills import Fills
from entrepot.services.mirror_place import MirroredBlob, MirrorPlace, nothing
from entrepot.services.unasked import unasked

_PREFETCHES = 3
"""Blobs that are prefetched at once."""

_MOST_PREFETCHED = 100
"""Blobs of one manifest that are prefetched: anybody can write thousands into one."""

_SMALL = 64 << 10
"""Bytes up to which an answer waits for the blob's first one: a small blob cannot be read before it
is verified, and an error is worth more than an answer that breaks off."""


class MirroredBlobs:
    """The blobs of every upstream."""

    def __init__(self, fills: Fills) -> None:
        self._fills = fills
        self._prefetching: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_PREFETCHES)

    async def get(self, place: MirrorPlace, source: Mirrored, digest: Digest) -> MirroredBlob:
        """Return a blob to be read, beginning to fetch it where it is not here. What the cache has
        no room for comes past it.

        Raise BlobUnknown, or why the upstream cannot be asked.
        """
        try:
            return await self._kept(place, source, digest)
        except StoreFull:
            return await self._fills.uncached.get(place, source, digest)

    async def _kept(self, place: MirrorPlace, source: Mirrored, digest: Digest) -> MirroredBlob:
        """Return a blob that is stored or on its way to be. Raise StoreFull if it cannot be."""
        linked = await place.cache.index.names.blob(source.repository, digest)
        if linked is None:
            await place.refuse_absent(source, str(digest), blob=True)
        found = await place.cache.find(digest)
        if found is not None:
            hit = linked is not None and await place.has_delivered(found)
            if not hit:
                await self._fills.proofs.prove(place, source, digest)
            place.cache.use.answered(place.upstream.name, "blob", "hit" if hit else "miss")
            return self._stored(place, digest, found.size)
        if not place.rules.follow_redirects:
            elsewhere = await place.upstream.location(source.name, digest)
            if elsewhere is not None:
                place.cache.use.answered(place.upstream.name, "blob", "miss")
                return _elsewhere(digest, elsewhere)
        joined = self._fills.running(place, digest) is not None
        spool = await self._fill(place, source, digest, linked)
        place.cache.use.answered(place.upstream.name, "blob", "coalesced" if joined else "miss")
        if spool is None:
            return await self._just_stored(place, digest)
        return self._followed(place, digest, spool)

    async def _fill(
        self, place: MirrorPlace, source: Mirrored, digest: Digest, linked: int | None
    ) -> SharedSpool | None:
        """Begin to fetch a blob, or join what has begun, perhaps for another repository: then the
        upstream has to say that this one holds it, too. What another upstream feeds is not joined
        at all. Return what to follow, None if it is stored by now."""
        # What a link says may be what an upstream has told and never sent; a manifest that is right
        # comes later than one that was wrong.
        expected = await place.cache.index.names.expected(source.repository, digest)
        size = None if expected is None else expected.size
        while True:
            fill = self._fills.start(place, source, digest, size)
            if fill.ending:
                await fill.ended.wait()
                continue
            foreign = fill.repository != source.repository
            if foreign and not await place.may_follow(fill.repository, digest):
                await fill.ended.wait()
                if await place.cache.find(digest) is None:
                    continue
                await self._fills.proofs.prove(place, source, digest)
                return None
            if foreign and linked is None:
                linked = await place.prove(source, digest)
            try:
                return await asyncio.shield(fill.opened)
            except RegistryError:
                if not foreign:  # what another repository lacks may be in this one
                    raise

    async def head(self, place: MirrorPlace, source: Mirrored, digest: Digest) -> MirroredBlob:
        """Return a blob's size truthfully, downloading nothing."""
        linked = await place.cache.index.names.blob(source.repository, digest)
        found = await place.cache.find(digest)
        if found is not None and not await place.has_delivered(found):
            found = None  # nothing of it is told, either
        if found is not None and linked is not None:
            place.cache.use.answered(place.upstream.name, "blob", "hit")
            return MirroredBlob(digest, found.size, nothing)
        await place.refuse_absent(source, str(digest), blob=True)
        told = await place.prove(source, digest)
        place.cache.use.answered(place.upstream.name, "blob", "miss")
        return MirroredBlob(digest, told if found is None else found.size, nothing)

    async def ensure(self, place: MirrorPlace, source: Mirrored, digest: Digest) -> None:
        """Bring a blob into the cache; return once it is there."""
        await self._kept(place, source, digest)
        fill = self._fills.running(place, digest)
        if fill is not None:
            await fill.ended.wait()
            if fill.error is not None:
                raise fill.error

    def prefetch(self, place: MirrorPlace, source: Mirrored, blobs: Iterable[Descriptor]) -> None:
        """Begin to bring blobs, a few at a time, for nobody yet. Where clients are sent elsewhere
        for them, none is brought."""
        if not place.rules.follow_redirects:
            return
        place = unasked(place)
        for blob in islice(blobs, _MOST_PREFETCHED):
            task = asyncio.get_running_loop().create_task(self._bring(place, source, blob.digest))
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

    def _followed(self, place: MirrorPlace, digest: Digest, spool: SharedSpool) -> MirroredBlob:
        async def opened(offset: int, length: int) -> Delivery:
            if spool.size <= _SMALL:
                await _begun(spool, offset)
            place.cache.use.used(digest, place.upstream.name, "blob", length)
            return Follow(spool, offset, length)

        return MirroredBlob(digest, spool.size, opened)


def _elsewhere(digest: Digest, url: str) -> MirroredBlob:
    async def opened(offset: int, length: int) -> Delivery:
        return Redirect(url)

    return MirroredBlob(digest, None, opened)


async def _begun(spool: SharedSpool, offset: int) -> None:
    """Wait until the byte at `offset` is there. Raise why it will not come."""
    if spool.size:
        await spool.available(min(offset, spool.size - 1))
    elif not await spool.ended():
        raise Unavailable("the upstream has sent something else than the empty blob; ask again")
