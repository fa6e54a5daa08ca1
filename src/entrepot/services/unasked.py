"""What is brought into a cache although no client has asked for it yet: it is no hit and no miss,
and not used by being there."""

from dataclasses import replace

from entrepot.oci.digest import Digest
from entrepot.ports.mirror_books import Kind, Outcome
from entrepot.services.cache_use import CacheUse
from entrepot.services.mirror_place import MirrorPlace


class UnaskedUse(CacheUse):
    """Counts what comes from upstream, and nothing else."""

    def __init__(self, counted: CacheUse) -> None:
        super().__init__(counted.upkeep, counted.policy, counted.books, counted.clock)
        self._counted = counted

    def answered(self, upstream: str, kind: Kind, outcome: Outcome) -> None:
        """Count nothing: nobody was answered."""

    def used(self, digest: Digest, upstream: str, kind: Kind, size: int) -> None:
        """Note nothing: nobody was served."""

    def served(self, upstream: str, kind: Kind, size: int) -> None:
        """Count nothing: nobody was served."""

    def fetched(self, upstream: str, kind: Kind, size: int) -> None:
        """Count bytes that came from upstream."""
        self._counted.fetched(upstream, kind, size)


def unasked(place: MirrorPlace) -> MirrorPlace:
    """Return a place for what no client has asked for. Nothing is prefetched beside it, and
    nobody is there to be sent elsewhere."""
    return replace(
        place,
        cache=replace(place.cache, use=UnaskedUse(place.cache.use)),
        rules=replace(place.rules, prefetch=False, follow_redirects=True),
    )
