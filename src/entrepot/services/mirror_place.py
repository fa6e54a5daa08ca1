"""The place of one upstream in the mirror: the upstream itself, the cache that keeps what comes
from it, and the operator's rules for it."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUnknown, ManifestUnknown, Unavailable
from entrepot.ports.cache_index import CachedContent
from entrepot.ports.delivery import Delivery, Stream
from entrepot.rules import freshness
from entrepot.rules.sources import Mirrored
from entrepot.services.cache import Cache, Charge
from entrepot.services.upstream import Upstream


@dataclass(frozen=True, slots=True)
class MirrorRules:
    """What the operator has decided about an upstream. Times are seconds.

    `limit` is the bytes it may take in the cache (None: no limit); `floor` the requests left in
    its budget below which cached tags are not confirmed; `follow_redirects` off hands the
    upstream's redirects of blobs to clients.
    """

    freshness: Literal["always", "ttl", "never", "off"] = "always"
    tag_ttl: float = 300.0
    deadline: float = 2.0
    negative_ttl: float = 10.0
    conflict: Literal["order", "newest", "pin"] = "order"
    floor: int = 10
    limit: int | None = None
    prefetch: bool = False
    follow_redirects: bool = True


@dataclass(frozen=True, slots=True)
class MirrorPlace:
    """One upstream, its cache and its rules."""

    upstream: Upstream
    cache: Cache
    rules: MirrorRules

    @property
    def charge(self) -> Charge:
        """Who pays for what comes from here."""
        return Charge(self.upstream.name, self.rules.limit)

    async def refuse_absent(self, source: Mirrored, reference: str, *, blob: bool = False) -> None:
        """Raise ManifestUnknown or BlobUnknown if the upstream has just said that it has not
        this."""
        until = await self.cache.index.names.absent(source.repository, reference, blob=blob)
        if not freshness.is_absent(until, self.cache.clock.now(), self.rules.negative_ttl):
            return
        message = (
            f"{source.repository} has no {reference}: {self.upstream.name} has just said so, and "
            "is asked again in a moment"
        )
        raise BlobUnknown(message) if blob else ManifestUnknown(message)

    async def note_absent(self, source: Mirrored, reference: str, *, blob: bool = False) -> None:
        """Remember for a short while that the upstream has not this."""
        until = freshness.absent_until(self.cache.clock.now(), self.rules.negative_ttl)
        if until is not None:
            with contextlib.suppress(Unavailable):  # then it is asked again sooner
                await self.cache.index.names.set_absent(
                    source.repository, reference, until, blob=blob
                )

    async def prove(self, source: Mirrored, digest: Digest) -> int:
        """Ask the upstream whether the repository holds a blob, and remember that it does; return
        its size. Raise BlobUnknown."""
        try:
            size = await self.upstream.blob_size(source.name, digest)
        except BlobUnknown:
            await self.note_absent(source, str(digest), blob=True)
            raise
        await self.link(source, digest, size)
        return size

    async def link(self, source: Mirrored, digest: Digest, size: int) -> None:
        """Remember that the upstream says that the repository holds a blob."""
        await self._note_held(source.repository, digest, size)

    async def has_delivered(self, content: CachedContent) -> bool:
        """Say whether content that is cached, or on its way there, comes from this upstream, or
        was once delivered by it whole. Of other content nothing that it says is believed."""
        if content.upstream == self.upstream.name:
            return True
        return await self._has_delivered(content.digest)

    async def may_follow(self, repository: str, digest: Digest) -> bool:
        """Say the same of a blob on its way that was asked for in a repository."""
        upstream = repository.partition("/")[0]
        return upstream == self.upstream.name or await self._has_delivered(digest)

    async def note_delivered(self, digest: Digest, size: int) -> None:
        """Remember that this upstream has delivered content whole, although it is not kept as
        the upstream's own: as a link of the repository that is the upstream's bare name."""
        await self._note_held(self.upstream.name, digest, size)

    async def _has_delivered(self, digest: Digest) -> bool:
        return await self.cache.index.names.blob(self.upstream.name, digest) is not None

    async def _note_held(self, repository: str, digest: Digest, size: int) -> None:
        with contextlib.suppress(Unavailable):  # then it is proved again the next time
            await self.cache.index.names.link(
                repository, blobs=[(digest, size)], at=self.cache.clock.now()
            )


Open = Callable[[int, int], Awaitable[Delivery]]
"""Opens `length` bytes from `offset` of what is served: `await open(offset, length)`."""


@dataclass(frozen=True, slots=True)
class MirroredManifest:
    """A manifest for a client. `age` is how many seconds ago the upstream last confirmed the tag,
    None if it was just asked or need not be; `warning` says why what may be stale is served."""

    descriptor: Descriptor
    open: Open
    age: int | None = None
    warning: str = ""


@dataclass(frozen=True, slots=True)
class MirroredBlob:
    """A blob for a client, of `size` bytes; None where the client is sent elsewhere for it."""

    digest: Digest
    size: int | None
    open: Open


async def nothing(offset: int, length: int) -> Delivery:
    """Stand for `length` bytes that are not here, in the answer to a HEAD."""
    return Stream(_none(), length)


async def _none() -> AsyncIterator[bytes]:
    return
    yield b""
