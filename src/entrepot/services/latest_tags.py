"""Latest tags: what a tag points to upstream now, and which endpoint counts where several disagree.

    order    the first that answers; the others are compared with it only when the tag is new here
             or has moved, for nobody waits for them
    newest   all are asked: what was never seen in this repository
    pin      all are asked: what was cached first

Each divergence is an event once, until the endpoints say something else.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import RegistryError, Unavailable
from entrepot.oci.reference import Tag
from entrepot.ports.cache_index import CachedTag
from entrepot.rules import freshness
from entrepot.rules.sources import Mirrored
from entrepot.services.flights import Flights
from entrepot.services.mirror_place import MirrorPlace
from entrepot.services.upstream_verdicts import UNKNOWN

Answers = Sequence[tuple[str, Descriptor | RegistryError]]
"""What endpoints have said, by URL, in their order."""

_REMEMBERED: Final = 1000
"""Tags whose last divergence is remembered, so that it is told once."""


class LatestTags:
    """Asks endpoints what tags point to."""

    def __init__(self) -> None:
        self._comparisons: Flights[None] = Flights()
        self._told: OrderedDict[tuple[str, Tag], str] = OrderedDict()

    async def ask(
        self, place: MirrorPlace, source: Mirrored, tag: Tag, cached: CachedTag | None
    ) -> Descriptor:
        """Return what a tag points to, by the rule of its upstream. Raise ManifestUnknown,
        NameUnknown, or why nobody can be asked."""
        if place.rules.conflict == "order":
            # What is cached is served at once where nobody can say whether it has moved.
            latest = await place.upstream.head(source.name, tag, patient=cached is None)
            if cached is not None and cached.digest == latest.digest:
                # What was read of it is known better than what is told now.
                return descriptor_of(cached)
            self.compare(place, source, tag, latest.digest)
            return latest
        answers = await place.upstream.heads(source.name, tag)
        found = [answer for _, answer in answers if isinstance(answer, Descriptor)]
        if not found:
            errors = [answer for _, answer in answers if isinstance(answer, RegistryError)]
            # An endpoint that has failed may have what the others have not.
            raise next((error for error in errors if not isinstance(error, UNKNOWN)), errors[0])
        digests = [descriptor.digest for descriptor in found]
        names = place.cache.index.names
        seen = [one for one in digests if await names.manifest(source.repository, one) is not None]
        before = cached.digest if cached is not None else None
        chosen, _ = freshness.conflict(place.rules.conflict, before, digests, seen=seen)
        await self._tell(place, source, tag, chosen, answers)
        if cached is not None and chosen == cached.digest:
            return descriptor_of(cached)
        return next(descriptor for descriptor in found if descriptor.digest == chosen)

    def compare(self, place: MirrorPlace, source: Mirrored, tag: Tag, chosen: Digest) -> None:
        """Begin to look whether any endpoint says something else than what was chosen."""
        if len(place.upstream.endpoints()) > 1:
            self._comparisons.join(
                (source.repository, tag), lambda: self._compare(place, source, tag, chosen)
            )

    async def close(self) -> None:
        """Stop comparing."""
        await self._comparisons.close()

    async def _compare(
        self, place: MirrorPlace, source: Mirrored, tag: Tag, chosen: Digest
    ) -> None:
        await self._tell(place, source, tag, chosen, await place.upstream.heads(source.name, tag))

    async def _tell(
        self, place: MirrorPlace, source: Mirrored, tag: Tag, chosen: Digest, answers: Answers
    ) -> None:
        """Keep an event if endpoints have diverged, and have not said so before."""
        said = {url: one.digest for url, one in answers if isinstance(one, Descriptor)}
        before = self._told.pop((source.repository, tag), "")
        if all(digest == chosen for digest in said.values()):
            return
        told = ", ".join(f"{url} says {digest}" for url, digest in said.items())
        self._told[source.repository, tag] = told
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        if told != before:
            detail = f"{told}; {chosen} is served"
            with contextlib.suppress(Unavailable):
                await place.cache.note("tag.diverged", source.repository, tag, detail)


def descriptor_of(cached: CachedTag) -> Descriptor:
    """Return the descriptor of what a cached tag points to."""
    return Descriptor(cached.media_type, cached.digest, cached.size)
