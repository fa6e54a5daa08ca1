"""The cache: one directory's content, its index and its spools, and the order in which they change.

    reserve    room is made and promised before a byte arrives (`filling`)
    stored     the bytes are verified and in place
    find       only content that is whole and unchanged since is ever found
    drop       the index says `evicting`, the bytes go, the index forgets

Whoever changes both what the index says of content and its bytes holds its `change` meanwhile, so
that no process sees one without the other. Every step may be the last before a crash;
`services/cache_upkeep` puts right what it leaves.
"""

import asyncio
import contextlib
import functools
import os
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.errors import (
    BlobUnknown,
    DigestInvalid,
    RegistryError,
    SizeInvalid,
    StoreFull,
    Unavailable,
)
from entrepot.ports.cache_index import (
    CachedContent,
    CacheEvent,
    CacheIndex,
    Quota,
)
from entrepot.ports.clock import Clock
from entrepot.ports.content_store import CanStamp, ContentStore
from entrepot.ports.delivery import Delivery, File, Inline
from entrepot.ports.mirror_books import MirrorBooks
from entrepot.ports.spools import Spools, SpoolWriter
from entrepot.rules.eviction import Policy
from entrepot.services.cache_use import CacheUse

Result = TypeVar("Result")

_BLOCK: Final = 1 << 20
_DISK_ATTEMPTS: Final = 3
"""How often as much as is wanted is evicted because the disk, not the quota, is full."""

_ATTEMPTS: Final = 20
"""How often room is made for one content before giving up: others take it at the same time."""


class RoomTaken(Exception):
    """There is room only if something is evicted, and that was not wanted yet; nobody refuses
    anything."""


