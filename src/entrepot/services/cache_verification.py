"""Verification of a cache: everything in it, or one image, compared with its digest; and what was
wrong fetched again."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Final

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import NameInvalid, RegistryError, Unavailable
from entrepot.oci.reference import RepositoryName
from entrepot.ports.cache_index import CachedContent
from entrepot.rules.sources import Mirrored
from entrepot.services.cache import Cache
from entrepot.services.mirror import Mirror
from entrepot.services.progress import BlobFinished, BlobStarted, Planned, Report
from entrepot.services.purging import Purging
from entrepot.services.unasked import unasked

_BATCH: Final = 100
_OCTETS: Final = "application/octet-stream"


@dataclass(slots=True)
class Verification:
    """What was found: contents and bytes compared, what was wrong and is dropped, and what of it
    was `repaired`; `failed` says why something could not be, or could not be read."""

    checked: int = 0
    size: int = 0
    corrupt: list[Digest] = field(default_factory=list)
    repaired: list[Digest] = field(default_factory=list)
    failed: dict[Digest, RegistryError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CacheVerification:
    """Compares the contents of one cache with their digests."""

    cache: Cache

    async def verify(
        self, done: Verification, report: Report, only: Iterable[CachedContent] | None = None
    ) -> None:
        """Compare all that is stored, or `only` some of it; what is wrong is dropped."""
        if only is None:
            usage = (await self.cache.index.upkeep.usage()).values()
            report(Planned(sum(one.items for one in usage), sum(one.size for one in usage)))
            async for known in self._stored():
                await self._compare(known, done, report)
            return
        chosen = list(only)
        report(Planned(len(chosen), sum(one.size for one in chosen)))
        for known in chosen:
            await self._compare(known, done, report)

    async def _compare(self, known: CachedContent, done: Verification, report: Report) -> None:
        shown = Descriptor(_OCTETS, known.digest, known.size)
        report(BlobStarted(shown, 0))
        try:
            right = await self.cache.verify(known)
        except Unavailable as error:
            done.failed[known.digest] = error
            return
        finally:
            report(BlobFinished(shown, "present"))
        done.checked += 1
        done.size += known.size
        if not right:
            done.corrupt.append(known.digest)

    async def _stored(self) -> AsyncIterator[CachedContent]:
        after = None
        while True:
            upkeep = self.cache.index.upkeep
            page = await upkeep.contents(after=after, limit=_BATCH)
            for known in page:
                if known.state == "stored":
                    yield known
            if len(page) < _BATCH:
                return
            after = page[-1].digest


async def repair(mirror: Mirror, cache: Cache, done: Verification) -> None:
    """Fetch again what was wrong, from an upstream that is known to have it. What nobody is known
    to have is no loss: nothing leads to it."""
    for digest in done.corrupt:
        if digest in done.repaired:
            continue
        error: RegistryError | None = None
        for source, is_manifest in await _sources(cache, digest):
            try:
                await _fetch(mirror, source, digest, is_manifest=is_manifest)
            except RegistryError as refused:
                error = refused
                continue
            done.repaired.append(digest)
            await cache.note(
                "content.repaired", source.repository, str(digest), "fetched again from upstream"
            )
            break
        else:
            if error is not None:
                done.failed[digest] = error


async def _fetch(mirror: Mirror, source: Mirrored, digest: Digest, *, is_manifest: bool) -> None:
    async with mirror.places.place(source.upstream) as place:
        if is_manifest:
            await mirror.manifests.get(unasked(place), source, digest)
        else:
            await mirror.blobs.ensure(unasked(place), source, digest)


async def _sources(cache: Cache, digest: Digest) -> list[tuple[Mirrored, bool]]:
    """Return the repositories that hold a digest, and whether it is a manifest there."""
    names, found = cache.index.names, []
    for repository in await Purging(cache).repositories():
        upstream, _, name = repository.partition("/")
        try:
            source = Mirrored(upstream, RepositoryName.parse(name))
        except NameInvalid:
            continue
        if await names.manifest(repository, digest) is not None:
            found.append((source, True))
        elif await names.blob(repository, digest) is not None:
            found.append((source, False))
    return found
