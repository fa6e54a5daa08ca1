"""Upkeep of a cache: what a crash has left, what nobody needs, and whether what is there is right.

Any number of processes may do it at once; every step is harmless when repeated.
"""

import contextlib
import math
from dataclasses import dataclass
from typing import Final

from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUploadUnknown, Unavailable, UploadBusy
from entrepot.ports.content_store import CanEnumerate
from entrepot.services.cache import Cache

_BATCH: Final = 100
_LINKED_WITHIN: Final = 60.0
"""Seconds in which content that was stored gets its link."""

_SPOOL_AGE: Final = 86400.0
"""Seconds after which a part of a blob that nobody goes on with is dropped."""

_NAMES_KEPT: Final = 30 * 86400.0
"""Seconds for which a name that leads to nothing in the cache is remembered."""

_UNSYNCED: Final = 3600.0
"""Seconds, and far more than any system takes, within which written bytes get to the disk."""


_SCRUBBED_AT_LEAST: Final = 20

_UNREAD_AT_MOST: Final = 1000
"""How many contents that cannot be read are passed over for others."""


@dataclass(frozen=True, slots=True)
class CacheUpkeep:
    """Keeps one cache in order."""

    cache: Cache

    async def recover(self) -> int:
        """Put right what a crash has left between index and disk; return how much it was.

        Other processes may be at work: what is filling there at this moment is left alone.
        """
        mended = 0
        trust = not await self.cache.index.crashed_machine()
        if not trust:
            mended += await self.cache.index.upkeep.distrust(_UNSYNCED)
        begun = {digest for digest, _, _ in await self.cache.spools.leftovers()}
        filling = set()
        for known in await self.cache.index.contents.unfinished():
            if known.state == "filling":
                filling.add(known.digest)
            else:
                await self.cache.remove(known.digest)
                mended += 1
        # What has come of a blob keeps its room, and is gone on with when it is asked for.
        kept = begun & filling if trust else set()
        for digest in begun | filling:
            if digest not in kept or await self.cache.holds(digest):
                mended += await self.cache.drop_part(digest, trust=trust)
        return mended

    async def compare(self) -> int:
        """Bring index and disk in line where the machine was restarted: what was written last may
        be lost on either side. Return how many contents were not on both."""
        if not await self.cache.index.crashed_machine():
            return 0
        mended = 0
        if isinstance(self.cache.content, CanEnumerate):
            async for digest in self.cache.content.digests():
                mended += await self.cache.drop_unknown(digest)
        after = None
        while page := await self.cache.index.upkeep.contents(after=after, limit=_BATCH):
            for known in page:
                if known.state == "stored" and not await self.cache.holds(known.digest):
                    mended += await self.cache.drop(known.digest)
            after = page[-1].digest
        await self.cache.index.machine_checked()
        return mended

    async def scrub(self, interval: float, pause: float) -> int:
        """Compare content that was last verified more than `interval` seconds ago with its digest,
        the longest ago first: a share that keeps up if it is done every `pause` seconds, and takes
        no longer than that. What is wrong is dropped, and fetched again when somebody asks for it.
        Return how many were wrong. Raise Unavailable, after all the others, if one could not be
        read."""
        upkeep, began = self.cache.index.upkeep, self.cache.clock.now()
        items = sum(one.items for one in (await upkeep.usage()).values())
        left = max(_SCRUBBED_AT_LEAST, math.ceil(2 * items * pause / interval))
        corrupt, unread = 0, None
        for known in await upkeep.oldest_verified(left + _UNREAD_AT_MOST, began - interval):
            if left == 0 or self.cache.clock.now() - began > pause:
                break
            try:
                corrupt += not await self.cache.verify(known)
                left -= 1
            except Unavailable as error:
                unread = error
        if unread is not None:
            raise unread
        return corrupt

    async def set_back(self) -> int:
        """Take what was stored, used or checked in the future, before the clock went back, as of
        now: else it would be kept, and believed, until then. Return how much it was."""
        return await self.cache.index.upkeep.set_back(self.cache.clock.now())

    async def drop_names(self) -> int:
        """Forget names that have led to nothing in the cache for long; return how many."""
        catalog, dropped, after = self.cache.index.catalog, 0, ""
        before = self.cache.clock.now() - _NAMES_KEPT
        while page := await catalog.repositories(after=after, limit=_BATCH):
            dropped += await catalog.forget_unused(page, before)
            after = page[-1]
        return dropped

    async def drop_unlinked(self) -> int:
        """Remove content that no name leads to any more; return how much it was."""
        dropped = 0
        while True:
            digests = await self.cache.index.catalog.unlinked(_BATCH)
            removed = [await self._drop_if_old(digest) for digest in digests]
            dropped += sum(removed)
            if not any(removed):
                return dropped

    async def expire(self) -> int:
        """Remove what the policy keeps no longer, although there is room; return how much."""
        return await self.cache.evict(None, 0, 0)

    async def drop_leftovers(self) -> int:
        """Remove parts of blobs that nobody has gone on with for a day, and what a crash has left
        of manifests on their way; return how many."""
        before = self.cache.clock.now() - _SPOOL_AGE
        dropped = await self._drop_ingests(before)
        for digest, _, written_at in await self.cache.spools.leftovers():
            if written_at < before:
                dropped += await self.cache.drop_part(digest)
        return dropped

    async def _drop_ingests(self, before: float) -> int:
        content, dropped = self.cache.content, 0
        if isinstance(content, CanEnumerate):
            async for upload, written_at in content.ingests():
                if written_at < before:
                    with contextlib.suppress(BlobUploadUnknown, UploadBusy):
                        await (await content.ingest(upload)).abort()
                        dropped += 1
        return dropped

    async def _drop_if_old(self, digest: Digest) -> bool:
        """Remove content unless it has just been stored, and its link may be on the way."""
        known = await self.cache.index.contents.find(digest)
        now = self.cache.clock.now()
        if known is None or now - _LINKED_WITHIN < known.stored_at <= now:
            return False
        return await self.cache.drop(digest)