@dataclass(frozen=True, slots=True)
class Charge:
    """Who pays for content: an upstream, which may take `limit` bytes (None: no limit)."""

    upstream: str
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Cache:
    """One cache. `limit` is the bytes all of it may take, None for no limit."""

    content: ContentStore
    spools: Spools
    index: CacheIndex
    use: CacheUse
    policy: Policy
    limit: int | None
    books: MirrorBooks
    clock: Clock

    async def find(self, digest: Digest) -> CachedContent | None:
        """Return content that is stored and right; None if it has to be fetched.

        A file that was changed behind the cache's back is compared with its digest first, and
        dropped if it is wrong.
        """
        known = await self.index.contents.find(digest)
        if known is None or known.state != "stored":
            return None
        stamp = await self.stamp(digest)
        if stamp == known.stamp:
            return known
        if not stamp:  # the file is gone
            await self._lost(known, "its file is gone")
            return None
        async with self.spools.turn(f"verify {digest}"):
            return known if await self.verify(known) else None

    async def open(self, digest: Digest, offset: int, length: int) -> Delivery:
        """Return `length` bytes of content that was found. Raise BlobUnknown if it just went."""
        return await self.content.open(digest, offset, length)

    async def read(self, found: CachedContent) -> bytes | None:
        """Return small content whole, None if it is not what its digest says."""
        try:
            content = await self.content.read(found.digest, found.size)
        except BlobUnknown:
            return None
        if Digest.of(content, found.digest.algorithm) == found.digest:
            return content
        await self._lost(found, "it has been changed")
        return None

    def turn(self, digest: Digest) -> AbstractAsyncContextManager[None]:
        """Hold the only turn, over all processes, to begin to fill content. It lasts as long as
        its upstream takes to answer; a `change` goes inside, never around."""
        return self.spools.turn(f"content {digest}")

    def change(self, digest: Digest) -> AbstractAsyncContextManager[None]:
        """Hold the only right, over all processes, to change content's state and bytes. It is for
        moments, and nothing else is waited for inside."""
        return self.spools.turn(f"change {digest}")

    async def stamp(self, digest: Digest) -> str:
        """Return what tells whether the file was changed; empty if there is none."""
        if not _can_stamp(type(self.content)):
            return "-"
        try:
            return await cast("CanStamp", self.content).stamp(digest)
        except BlobUnknown:
            return ""

    async def begin(
        self, digest: Digest, size: int, charge: Charge, *, evict: bool = True
    ) -> SpoolWriter | None:
        """Make room for content, promise it, and return the right to write it; None if somebody
        writes it, or has just stored it. Raise StoreFull if there cannot be any room, here or on
        the disk, RoomTaken if that needs eviction and `evict` is off."""

        async def begun() -> SpoolWriter | None:
            try:
                return await self.spools.begin(digest, size)
            except RegistryError:
                if await self.spools.drop(digest):  # what is left of it holds the disk's last bytes
                    await self.index.contents.forget(digest, state="filling")
                raise

        return await self._reserved(digest, size, charge, begun, evict=evict)

    async def commit(self, digest: Digest, writer: SpoolWriter) -> int:
        """Verify what was written, make it content, and return its size.

        Raise DigestInvalid or SizeInvalid if it is not what it should be: it is gone then.
        """
        async with self.change(digest):
            try:
                size = await writer.commit()
            except (DigestInvalid, SizeInvalid):
                await self.index.contents.forget(digest, state="filling")
                raise
            await self.stored(digest)
            return size

    async def give_up(
        self, digest: Digest, writer: SpoolWriter, error: Exception, *, keep: bool
    ) -> None:
        """Stop writing content; `keep` leaves what has come for the next one to go on with.

        Whatever fails meanwhile, nobody waits for this writer any more.
        """
        try:
            async with self.change(digest):
                if keep:
                    await writer.release(error)
                elif await writer.discard(error):
                    await self.index.contents.forget(digest, state="filling")
        except BaseException:
            await writer.release(error)  # nothing, if it has ended
            raise

    async def put(self, digest: Digest, content: bytes, charge: Charge) -> None:
        """Store small content whole. Raise StoreFull if there cannot be any room."""

        async def put() -> None:
            try:
                await self.content.put(digest, content)
            except RegistryError:  # after a cancellation the bytes may still find their place
                await self.index.contents.forget(digest, state="filling")
                raise
            await self.stored(digest)

        await self._reserved(digest, len(content), charge, put)

    async def stored(self, digest: Digest) -> None:
        """Say that reserved content is in place."""
        stamp = await self.stamp(digest)
        await self.index.contents.stored(digest, stamp, self.policy, at=self.clock.now())

    async def drop(self, digest: Digest) -> bool:
        """Remove stored content; return whether it was there."""
        if not await self.index.contents.take(digest):
            return False
        await self.remove(digest)
        return True

    async def evict(self, upstream: str | None, size: int, capacity: int) -> int:
        """Remove what the policy keeps no longer, then more until it is at least `size` bytes, of
        one upstream or of all; return how many contents went. See `CachedContents.choose`."""
        victims = await self.index.contents.choose(
            self.policy, upstream, size, capacity, at=self.clock.now()
        )
        for victim in victims:
            await self.remove(victim.digest)
            self.books.evicted(victim.upstream, victim.size)
        return len(victims)

    async def remove(self, digest: Digest) -> None:
        """Remove the bytes of content that is `evicting`, and forget it."""
        async with self.change(digest):
            known = await self.index.contents.find(digest)
            if known is None or known.state != "evicting":
                return  # another process fills it again
            with contextlib.suppress(BlobUnknown):
                await self.content.delete(digest)
            await self.index.contents.forget(digest, state="evicting")

    async def drop_part(self, digest: Digest, *, trust: bool = True) -> bool:
        """Remove what has come of content that nobody writes, and the promise of room for it; what
        is in its place already is stored, or without `trust` removed as well. Return False,
        changing nothing, if somebody writes it.
        """
        async with self.change(digest):
            if not await self.spools.drop(digest):
                return False
            known = await self.index.contents.find(digest)
            if known is not None and known.state == "filling":
                if not trust:
                    await self._clear(digest)
                if await self.holds(digest):
                    await self.stored(digest)  # it was verified before it got its name
                else:
                    await self.index.contents.forget(digest, state="filling")
            return True

    async def drop_unknown(self, digest: Digest) -> bool:
        """Remove bytes that the index does not know; return whether it did not."""
        async with self.change(digest):
            if await self.index.contents.find(digest) is not None:
                return False
            await self._clear(digest)
            return True

    async def holds(self, digest: Digest) -> bool:
        """Say whether there are bytes under a digest, whatever the index says of them."""
        try:
            await self.content.size(digest)
        except BlobUnknown:
            return False
        return True

    async def verify(self, known: CachedContent) -> bool:
        """Compare content with its digest; drop it if it is wrong. Return whether it is right.

        Raise Unavailable where it cannot be read now: that says nothing of its bytes.
        """
        stamp = await self.stamp(known.digest)
        try:
            delivery = await self.content.open(known.digest)
            right = await asyncio.to_thread(_is_right, delivery, known.digest)
        except (BlobUnknown, FileNotFoundError):
            right = False
        except OSError as error:
            raise Unavailable(
                f"{known.digest} cannot be read from the cache ({error.strerror}); look at its "
                "disk, its permissions and the limit of open files"
            ) from error
        if right:
            await self.index.upkeep.verified(known.digest, stamp, at=self.clock.now())
        else:
            await self._lost(known, "its bytes are not what its digest says")
        return right

    async def note(self, kind: str, repository: str, reference: str, detail: str) -> None:
        """Keep an event for the operator, and tell the books."""
        upstream = repository.partition("/")[0]
        self.books.noted(kind, upstream, f"{repository}: {reference}: {detail}")
        event = CacheEvent(kind, repository, reference, detail, self.clock.now())
        await self.index.catalog.record(event)

    async def _lost(self, known: CachedContent, why: str) -> None:
        if await self.drop(known.digest):  # it has not been evicted meanwhile
            detail = f"dropped from the cache: {why}"
            await self.note("content.corrupt", known.upstream, str(known.digest), detail)

    async def _reserved(
        self,
        digest: Digest,
        size: int,
        charge: Charge,
        fill: Callable[[], Awaitable[Result]],
        *,
        evict: bool = True,
    ) -> Result | None:
        """Make room for content and promise it, then run `fill` before anybody can take that for
        what a crash has left. Return None if it was stored by then. Raise StoreFull."""
        quota = Quota(charge.limit, self.limit)
        contents = self.index.contents
        full: StoreFull | None = None
        disk = _DISK_ATTEMPTS
        for _ in range(_ATTEMPTS):
            async with self.change(digest):
                # Asked first: what is stored may be chosen to go at any moment, but what is not
                # stays so until it is reserved here.
                if await self._is_stored(digest):
                    return None
                now = self.clock.now()
                lacking = await contents.reserve(digest, size, charge.upstream, quota, at=now)
                if not lacking:
                    await self._clear(digest)
                    try:
                        return await fill()
                    except StoreFull as error:
                        # The disk is full although the quota is not: others use it, too.
                        full, lacking, disk = error, size, disk - 1
            if not evict:
                raise RoomTaken(f"{size} bytes have no room unless something is evicted")
            if not disk or not await self._make_room(lacking, size, charge):
                break
        raise full or StoreFull(
            f"the cache has no room for {size} bytes of {charge.upstream}: everything in it "
            "is pinned or in the making; raise cache.max_size, or unpin something",
            detail={"digest": str(digest), "size": size},
        )

    async def _is_stored(self, digest: Digest) -> bool:
        known = await self.index.contents.find(digest)
        return known is not None and known.state == "stored"

    async def _clear(self, digest: Digest) -> None:
        """Remove what was never seen to be right from where content is to go."""
        if await self.holds(digest):
            with contextlib.suppress(BlobUnknown):
                await self.content.delete(digest)

    async def _make_room(self, lacking: int, size: int, charge: Charge) -> bool:
        """Evict at least `lacking` bytes; return whether anything went.

        The upstream's own content goes first where its own limit is reached. Parts of what was
        not brought whole go where nothing else can.
        """
        await self.use.flush()  # what was used just now must not look as if it had not been
        usage = (await self.index.upkeep.usage()).get(charge.upstream)
        over = charge.limit is not None and usage is not None and usage.size + size > charge.limit
        capacity = charge.limit if over else self.limit
        upstream = charge.upstream if over else None
        evicted = await self.evict(upstream, lacking, capacity or 0)
        return evicted > 0 or await self._drop_parts(lacking, upstream)

    async def _drop_parts(self, lacking: int, upstream: str | None) -> bool:
        """Give up parts of content that nobody goes on with, the oldest first, until `lacking`
        bytes are free; return whether any went."""
        freed = 0
        parts = await self.spools.leftovers()
        for digest, _, _ in sorted(parts, key=lambda part: part[2]):
            known = await self.index.contents.find(digest)
            if known is None or upstream not in (None, known.upstream):
                continue
            if freed < lacking and await self.drop_part(digest):
                freed += known.size
        return freed > 0


@functools.cache
def _can_stamp(kind: type) -> bool:
    """Tell whether a kind of store can; looking at a protocol takes longer than the stamp."""
    return issubclass(kind, CanStamp)


def _is_right(delivery: Delivery, digest: Digest) -> bool:
    """Hash a delivery's bytes from the disk. It blocks."""
    hasher = Hasher(digest.algorithm)
    if isinstance(delivery, Inline):
        hasher.update(delivery.content)
        return hasher.digest() == digest
    if not isinstance(delivery, File):
        raise Unavailable("only files can be compared with their digest")
    file = os.open(delivery.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        buffer = memoryview(bytearray(_BLOCK))
        while count := os.readv(file, [buffer]):
            hasher.update(buffer[:count])
    finally:
        os.close(file)
    return hasher.digest() == digest
