"""Fills: blobs on their way from an upstream into the cache.

A fill belongs to nobody: it is begun for the first client who asks and goes on when that client
leaves. One process writes a blob's spool, over all processes of the cache; everybody else follows
the file. Where the writer's process dies, the first follower's takes over at the byte it had come
to. What breaks off is continued by Range, from another endpoint if there is one.
"""

import asyncio
import contextlib
from collections.abc import Callable
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
from entrepot.ports.upstream_endpoint import ArrivingBlob
from entrepot.rules.retries import RetryPolicy, next_delay
from entrepot.rules.sources import Mirrored
from entrepot.services.mirror_place import MirrorPlace

_POLICY: Final = RetryPolicy(retries=5, first=0.2, most=10.0)
"""How often a fill that broke off is continued without any progress in between."""


@dataclass(slots=True)
class Fill:
    """One blob on its way. `opened` is done once there is something to follow, or nothing will
    come; None means that the blob is stored already."""

    digest: Digest
    opened: asyncio.Future[SharedSpool | None]
    task: asyncio.Task[None] | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None

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
        self._running: dict[tuple[int, Digest], Fill] = {}

    def running(self, place: MirrorPlace, digest: Digest) -> Fill | None:
        """Return the fill of a digest that is under way in this process."""
        return self._running.get((id(place.cache), digest))

    def start(self, place: MirrorPlace, source: Mirrored, digest: Digest, size: int | None) -> Fill:
        """Begin to bring a blob, or join what has begun."""
        key = id(place.cache), digest
        fill = self._running.get(key)
        if fill is None:
            loop = asyncio.get_running_loop()
            fill = self._running[key] = Fill(digest, loop.create_future())
            fill.task = loop.create_task(self._run(key, fill, _Asked(place, source, digest, size)))
        return fill

    async def close(self) -> None:
        """Stop all fills; what has come is kept for the next start."""
        tasks = [fill.task for fill in self._running.values() if fill.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: tuple[int, Digest], fill: Fill, asked: _Asked) -> None:
        try:
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
                async with cache.spools.turn(f"blob {asked.digest}"):
                    if await cache.find(asked.digest) is not None:
                        _open(fill, None)
                        return
                    followed = await cache.spools.follow(asked.digest)
                    if followed is None:
                        begun = await self._begin(stack, asked)
                if followed is None:
                    writer, arriving = begun
                    _open(fill, writer.spool)
                    await self._write(writer, arriving, stack, asked)
                    return
            _open(fill, followed)
            await followed.ended()

    async def _begin(
        self, stack: contextlib.AsyncExitStack, asked: _Asked
    ) -> tuple[SpoolWriter, ArrivingBlob]:
        """Get the right to write and an answer that gives the bytes; the `stack` holds the
        answer. Whoever has come this far has the turn of this digest."""
        place, digest = asked.place, asked.digest
        size, writer, arriving = asked.size, None, None
        if size is None:
            known = await place.cache.index.contents.find(digest)
            size = known.size if known is not None else None
        if size is None:
            arriving = await self._ask(stack, asked, 0)
            size = arriving.size
            if size is None:
                size = await place.upstream.blob_size(asked.source.name, digest)
        await place.cache.reserve(digest, size, place.charge)
        try:
            writer = await place.cache.spools.begin(digest, size)
            if writer is None:
                raise Unavailable(f"blob {digest} is being fetched by another process; ask again")
            if arriving is None:
                arriving = await self._ask(stack, asked, min(writer.offset, max(size - 1, 0)))
            if arriving.size not in (None, size):
                raise SizeInvalid(
                    f"{place.upstream.name} sends {arriving.size} bytes for {digest} of "
                    f"{asked.source.name}, but an image there says {size}; pull it again later",
                    detail={"expected": size, "received": arriving.size},
                )
        except BaseException as error:
            await self._give_up(writer, asked, error)
            raise
        return writer, arriving

    async def _ask(
        self, stack: contextlib.AsyncExitStack, asked: _Asked, offset: int
    ) -> ArrivingBlob:
        """Ask the upstream for the blob; its answer proves that this repository holds it."""
        place, source = asked.place, asked.source
        try:
            answer = place.upstream.blob(source.name, asked.digest, offset)
            return await stack.enter_async_context(answer)
        except BlobUnknown:
            await place.note_absent(source, str(asked.digest))
            raise

    async def _write(
        self,
        writer: SpoolWriter,
        arriving: ArrivingBlob,
        stack: contextlib.AsyncExitStack,
        asked: _Asked,
    ) -> None:
        """Pour what arrives into the spool, over as many requests as that takes, and commit."""
        place = asked.place
        try:
            await self._link(asked, writer.spool.size)
            await self._pour(writer, arriving, stack, asked)
            size = await writer.commit()
        except (DigestInvalid, SizeInvalid) as error:
            await place.cache.index.contents.forget(asked.digest, state="filling")
            await place.cache.note(
                "upstream.lied", asked.source.repository, str(asked.digest), error.message
            )
            await self._discard(writer, error)
            raise
        except BaseException as error:
            await self._give_up(writer, asked, error)
            raise
        await place.cache.stored(asked.digest)
        place.cache.use.fetched(place.upstream.name, "blob", size)

    async def _pour(
        self,
        writer: SpoolWriter,
        arriving: ArrivingBlob,
        stack: contextlib.AsyncExitStack,
        asked: _Asked,
    ) -> None:
        size, failures = writer.spool.size, 0
        answer: ArrivingBlob | None = arriving
        while True:
            before = writer.offset
            error: RegistryError = ConnectionLost(
                f"{asked.place.upstream.name} broke off {asked.digest} after {before} of {size} "
                "bytes; ask again"
            )
            try:
                if answer is None:
                    answer = await self._ask(stack, asked, before)
                await answer.pour(_Skipping(writer, before - answer.start))
            except StoreFull:
                raise
            except Unavailable as lost:
                error = lost
            if writer.offset >= size:
                return
            await stack.aclose()
            answer = None
            failures = 1 if writer.offset > before else failures + 1
            pause = next_delay(_POLICY, failures, self._random())
            if pause is None:
                raise error
            await asyncio.sleep(pause)

    async def _link(self, asked: _Asked, size: int) -> None:
        await asked.place.cache.index.names.link(
            asked.source.repository,
            blobs=[(asked.digest, size)],
            at=asked.place.cache.clock.now(),
        )

    async def _give_up(
        self, writer: SpoolWriter | None, asked: _Asked, error: BaseException
    ) -> None:
        """Leave what has come for the next one, or give the room back if there is nothing."""
        shown = error if isinstance(error, Exception) else Unavailable("the server is stopping")
        if writer is not None and writer.offset > 0:
            await writer.release(shown)
            return
        await self._discard(writer, shown)
        await asked.place.cache.index.contents.forget(asked.digest, state="filling")

    async def _discard(self, writer: SpoolWriter | None, error: Exception) -> None:
        if writer is not None:
            await writer.discard(error)


class _Skipping:
    """A sink that leaves out the first bytes, which the spool has already."""

    def __init__(self, writer: SpoolWriter, skip: int) -> None:
        self._writer = writer
        self._skip = skip

    def __call__(self, piece: memoryview) -> None:
        skipped = min(self._skip, len(piece))
        self._skip -= skipped
        if skipped < len(piece):
            self._writer.write(piece[skipped:])


def _open(fill: Fill, spool: SharedSpool | None) -> None:
    if not fill.opened.done():
        fill.opened.set_result(spool)
