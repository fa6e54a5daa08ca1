"""Blobs that the cache has no room for: streamed from the upstream past it, to the one client who
asks. Nobody is refused here what could be had without a cache."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.errors import (
    ConnectionLost,
    DigestInvalid,
    RegistryError,
    SizeInvalid,
    Unavailable,
)
from entrepot.ports.delivery import HELD_BACK, Delivery, Stream
from entrepot.rules.sources import Mirrored
from entrepot.services.mirror_place import MirroredBlob, MirrorPlace
from entrepot.services.resumption import Resumption

_INLINE: Final = 32 << 10
"""Chunks up to this many bytes are hashed at once: a thread would take longer to wake."""


class UncachedBlobs:
    """Blobs that pass through. `random` is in [0, 1)."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random

    async def get(self, place: MirrorPlace, source: Mirrored, digest: Digest) -> MirroredBlob:
        """Return a blob that is read from the upstream itself, once it has said that it holds it.

        Raise BlobUnknown, or why the upstream cannot be asked.
        """
        size = await place.prove(source, digest)
        place.cache.use.answered(place.upstream.name, "blob", "miss")

        async def opened(offset: int, length: int) -> Delivery:
            passing = _Passing(place, source, digest, size, offset, offset + length)
            return Stream(passing.chunks(self._random), length)

        return MirroredBlob(digest, size, opened)


class _Passing:
    """One blob on its way to one client, who wants it from `start` up to before `end`.

    All of it is read and hashed, also for a part: the last bytes of what is wanted go out only
    when the whole has been verified.
    """

    def __init__(
        self,
        place: MirrorPlace,
        source: Mirrored,
        digest: Digest,
        size: int,
        start: int,
        end: int,
    ) -> None:
        self._place = place
        self._source = source
        self._digest = digest
        self._size = size
        self._start = start
        self._end = end
        self._safe = end - min(end - start, HELD_BACK)
        self._hasher = Hasher(digest.algorithm)
        self._at = 0
        self._held = b""

    async def chunks(self, random: Callable[[], float]) -> AsyncIterator[bytes]:
        """Yield what is wanted, over as many requests as that takes."""
        resumption = Resumption(random)
        while True:
            before = self._at
            try:
                async for chunk in self._answer():
                    yield chunk
                break
            except (DigestInvalid, SizeInvalid) as error:
                await self._tell(error)
                raise
            except Unavailable as error:
                lost = error
            await resumption.pause(lost, progress=self._at > before)
        use, upstream = self._place.cache.use, self._place.upstream.name
        use.fetched(upstream, "blob", self._size)
        use.served(upstream, "blob", self._end - self._start)
        if self._held:
            yield self._held

    async def _answer(self) -> AsyncIterator[bytes]:
        """Yield what one request brings of what is wanted, and verify the whole at its end."""
        upstream = self._place.upstream
        async with upstream.blob(self._source.name, self._digest, self._offset) as answer:
            if answer.size not in (None, self._size):
                raise self._wrong_size(answer.size)
            skip = self._at - answer.start
            async for piece in answer.chunks():
                fresh = piece[skip:]
                skip = max(0, skip - len(piece))
                if fresh and (chunk := await self._taken(fresh)):
                    yield chunk
            if self._at < self._size:
                raise ConnectionLost(
                    f"{upstream.name} broke off {self._digest} after {self._at} of {self._size} "
                    "bytes; ask again"
                )
            self._verify()

    @property
    def _offset(self) -> int:
        return min(self._at, max(self._size - 1, 0))

    async def _taken(self, piece: bytes) -> bytes:
        """Hash a piece; return what of it may go out now."""
        at, self._at = self._at, self._at + len(piece)
        if self._at > self._size:
            raise self._wrong_size(self._at)
        if len(piece) <= _INLINE:
            self._hasher.update(piece)
        else:
            await asyncio.to_thread(self._hasher.update, piece)
        self._held += piece[max(0, self._safe - at) : max(0, self._end - at)]
        return piece[max(0, self._start - at) : max(0, self._safe - at)]

    def _verify(self) -> None:
        actual = self._hasher.digest()
        if actual != self._digest:
            raise DigestInvalid(
                f"the {self._size} bytes received are {actual}, not {self._digest}; pull it again, "
                "or from another upstream",
                detail={"digest": str(self._digest), "actual": str(actual)},
            )

    def _wrong_size(self, received: int | None) -> SizeInvalid:
        return SizeInvalid(
            f"{self._place.upstream.name} sends {received} bytes for {self._digest}, but has said "
            f"{self._size}; pull it again later",
            detail={"expected": self._size, "received": received},
        )

    async def _tell(self, error: RegistryError) -> None:
        repository, reference = self._source.repository, str(self._digest)
        with contextlib.suppress(RegistryError):
            await self._place.cache.note("upstream.lied", repository, reference, error.message)
