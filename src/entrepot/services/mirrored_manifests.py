"""Manifests of upstreams: by digest for good, by tag as fresh as the rules want them, and stale
rather than not at all.

    tag known, fresh enough      served, the upstream is not asked
    tag known                    confirmed by HEAD within the deadline, else served as stale
    tag unknown                  fetched, and kept with what it refers to
    digest known and stored      served
    digest stored elsewhere      served once the upstream has said that it holds it here, too; once
                                 it has sent it, where it came from another upstream
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    ManifestInvalid,
    ManifestUnknown,
    NameUnknown,
    RegistryError,
    StoreFull,
    Unavailable,
)
from entrepot.oci.manifest import Index, Manifest, parse_manifest
from entrepot.oci.reference import Tag
from entrepot.ports.cache_index import CachedTag
from entrepot.ports.delivery import Delivery, Inline
from entrepot.ports.mirror_books import Outcome
from entrepot.rules import freshness
from entrepot.rules.prefetch import to_prefetch
from entrepot.rules.sources import Mirrored
from entrepot.services.flights import Flights, LateAnswers
from entrepot.services.latest_tags import LatestTags, descriptor_of
from entrepot.services.mirror_place import MirroredManifest, MirrorPlace, Open, nothing
from entrepot.services.mirrored_blobs import MirroredBlobs
from entrepot.services.request_budgets import RequestBudgets

_SHOWN: Final = 180
"""Characters of an error that go into a warning."""

_MOST_EXPECTED: Final = 1000
"""Of how much that a manifest lists the index notes the size: anybody can write more into one."""

_HURRY: Final = 10
"""What part of the deadline an upstream gets that is late with another answer already."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a question to the upstream has brought; `content` is None where it was only named, or
    was here already."""

    descriptor: Descriptor
    content: bytes | None = None


class MirroredManifests:
    """The manifests of every upstream. `blobs` prefetches what a manifest refers to."""

    def __init__(self, blobs: MirroredBlobs) -> None:
        self._blobs = blobs
        self._flights: Flights[Fetched] = Flights()
        self._budgets = RequestBudgets()
        self._late = LateAnswers()
        self._latest = LatestTags()

    async def get(
        self, place: MirrorPlace, source: Mirrored, reference: Tag | Digest, *, head: bool = False
    ) -> MirroredManifest:
        """Return a manifest, from the cache where the rules allow it.

        With `head` nothing is downloaded that is not here, and what the upstream says of it is
        returned. Raise ManifestUnknown, NameUnknown, or why the upstream cannot be asked.
        """
        if place.rules.freshness == "off":
            return await self._passed_on(place, source, reference, head=head)
        if isinstance(reference, Digest):
            return await self._by_digest(place, source, reference, head=head)
        return await self._by_tag(place, source, reference, head=head)

    async def close(self) -> None:
        """Cancel what is asked for nobody."""
        await self._latest.close()
        await self._flights.close()

    async def _by_tag(
        self, place: MirrorPlace, source: Mirrored, tag: Tag, *, head: bool
    ) -> MirroredManifest:
        cache, rules = place.cache, place.rules
        cached = await cache.index.names.tag(source.repository, tag)
        found = await cache.find(cached.digest) if cached is not None else None
        here = found is not None and await place.has_delivered(found)
        if cached is not None and found is not None:
            # Sizes are told by upstreams; this one was counted.
            cached = replace(cached, size=found.size)
        now = cache.clock.now()
        if cached is not None and (here or head):
            self._budgets.note(place.upstream.name, place.upstream.rate_limit, now)
            decision = freshness.decide(
                rules.freshness,
                now - cached.checked_at,
                rules.tag_ttl,
                remaining=self._budgets.left(place.upstream.name, now),
                floor=rules.floor,
            )
            if decision == "serve":
                return self._hit(place, cached, here=here)
        await place.refuse_absent(source, tag)
        # Where the tag is here, also a HEAD brings what it has moved to: what a client is told of
        # can then be had, too.
        brief = head and not here
        task, joined = self._flights.join(
            (source.repository, tag, brief),
            lambda: self._ask_tag(place, source, tag, now, head=brief),
        )
        # What is here is served in time; the question goes on and is answered for the next one.
        patience = self._patience(place, task) if here else None
        await asyncio.wait({task}, timeout=patience)
        if not task.done() or task.cancelled():
            self._late.note(place.upstream.name, task)
            late = Unavailable(f"{place.upstream.name} has not confirmed it in time; ask again")
            return self._stale(place, cached if here else None, late)
        error = task.exception()
        if error is not None:
            if here and isinstance(error, RegistryError) and freshness.may_serve_stale(error):
                return self._stale(place, cached, error)
            raise error
        return await self._deliver(place, source, task.result(), head=head, joined=joined)

    def _patience(self, place: MirrorPlace, task: asyncio.Task[Fetched]) -> float:
        """Return how long a client waits for a cached tag to be confirmed: the first one as long
        as the rules say; while the upstream is known not to answer, the others hardly at all."""
        deadline = place.rules.deadline
        if not place.upstream.healthy or self._late.has(place.upstream.name, task):
            return 0.0
        return deadline / _HURRY if self._late.any(place.upstream.name) else deadline

    async def _ask_tag(
        self, place: MirrorPlace, source: Mirrored, tag: Tag, asked_at: float, *, head: bool
    ) -> Fetched:
        """Ask the upstream what a tag points to now, once over all processes."""
        names = place.cache.index.names
        async with place.cache.spools.turn(f"tag {source.repository}:{tag}"):
            cached = await names.tag(source.repository, tag)
            # What was confirmed in the future was confirmed before the clock went back.
            if cached is not None and asked_at <= cached.checked_at <= place.cache.clock.now():
                return Fetched(descriptor_of(cached))
            try:
                return await self._asked_tag(place, source, tag, cached, head=head)
            except (ManifestUnknown, NameUnknown):
                await place.note_absent(source, tag)
                raise
            finally:
                now = place.cache.clock.now()
                self._budgets.note(place.upstream.name, place.upstream.rate_limit, now)

    async def _asked_tag(
        self,
        place: MirrorPlace,
        source: Mirrored,
        tag: Tag,
        cached: CachedTag | None,
        *,
        head: bool,
    ) -> Fetched:
        """Ask what a tag points to, and fetch that if it is wanted.

        The tag moves here only with its content: as long as that cannot be had, what it pointed
        to before can still be served.
        """
        cache = place.cache
        content = None
        if cached is None and not head:
            latest, content = await place.upstream.manifest(source.name, tag)
            self._latest.compare(place, source, tag, latest.digest)
        else:
            latest = await self._latest.ask(place, source, tag, cached)
            found = await cache.find(latest.digest) if not head else None
            if not head and (found is None or not await place.has_delivered(found)):
                latest, content = await self._content(place, source, tag, latest)
        if content is None or await self._keep(place, source, latest, content):
            await self._set_tag(place, source, tag, latest)
        return Fetched(latest, content)

    async def _content(
        self, place: MirrorPlace, source: Mirrored, tag: Tag, latest: Descriptor
    ) -> tuple[Descriptor, bytes]:
        try:
            return await place.upstream.manifest(source.name, latest.digest)
        except (ManifestUnknown, NameUnknown):
            raise Unavailable(
                f"{place.upstream.name} says that {source.name}:{tag} is {latest.digest}, which it "
                "does not have; ask again later"
            ) from None

    async def _set_tag(
        self, place: MirrorPlace, source: Mirrored, tag: Tag, latest: Descriptor
    ) -> None:
        cache = place.cache
        now = cache.clock.now()
        try:
            before = await cache.index.names.set_tag(source.repository, tag, latest, at=now)
            if before is not None and before != latest.digest:
                await cache.note(
                    "tag.moved", source.repository, tag, f"from {before} to {latest.digest}"
                )
        except Unavailable:  # it is asked for again the next time
            return

    async def _by_digest(
        self, place: MirrorPlace, source: Mirrored, digest: Digest, *, head: bool
    ) -> MirroredManifest:
        known = await place.cache.index.names.manifest(source.repository, digest)
        found = await place.cache.find(digest) if known is not None else None
        if known is not None and found is not None and await place.has_delivered(found):
            known = replace(known, size=found.size)
            self._count_hit(place, known)
            return MirroredManifest(known, _stored(place, digest))
        await place.refuse_absent(source, str(digest))
        task, joined = self._flights.join(
            (source.repository, digest, head),
            lambda: self._ask_digest(place, source, digest, head=head),
        )
        fetched = await asyncio.shield(task)
        return await self._deliver(place, source, fetched, head=head, joined=joined)

    async def _ask_digest(
        self, place: MirrorPlace, source: Mirrored, digest: Digest, *, head: bool
    ) -> Fetched:
        names = place.cache.index.names
        async with place.cache.spools.turn(f"manifest {source.repository}@{digest}"):
            known = await names.manifest(source.repository, digest)
            found = await place.cache.find(digest)
            # What came from another upstream this one has to send whole, to show that it has it.
            here = found is not None and await place.has_delivered(found)
            if known is not None and here:  # another process has brought it
                return Fetched(known)
            try:
                if head or here:
                    latest, content = await place.upstream.head(source.name, digest), None
                else:
                    latest, content = await place.upstream.manifest(source.name, digest)
            except (ManifestUnknown, NameUnknown):
                await place.note_absent(source, str(digest))
                raise
            if content is None:
                with contextlib.suppress(Unavailable):  # then it is asked again the next time
                    now = place.cache.clock.now()
                    await names.link(source.repository, manifests=[latest], at=now)
                return Fetched(latest)
            await self._keep(place, source, latest, content)
            return Fetched(latest, content)

    async def _deliver(
        self,
        place: MirrorPlace,
        source: Mirrored,
        fetched: Fetched,
        *,
        head: bool,
        joined: bool,
    ) -> MirroredManifest:
        """Return what a question has brought, with the bytes if they are wanted."""
        latest = fetched.descriptor
        outcome: Outcome = "coalesced" if joined else "miss"
        if fetched.content is not None:
            place.cache.use.answered(place.upstream.name, "manifest", outcome)
            size = 0 if head else latest.size
            place.cache.use.used(latest.digest, place.upstream.name, "manifest", size)
            return MirroredManifest(latest, _inline(fetched.content))
        found = await place.cache.find(latest.digest)
        if found is not None and await place.has_delivered(found):
            latest = replace(latest, size=found.size)
            place.cache.use.answered(place.upstream.name, "manifest", outcome)
            size = 0 if head else latest.size
            place.cache.use.used(latest.digest, place.upstream.name, "manifest", size)
            return MirroredManifest(latest, _stored(place, latest.digest))
        if head:
            place.cache.use.answered(place.upstream.name, "manifest", outcome)
            return MirroredManifest(latest, nothing)
        return await self._by_digest(place, source, latest.digest, head=False)

    async def _keep(
        self, place: MirrorPlace, source: Mirrored, latest: Descriptor, content: bytes
    ) -> bool:
        """Store a manifest if there is room, note what it refers to, and prefetch that. Return
        whether the index could be written: nothing more need be tried where it cannot."""
        cache = place.cache
        cache.use.fetched(place.upstream.name, "manifest", len(content))
        try:
            await cache.put(latest.digest, content, place.charge)
        except StoreFull:
            pass  # what it refers to can be noted all the same
        except Unavailable:
            return False
        found = await cache.index.contents.find(latest.digest)
        if found is not None and not await place.has_delivered(found):
            await place.note_delivered(latest.digest, len(content))
        await self._link(place, source, latest, content)
        return True

    async def _link(
        self, place: MirrorPlace, source: Mirrored, latest: Descriptor, content: bytes
    ) -> None:
        """Note what a manifest refers to; one that is not understood is passed on all the same."""
        try:
            parsed = parse_manifest(content, latest.media_type)
        except ManifestInvalid:
            parsed = None
        now = place.cache.clock.now()
        names = place.cache.index.names
        with contextlib.suppress(Unavailable):
            await names.link(source.repository, manifests=[latest], at=now)
            # What a manifest refers to may be anybody's: it is readable here only once the
            # upstream has shown it through this very repository.
            await names.expect(source.repository, _referred(parsed)[:_MOST_EXPECTED], at=now)
        if place.rules.prefetch and isinstance(parsed, Manifest):
            # An index says nothing of what its client is for; the image of it that is pulled does.
            self._blobs.prefetch(place, source, to_prefetch(parsed, None))

    async def _passed_on(
        self, place: MirrorPlace, source: Mirrored, reference: Tag | Digest, *, head: bool
    ) -> MirroredManifest:
        """Ask the upstream and keep nothing but which blobs the repository holds.

        It passes by the cache, so that it is no miss of the cache's.
        """
        if head:
            told = await place.upstream.head(source.name, reference)
            place.cache.books.asked(place.upstream.name, "manifest", "miss")
            return MirroredManifest(told, nothing)
        latest, content = await place.upstream.manifest(source.name, reference)
        place.cache.books.asked(place.upstream.name, "manifest", "miss")
        place.cache.use.fetched(place.upstream.name, "manifest", len(content))
        await self._link(place, source, latest, content)
        return MirroredManifest(latest, _inline(content))

    def _hit(self, place: MirrorPlace, cached: CachedTag, *, here: bool) -> MirroredManifest:
        descriptor = descriptor_of(cached)
        self._count_hit(place, descriptor)
        age = freshness.age_header(cached.checked_at, place.cache.clock.now())
        opener = _stored(place, cached.digest) if here else nothing
        return MirroredManifest(descriptor, opener, age)

    def _count_hit(self, place: MirrorPlace, descriptor: Descriptor) -> None:
        use, upstream = place.cache.use, place.upstream.name
        use.answered(upstream, "manifest", "hit")
        use.used(descriptor.digest, upstream, "manifest", descriptor.size)

    def _stale(
        self, place: MirrorPlace, cached: CachedTag | None, error: RegistryError
    ) -> MirroredManifest:
        if cached is None:  # the server is stopping
            raise error
        use, upstream = place.cache.use, place.upstream.name
        use.answered(upstream, "manifest", "stale")
        use.used(cached.digest, upstream, "manifest", cached.size)
        why = error.message.encode("ascii", "replace").decode().replace("\n", " ")[:_SHOWN]
        return MirroredManifest(
            descriptor_of(cached),
            _stored(place, cached.digest),
            freshness.age_header(cached.checked_at, place.cache.clock.now()),
            f"this tag may have moved: {why}",
        )


def _referred(parsed: Manifest | Index | None) -> Sequence[Descriptor]:
    if parsed is None:
        return ()
    return (parsed.config, *parsed.layers) if isinstance(parsed, Manifest) else parsed.manifests


def _stored(place: MirrorPlace, digest: Digest) -> Open:
    async def opened(offset: int, length: int) -> Delivery:
        return await place.cache.open(digest, offset, length)

    return opened


def _inline(content: bytes) -> Open:
    async def opened(offset: int, length: int) -> Delivery:
        return Inline(content[offset : offset + length])

    return opened
