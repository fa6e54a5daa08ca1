"""Warming: bringing images into the cache before any client asks for them.

Everything goes the way it would go for a client, through the mirror: what is here already costs
nothing but the tag's confirmation, what was begun is gone on with, what is wrong is never stored.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    ManifestUnknown,
    NameUnknown,
    RegistryError,
    StoreFull,
    Unavailable,
    Unsupported,
)
from entrepot.oci.manifest import Index, Manifest, parse_manifest
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Tag
from entrepot.ports.delivery import Follow, Inline
from entrepot.protocol.referrers import fallback_tag
from entrepot.rules.platform_choice import choose, offered
from entrepot.rules.sources import Mirrored
from entrepot.services.mirror import Mirror
from entrepot.services.mirror_place import MirroredManifest, MirrorPlace
from entrepot.services.progress import (
    BlobAdvanced,
    BlobFinished,
    BlobStarted,
    ManifestFinished,
    Planned,
    Report,
    Warned,
)
from entrepot.services.unasked import unasked
from entrepot.services.verified_manifest import MAX_DEPTH, MAX_MANIFESTS, too_deep, too_many

_ATTEMPTS: Final = 3
"""How often a blob is brought that is gone as soon as it came."""

_PAGES: Final = 100
"""How many pages of referrers are read."""


@dataclass(frozen=True, slots=True)
class WarmOptions:
    """What of an image is brought: all platforms unless some are chosen; with `referrers` also
    what has it as its subject. `jobs` are questions to the upstream at once; with `pin`, what is
    brought stays until it is unpinned."""

    platforms: tuple[Platform, ...] = ()
    referrers: bool = False
    pin: bool = False
    jobs: int = 4


@dataclass(frozen=True, slots=True)
class Warmed:
    """What warming has done: `root` is what the name stands for; `fetched` counts blobs that came
    now, `present` those that were here."""

    root: Descriptor
    manifests: int
    fetched: int
    present: int
    fetched_bytes: int
    total_bytes: int


def _ignore(_event: object) -> None:
    """Tell nobody."""


class Warming:
    """Brings images into the caches of a mirror."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    async def warm(
        self,
        source: Mirrored,
        reference: Tag | Digest,
        options: WarmOptions | None = None,
        report: Report = _ignore,
    ) -> Warmed:
        """Bring an image, telling `report` how it goes. What has come stays if it fails.

        Raise ManifestUnknown, also if a platform is not offered, StoreFull, ManifestInvalid, or
        why the upstream cannot be asked.
        """
        async with self._mirror.places.place(source.upstream) as place:
            walk = _Walk(self._mirror, unasked(place), source, options or WarmOptions(), report)
            return await walk.run(reference)


