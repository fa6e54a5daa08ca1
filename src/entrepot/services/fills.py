"""Fills: blobs on their way from an upstream into the cache.

A fill belongs to nobody: it is begun for the first client who asks and goes on when that client
leaves. One process writes a blob's spool, over all processes of the cache; everybody else follows
the file. Where the writer's process dies, the first follower's takes over at the byte it had come
to. What breaks off is continued by Range, from another endpoint if there is one.
"""

import asyncio
import contextlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    BlobUnknown,
    ConnectionLost,
    DigestInvalid,
    RegistryError,
    SizeInvalid,
    StoreFull,
    Unavailable,
)
from entrepot.ports.spools import SharedSpool, SpoolWriter
from entrepot.rules.sources import Mirrored
from entrepot.services.cache import RoomTaken
from entrepot.services.mirror_place import MirrorPlace
from entrepot.services.proofs import Proofs
from entrepot.services.resumption import Resumption, Skipping
from entrepot.services.uncached_blobs import UncachedBlobs
from entrepot.services.upstream_attempts import PooledBlob

_MOST_DISTRUSTED: Final = 1000
"""Blobs for which it is remembered who has sent them wrong."""


@dataclass(slots=True)
class Fill:
    """One blob on its way, asked for in `repository`. `opened` is done once there is something to
    follow, or nothing will come; None means that the blob is stored already."""

    digest: Digest
    repository: str
    opened: asyncio.Future[SharedSpool | None]
    task: asyncio.Task[None] | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    ending: bool = False
    """It is about to end, well or not: who comes now waits for that, and looks again."""

    def fail(self, error: Exception) -> None:
        """Tell who waits that nothing will come."""
        self.error = error
        if not self.opened.done():
            self.opened.set_exception(error)
            self.opened.exception()  # perhaps nobody waits any more


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which blob is wanted, from where; `size` None if nobody has told it yet."""

    place: MirrorPlace
    source: Mirrored
    digest: Digest
    size: int | None


class Fills:
    """All fills of this process. `random` is in [0, 1)."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self.proofs = Proofs(random)
        self.uncached = UncachedBlobs(random)
        self._running: dict[tuple[int, Digest], Fill] = {}
        self._liars: OrderedDict[Digest, frozenset[str]] = OrderedDict()

    def running(self, place: MirrorPlace, digest: Digest) -> Fill | None:
        """Return the fill of a digest that is under way in this process."""
        return self._running.get((id(place.cache.index), digest))

    def start(self, place: MirrorPlace, source: Mirrored, digest: Digest, size: int | None) -> Fill:
        """Begin to bring a blob, or join what has begun, perhaps for another repository."""
        key = id(place.cache.index), digest
        fill = self._running.get(key)
        if fill is None:
            loop = asyncio.get_running_loop()
            fill = self._running[key] = Fill(digest, source.repository, loop.create_future())
            fill.task = loop.create_task(self._run(key, fill, _Asked(place, source, digest, size)))
        return fill

    async def close(self) -> None:
        """Stop all fills; what has come is kept for the next start."""
        tasks = [fill.task for fill in self._running.values() if fill.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.proofs.close()

    async def _run(self, key: tuple[int, Digest], fill: Fill, asked: _Asked) -> None:
        try:
            with asked.place.upstream.held():  # an upstream that is changed now ends after this
                await self._bring(fill, asked)
        except asyncio.CancelledError:
            fill.fail(Unavailable("the server is stopping; ask again"))
            raise
        except RegistryError as error:
            fill.fail(error)
        except Exception as error:
            fill.fail(error)
            raise
        finally:
            self._running.pop(key, None)
            fill.ended.set()

    async def _bring(self, fill: Fill, asked: _Asked) -> None:
        """Write the spool, or follow the process that does until it has ended."""
        cache = asked.place.cache
        while True:
            async with contextlib.AsyncExitStack() as stack:
                async with cache.turn(asked.digest):
                    if await cache.find(asked.digest) is not None:
                        await self._prove(asked)
                        _open(fill, None)
                        return
                    followed = await cache.spools.follow(asked.digest)
                    begun = await self._begin(stack, asked) if followed is None else None
                if begun is not None:
                    writer, arriving = begun
                    _open(fill, writer.spool)
                    await self._write(fill, writer, arriving, stack, asked)
                    return
            if followed is not None:
                await self._prove(asked)
                _open(fill, followed)
                if not await followed.ended():
                    await followed.available(-1)  # raises if it has failed and not only stopped

    async def _prove(self, asked: _Asked) -> None:
        """See to it that this repository holds what another process has brought, perhaps for
        another one. Raise BlobUnknown."""
        place, repository, digest = asked.place, asked.source.repository, asked.digest
        known = await place.cache.index.contents.find(digest)
        linked = await place.cache.index.names.blob(repository, digest)
        if linked is None or (known is not None and not await place.has_delivered(known)):
            await self.proofs.prove(place, asked.source, digest)

    async def _begin(
        self, stack: contextlib.AsyncExitStack, asked: _Asked
    ) -> tuple[SpoolWriter, PooledBlob] | None:
        """Get the right to write and an answer that gives the bytes; the `stack` holds the
        answer. Return None if the blob has just been stored. Whoever has come this far has the
        turn of this digest.

        That this repository holds it is noted before anybody else may follow, who would have to
        ask the upstream whether it does."""
        begun = await self._begun(stack, asked)
        if begun is not None:
            writer, _ = begun
            try:
                await asked.place.link(asked.source, asked.digest, writer.spool.size)
            except BaseException as error:
                await self._give_up(writer, asked, error)
                raise
        return begun

    async def _begun(
        self, stack: contextlib.AsyncExitStack, asked: _Asked
    ) -> tuple[SpoolWriter, PooledBlob] | None:
        left = await asked.place.cache.index.contents.find(asked.digest)
        foreign = left is not None and not await asked.place.has_delivered(left)
        # The rest of what another upstream has begun is no proof that this one has it all.
        if foreign and await asked.place.cache.drop_part(asked.digest):
            left = await asked.place.cache.index.contents.find(asked.digest)
        if left is None and asked.size is not None:
            return await self._begin_afresh(stack, asked, asked.size)
        if asked.size is None and left is not None:
            try:
                return await self._begin_with(stack, asked, left.size)
            except SizeInvalid:  # then it was told wrongly when what is left was begun
                await stack.aclose()
        return await self._begin_with(stack, asked, asked.size)

    async def _begin_afresh(
        self, stack: contextlib.AsyncExitStack, asked: _Asked, size: int
    ) -> tuple[SpoolWriter, PooledBlob] | None:
        """Take free room while the upstream answers, as there is nothing to go on with: that takes
        milliseconds which the client would wait for. Nothing is evicted for a size that only a
        manifest has told."""
        cache, charge = asked.place.cache, asked.place.charge
        making = asyncio.create_task(cache.begin(asked.digest, size, charge, evict=False))
        try:
            arriving = await self._ask(stack, asked, 0)
        except BaseException as error:
            await asyncio.wait([making])
            if making.exception() is None and (writer := making.result()) is not None:
                await self._give_up(writer, asked, error)
            raise
        try:
            writer = await making
        except RoomTaken:
            await self._check(None, arriving, asked, size)
            writer = await cache.begin(asked.digest, size, charge)
        else:
            if writer is not None:
                await self._check(writer, arriving, asked, size)
        return None if writer is None else (writer, arriving)

    async def _begin_with(
        self, stack: contextlib.AsyncExitStack, asked: _Asked, size: int | None
    ) -> tuple[SpoolWriter, PooledBlob] | None:
        place, digest = asked.place, asked.digest
        arriving = None
        if size is None:
            arriving = await self._ask(stack, asked, 0)
            size = arriving.size
            if size is None:
                size = await place.upstream.blob_size(asked.source.name, digest)
        try:
            told = arriving is not None
            writer = await place.cache.begin(digest, size, place.charge, evict=told)
        except RoomTaken:
            arriving = await self._ask(stack, asked, 0)
            await self._check(None, arriving, asked, size)
            writer = await place.cache.begin(digest, size, place.charge)
        if writer is None:
            return None
        try:
            if arriving is None:
                arriving = await self._ask(stack, asked, min(writer.offset, max(size - 1, 0)))
        except BaseException as error:
            await self._give_up(writer, asked, error)
            raise
        await self._check(writer, arriving, asked, size)
        return writer, arriving

    async def _check(
        self, writer: SpoolWriter | None, arriving: PooledBlob, asked: _Asked, size: int
    ) -> None:
        """Give up where the answer is of another size than was told. Raise SizeInvalid."""
        if arriving.size in (None, size):
            return
        place, digest = asked.place, asked.digest
        error = SizeInvalid(
            f"{place.upstream.name} sends {arriving.size} bytes for {digest} of "
            f"{asked.source.name}, but an image there says {size}; pull it again later",
            detail={"expected": size, "received": arriving.size},
        )
        try:
            await self._distrust(asked, {arriving.url})
        finally:
            if writer is not None:
                await place.cache.give_up(digest, writer, error, keep=False)
        raise error

    async def _ask(
        self,
        stack: contextlib.AsyncExitStack,
        asked: _Asked,
        offset: int,
        broken: Collection[str] = (),
    ) -> PooledBlob:
        """Ask the upstream for the blob, `broken` endpoints last; the answer proves that this
        repository holds it."""
        place, source = asked.place, asked.source
        avoid = {*broken, *self._liars.get(asked.digest, ())}
        try:
            answer = place.upstream.blob(source.name, asked.digest, offset, avoid=avoid)
            return await stack.enter_async_context(answer)
        except BlobUnknown:
            await place.note_absent(source, str(asked.digest), blob=True)
            raise

    async def _write(
        self,
        fill: Fill,
        writer: SpoolWriter,
        arriving: PooledBlob,
        stack: contextlib.AsyncExitStack,
        asked: _Asked,
    ) -> None:
        """Pour what arrives into the spool, over as many requests as that takes, and commit."""
        place = asked.place
        asked_of = {arriving.url}
        try:
            await self._pour(writer, arriving, stack, asked, asked_of)
            fill.ending = True
            size = await place.cache.commit(asked.digest, writer)
        except (DigestInvalid, SizeInvalid) as error:
            fill.ending = True
            try:
                await self._distrust(asked, asked_of)
                await place.cache.note(
                    "upstream.lied", asked.source.repository, str(asked.digest), error.message
                )
            finally:  # the index may be full, or locked: nobody is to wait for this writer
                await place.cache.give_up(asked.digest, writer, error, keep=False)
            raise
        except BaseException as error:
            fill.ending = True
            await self._give_up(writer, asked, error)
            raise
        if await place.cache.index.names.blob(asked.source.repository, asked.digest) != size:
            await place.link(asked.source, asked.digest, size)  # it was purged, or never true
        self._liars.pop(asked.digest, None)
        place.cache.use.fetched(place.upstream.name, "blob", size)

    async def _pour(
        self,
        writer: SpoolWriter,
        arriving: PooledBlob,
        stack: contextlib.AsyncExitStack,
        asked: _Asked,
        asked_of: set[str],
    ) -> None:
        """Pour until all is there. An endpoint that breaks off twice is asked last after that;
        `asked_of` learns who was asked."""
        size, resumption = writer.spool.size, Resumption(self._random)
        breaks: Counter[str] = Counter()
        answer: PooledBlob | None = arriving
        while True:
            before = writer.offset
            error: RegistryError = ConnectionLost(
                f"{asked.place.upstream.name} broke off {asked.digest} after {before} of {size} "
                "bytes; ask again"
            )
            try:
                if answer is None:
                    broken = [url for url, count in breaks.items() if count > 1]
                    answer = await self._ask(stack, asked, before, broken)
                    asked_of.add(answer.url)
                await answer.pour(Skipping(writer.write, before - answer.start))
            except StoreFull:
                raise
            except Unavailable as lost:
                error = lost
            if writer.offset >= size:
                return
            if answer is not None:
                breaks[answer.url] += 1
            await stack.aclose()
            answer = None
            await resumption.pause(error, progress=writer.offset > before)

    async def _distrust(self, asked: _Asked, urls: Collection[str]) -> None:
        """Ask these endpoints last for this blob, and believe no size that was told of it."""
        known = self._liars.pop(asked.digest, frozenset())
        self._liars[asked.digest] = known | frozenset(urls)
        if len(self._liars) > _MOST_DISTRUSTED:
            self._liars.popitem(last=False)
        await asked.place.cache.index.catalog.purge(asked.source.repository, asked.digest)

    async def _give_up(self, writer: SpoolWriter, asked: _Asked, error: BaseException) -> None:
        """Leave what has come for the next one, or give the room back if there is nothing, or if
        it takes the last of the disk."""
        shown = error if isinstance(error, Exception) else Unavailable("the server is stopping")
        keep = writer.offset > 0 and not isinstance(error, StoreFull)
        await asked.place.cache.give_up(asked.digest, writer, shown, keep=keep)


def _open(fill: Fill, spool: SharedSpool | None) -> None:
    if not fill.opened.done():
        fill.opened.set_result(spool)
