"""The mirror: names that resolve to other registries, answered from the cache or through it."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Protocol

from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUnknown, RegistryError
from entrepot.oci.reference import Tag
from entrepot.ports.delivery import Delivery
from entrepot.ports.upstream_endpoint import ListPage
from entrepot.rules import freshness
from entrepot.rules.sources import Mirrored
from entrepot.services.cache import Cache
from entrepot.services.fills import Fills
from entrepot.services.mirror_place import MirroredBlob, MirroredManifest, MirrorPlace, Open
from entrepot.services.mirrored_blobs import MirroredBlobs
from entrepot.services.mirrored_manifests import MirroredManifests


class Places(Protocol):
    """Finds the place of an upstream, keeping it open while it is in use."""

    def place(self, upstream: str) -> AbstractAsyncContextManager[MirrorPlace]:
        """Return an upstream's place. Raise Denied if there is no such upstream."""
        ...

    def caches(self) -> Iterable[Cache]:
        """Return every cache once."""
        ...


class Mirror:
    """Reading through the cache. `random` is in [0, 1)."""

    def __init__(self, places: Places, random: Callable[[], float]) -> None:
        self.places = places
        self.blobs = MirroredBlobs(Fills(random))
        self.manifests = MirroredManifests(self.blobs)

    async def manifest(
        self, source: Mirrored, reference: Tag | Digest, *, head: bool
    ) -> MirroredManifest:
        """Return a manifest; see `MirroredManifests.get`."""
        async with self.places.place(source.upstream) as place:
            found = await self.manifests.get(place, source, reference, head=head)
        digest = found.descriptor.digest
        again = _or_again(found.open, lambda: self.manifest(source, digest, head=head))
        return replace(found, open=again)

    async def blob(self, source: Mirrored, digest: Digest, *, head: bool) -> MirroredBlob:
        """Return a blob; see `MirroredBlobs`."""
        async with self.places.place(source.upstream) as place:
            get = self.blobs.head if head else self.blobs.get
            found = await get(place, source, digest)
        return replace(
            found, open=_or_again(found.open, lambda: self.blob(source, digest, head=head))
        )

    async def page(self, source: Mirrored, path: str, query: str) -> ListPage:
        """Return a page of tags or referrers as the upstream gives it (`path` below the name).

        Lists are not cached. Raise NameUnknown, or why the upstream cannot be asked.
        """
        async with self.places.place(source.upstream) as place:
            return await place.upstream.page(source.name, path, query)

    async def known_tags(self, source: Mirrored, error: RegistryError) -> tuple[Tag, ...]:
        """Return the tags that the cache knows, for an upstream that cannot be asked; raise
        `error` where that is no reason, or none is known."""
        if not freshness.may_serve_stale(error):
            raise error
        async with self.places.place(source.upstream) as place:
            tags = await place.cache.index.catalog.tags(source.repository)
        if not tags:
            raise error
        return tuple(tag for tag, _ in tags)

    async def close(self) -> None:
        """Stop what is being fetched; what has come is kept."""
        await self.manifests.close()
        await self.blobs.close()


def _or_again(opened: Open, ask: Callable[[], Awaitable[MirroredManifest | MirroredBlob]]) -> Open:
    """Open what was found; ask again for what has been evicted since."""

    async def open_or_ask(offset: int, length: int) -> Delivery:
        try:
            return await opened(offset, length)
        except BlobUnknown:
            return await (await ask()).open(offset, length)

    return open_or_ask