class _Walk:
    """One image on its way: a task per manifest and per blob, `jobs` of them at work. The first
    that fails ends the others."""

    def __init__(
        self,
        mirror: Mirror,
        place: MirrorPlace,
        source: Mirrored,
        options: WarmOptions,
        report: Report,
    ) -> None:
        self._mirror = mirror
        self._place = place
        self._source = source
        self._options = options
        self._report = report
        self._slots = asyncio.Semaphore(max(1, options.jobs))
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        self._failure: BaseException | None = None
        self._seen: set[Digest] = set()
        self._blobs: dict[Digest, Descriptor] = {}
        self._manifests = self._fetched = self._present = self._fetched_bytes = 0

    async def run(self, reference: Tag | Digest) -> Warmed:
        """Bring all that a reference leads to."""
        if self._place.rules.freshness == "off":
            self._report(
                Warned(f"{self._source.upstream} has freshness = off: no manifests are kept")
            )
        try:
            root, manifest = await self._manifest(reference)
            await self._below(root, manifest, 0)
            while self._tasks and self._failure is None:
                self._over.clear()
                await self._over.wait()
        finally:
            left = list(self._tasks)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        if self._failure is not None:
            raise self._failure
        total = sum(one.size for one in self._blobs.values())
        return Warmed(
            root, self._manifests, self._fetched, self._present, self._fetched_bytes, total
        )

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self._failure = self._failure or task.exception()
        if self._failure is not None or not self._tasks:
            self._over.set()

    # Manifests.

    async def _manifest(self, reference: Tag | Digest) -> tuple[Descriptor, Manifest | Index]:
        async with self._slots:
            found = await self._mirror.manifests.get(self._place, self._source, reference)
            content = await self._content(found)
        if found.warning:
            self._report(Warned(f"{self._source.repository}: {found.warning}"))
        return found.descriptor, parse_manifest(content, found.descriptor.media_type)

    async def _content(self, found: MirroredManifest) -> bytes:
        digest, cache = found.descriptor.digest, self._place.cache
        delivery = await found.open(0, found.descriptor.size)
        if isinstance(delivery, Inline):
            return delivery.content
        known = await cache.find(digest)
        content = None if known is None else await cache.read(known)
        if content is None:
            raise Unavailable(f"manifest {digest} went from the cache just now; warm it again")
        return content

    async def _child(self, entry: Descriptor, depth: int, *, wanted: bool) -> None:
        """Bring a manifest that another lists. Indexes may list images that the registry has not:
        without one that nobody has asked for by its platform, the others are still of use."""
        try:
            found, manifest = await self._manifest(entry.digest)
        except ManifestUnknown as error:
            if wanted:
                raise
            self._report(Warned(error.message))
            return
        await self._below(found, manifest, depth)

    async def _below(self, found: Descriptor, manifest: Manifest | Index, depth: int) -> None:
        """Begin to bring what a manifest refers to."""
        self._seen.add(found.digest)
        self._manifests += 1
        await self._pin(found.digest)
        blobs: Sequence[Descriptor]
        if isinstance(manifest, Index):
            if depth >= MAX_DEPTH:
                raise too_deep()
            chosen = bool(self._options.platforms)
            for entry in self._entries(manifest):
                self._begin_child(entry, depth + 1, wanted=chosen)
            kind = media_types.is_manifest_kind
            blobs = [] if chosen else [e for e in manifest.manifests if not kind(e.media_type)]
        else:
            blobs = (manifest.config, *manifest.layers)
        await self._begin_blobs(blobs)
        self._report(ManifestFinished(found))
        if self._options.referrers:
            self._begin(self._referrers(found, depth))

    def _begin_child(self, entry: Descriptor, depth: int, *, wanted: bool) -> None:
        if entry.digest in self._seen:
            return
        self._seen.add(entry.digest)
        if len(self._seen) > MAX_MANIFESTS:
            raise too_many()
        self._begin(self._child(entry, depth, wanted=wanted))

    def _entries(self, index: Index) -> Sequence[Descriptor]:
        """Return the manifests of an index that are wanted."""
        images = [one for one in index.manifests if media_types.is_manifest_kind(one.media_type)]
        if not self._options.platforms:
            return images
        chosen = []
        for platform in self._options.platforms:
            image = choose(images, platform)
            if image is None:
                there = ", ".join(offered(images)) or "none that is told"
                raise ManifestUnknown(
                    f"{self._source.repository} has no image for {platform}; there is {there}",
                    detail={"platform": str(platform)},
                )
            chosen.append(image)
        return chosen

    async def _referrers(self, subject: Descriptor, depth: int) -> None:
        """Bring what has a manifest as its subject."""
        for entry in await self._listed(subject.digest):
            self._begin_child(entry, depth + 1, wanted=False)

    async def _listed(self, subject: Digest) -> Sequence[Descriptor]:
        found: list[Descriptor] = []
        query = ""
        try:
            for _ in range(_PAGES):
                async with self._slots:
                    upstream = self._place.upstream
                    page = await upstream.page(self._source.name, f"referrers/{subject}", query)
                listed = parse_manifest(page.content, media_types.OCI_INDEX)
                found += listed.manifests if isinstance(listed, Index) else ()
                query = page.next_query
                if not query:
                    break
        except (NameUnknown, ManifestUnknown, Unsupported):  # it has not the API
            with suppress(ManifestUnknown, NameUnknown):
                _, listed = await self._manifest(fallback_tag(subject))
                return listed.manifests if isinstance(listed, Index) else ()
        return found

    # Blobs.

    async def _begin_blobs(self, blobs: Sequence[Descriptor]) -> None:
        new = {one.digest: one for one in blobs if one.digest not in self._blobs}
        there = {digest: one for digest, one in new.items() if one.is_distributable}
        self._blobs |= there
        await self._pin(*there)
        sizes = sum(one.size for one in self._blobs.values())
        self._report(Planned(len(self._blobs), sizes))
        for one in there.values():
            self._begin(self._blob(one))

    async def _blob(self, blob: Descriptor) -> None:
        async with self._slots:
            names = self._place.cache.index.names
            linked = await names.blob(self._source.repository, blob.digest)
            if linked is not None and await self._place.cache.find(blob.digest) is not None:
                fetched = False
            else:
                fetched = await self._fetch(blob)
        if fetched:
            self._fetched += 1
            self._fetched_bytes += blob.size
        else:
            self._present += 1
        self._report(BlobFinished(blob, "copied" if fetched else "present"))

    async def _fetch(self, blob: Descriptor) -> bool:
        """Bring a blob; return False if it was there and only had to be shown to be here, too."""
        fetched = False
        for _ in range(_ATTEMPTS):
            found = await self._mirror.blobs.get(self._place, self._source, blob.digest)
            delivery = await found.open(0, blob.size)
            watching = None
            if isinstance(delivery, Follow):
                fetched = True
                watching = asyncio.create_task(self._watch(blob, delivery))
            try:
                await self._mirror.blobs.ensure(self._place, self._source, blob.digest)
            finally:
                if watching is not None:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)
            if await self._place.cache.find(blob.digest) is not None:
                return fetched
        raise StoreFull(
            f"blob {blob.digest} was evicted as soon as it was stored; raise cache.max_size"
        )

    async def _watch(self, blob: Descriptor, following: Follow) -> None:
        """Tell how far a blob has come, until it is there or cancelled."""
        with suppress(RegistryError):
            come = await following.spool.available(-1)
            if come == following.spool.size:  # too small to have been seen on its way
                come = 0
            self._report(BlobStarted(blob, come))
            while come < following.spool.size:
                now = await following.spool.available(come)
                self._report(BlobAdvanced(blob.digest, now - come))
                come = now

    async def _pin(self, *digests: Digest) -> None:
        if self._options.pin and digests:
            await self._place.cache.index.upkeep.pin(digests, True)
