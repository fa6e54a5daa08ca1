"""Proofs that an upstream holds what the cache has from another one.

Content is shared by digest, and anybody can say yes to a HEAD. It proves something only of content
that came from the very upstream that is asked, or that this one has once delivered whole. Of
anything else the upstream has to send all of it: the bytes are compared with the digest and kept
nowhere.
"""

import asyncio
import contextlib
from collections.abc import Callable

from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.errors import (
    BlobUnknown,
    ConnectionLost,
    DigestInvalid,
    RegistryError,
    Unavailable,
)
from entrepot.rules.sources import Mirrored
from entrepot.services.flights import Flights
from entrepot.services.mirror_place import MirrorPlace
from entrepot.services.resumption import Resumption, Skipping


class Proofs:
    """All proofs of blobs of this process. `random` is in [0, 1)."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._deliveries: Flights[None] = Flights()

    async def prove(self, place: MirrorPlace, source: Mirrored, digest: Digest) -> None:
        """See to it that the upstream's repository holds what is cached or on its way, and
        remember that it does. Raise BlobUnknown, DigestInvalid, or why it cannot be asked."""
        while True:
            known = await place.cache.index.contents.find(digest)
            if known is None or await place.has_delivered(known):
                break
            size = known.size
            task, joined = self._deliveries.join(
                (id(place.cache.index), place.upstream.name, digest),
                lambda: self._deliver(place, source, digest, size),  # noqa: B023 - begun at once
            )
            try:
                await asyncio.shield(task)
            except RegistryError:
                if joined:  # perhaps another repository's, which has it not
                    continue
                raise
            if not joined:
                return
            break
        await place.prove(source, digest)

    async def close(self) -> None:
        """Stop what is being delivered."""
        await self._deliveries.close()

    async def _deliver(
        self, place: MirrorPlace, source: Mirrored, digest: Digest, size: int
    ) -> None:
        """Read a blob of `size` bytes from the upstream, compare it, and remember that it was
        right."""
        seen = _Seen(digest, size, place.upstream.name)
        try:
            await self._pour(place, source, seen)
        except BlobUnknown:
            await place.note_absent(source, str(digest), blob=True)
            raise
        except DigestInvalid as error:
            with contextlib.suppress(Unavailable):
                await place.cache.note(
                    "upstream.lied", source.repository, str(digest), error.message
                )
            raise
        place.cache.use.fetched(place.upstream.name, "blob", size)
        await place.note_delivered(digest, size)
        await place.link(source, digest, size)

    async def _pour(self, place: MirrorPlace, source: Mirrored, seen: "_Seen") -> None:
        """Read until all has been seen, over as many requests as that takes."""
        resumption = Resumption(self._random)
        while True:
            before = seen.offset
            error: RegistryError = ConnectionLost(
                f"{place.upstream.name} broke off {seen.digest} after {before} of {seen.size} "
                "bytes; ask again"
            )
            try:
                async with place.upstream.blob(source.name, seen.digest, before) as arriving:
                    if arriving.size not in (None, seen.size):
                        raise seen.wrong()
                    with contextlib.suppress(ConnectionLost):  # seen below
                        await arriving.pour(Skipping(seen, before - arriving.start))
                    if seen.offset == seen.size:
                        return seen.verify()
            except Unavailable as lost:
                error = lost
            await resumption.pause(error, progress=seen.offset > before)


class _Seen:
    """A sink that hashes what it is given, in the thread that gives it, and keeps nothing."""

    def __init__(self, digest: Digest, size: int, upstream: str) -> None:
        self.digest = digest
        self.size = size
        self.offset = 0
        self._upstream = upstream
        self._hasher = Hasher(digest.algorithm)

    def __call__(self, piece: memoryview) -> None:
        self.offset += len(piece)
        if self.offset > self.size:
            raise self.wrong()
        self._hasher.update(piece)

    def verify(self) -> None:
        """Raise DigestInvalid unless all that was seen is what its digest says."""
        if self._hasher.digest() != self.digest:
            raise self.wrong()

    def wrong(self) -> DigestInvalid:
        """Return what to say of an upstream that sends something else."""
        return DigestInvalid(
            f"{self._upstream} says that it has {self.digest}, but sends something else; "
            "nothing of it is served through there"
        )
