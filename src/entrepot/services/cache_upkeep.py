"""Upkeep of a cache: what a crash has left, what nobody needs, and whether what is there is right.

Any number of processes may do it at once; every step is harmless when repeated.
"""

from dataclasses import dataclass
from typing import Final

from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUnknown
from entrepot.services.cache import Cache

_BATCH: Final = 100
_SPOOL_AGE: Final = 86400.0
"""Seconds after which a part of a blob that nobody goes on with is dropped."""


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What a scrub has found: contents compared, bytes compared, contents that were wrong."""

    checked: int = 0
    size: int = 0
    corrupt: int = 0


@dataclass(frozen=True, slots=True)
class CacheUpkeep:
    """Keeps one cache in order."""

    cache: Cache

    async def recover(self) -> int:
        """Put right what a crash has left between index and disk; return how much it was.

        Content that is filling somewhere at this moment is left alone. To be called once at
        start, before any client.
        """
        mended = 0
        for known in await self.cache.index.contents.unfinished():
            if known.state == "evicting":
                await self.cache.remove(known.digest)
            elif await self._is_there(known.digest):
                # It was verified before it got its name.
                await self.cache.stored(known.digest)
            elif await self._is_being_written(known.digest):
                continue
            else:
                await self.cache.index.contents.forget(known.digest)
            mended += 1
        return mended

    async def scrub(self, before: float, limit: int = _BATCH) -> Scrubbed:
        """Compare content that was last verified before a time with its digest, the longest ago
        first; what is wrong is dropped, and fetched again when somebody asks for it."""
        done = Scrubbed()
        for known in await self.cache.index.upkeep.oldest_verified(limit, before):
            right = await self.cache.verify(known)
            done = Scrubbed(done.checked + 1, done.size + known.size, done.corrupt + (not right))
        return done

    async def scrub_all(self, now: float) -> Scrubbed:
        """Compare everything that is there."""
        done = Scrubbed()
        while True:
            part = await self.scrub(now)
            if not part.checked:
                return done
            done = Scrubbed(
                done.checked + part.checked, done.size + part.size, done.corrupt + part.corrupt
            )

    async def drop_unlinked(self) -> int:
        """Remove content that no name leads to any more; return how much it was."""
        dropped = 0
        while True:
            digests = await self.cache.index.catalog.unlinked(_BATCH)
            removed = [await self.cache.drop(digest) for digest in digests]
            dropped += sum(removed)
            if not any(removed):
                return dropped

    async def expire(self, now: float) -> int:
        """Remove what the policy keeps no longer (only `ttl` does that); return how much."""

    async def _is_there(self, digest: Digest) -> bool:
        try:
            await self.cache.content.size(digest)
        except BlobUnknown:
            return False
        return True

    async def _is_being_written(self, digest: Digest) -> bool:
        return await self.cache.spools.follow(digest) is not None
