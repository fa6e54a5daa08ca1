"""Purging: forgetting names of a cache by hand or because an upstream has told of a change, and
removing the content that nothing leads to then."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from entrepot.oci.digest import Digest
from entrepot.oci.reference import Tag
from entrepot.protocol.change_notices import Notice
from entrepot.rules.mirrored_images import mirrored_repository
from entrepot.services.cache import Cache
from entrepot.services.proxy import Proxy

_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge has done: `names` forgotten, `contents` removed with their bytes. `kept`
    contents were named, and stay because they are pinned."""

    names: int = 0
    contents: int = 0
    size: int = 0
    kept: int = 0

    def __add__(self, other: "Purged") -> "Purged":
        return Purged(
            self.names + other.names,
            self.contents + other.contents,
            self.size + other.size,
            self.kept + other.kept,
        )


@dataclass(frozen=True, slots=True)
class Purging:
    """Purges one cache. With `pinned` also what is pinned, which otherwise stays."""

    cache: Cache
    pinned: bool = False

    async def forget(self, repository: str, reference: Tag | Digest | None = None) -> int:
        """Forget a tag, a digest with the tags that point to it, or all of a repository; return
        how many names went. Content that nothing leads to any more goes at the next upkeep."""
        return await self.cache.index.catalog.purge(repository, reference)

    async def purge(self, repository: str, reference: Tag | Digest | None = None) -> Purged:
        """Forget the same, and remove at once what of it nothing leads to any more.

        A tag is only a name: its manifest can still be pulled by digest, and stays.
        """
        named = await self._named(repository, reference)
        names = await self.forget(repository, reference)
        return await self._removed(names, named)

    async def purge_digest(self, digest: Digest) -> Purged:
        """Forget a digest in every repository, and remove it."""
        names = 0
        for repository in await self.repositories():
            names += await self.forget(repository, digest)
        return await self._removed(names, [digest])

    async def purge_all(self, upstream: str | None = None) -> Purged:
        """Forget all repositories, or those of one upstream, and remove what is left of them;
        without `upstream` all content, and parts of blobs that nobody goes on with."""
        names, named = 0, set[Digest]()
        for repository in await self.repositories(upstream):
            named.update(await self._named(repository, None))
            names += await self.forget(repository)
        if upstream is not None:
            await self.forget(upstream)  # what it has once delivered
            return await self._removed(names, named)
        named.update(await self._everything())
        return await self._removed(names, named) + await self._remove_parts()

    async def repositories(self, upstream: str | None = None) -> list[str]:
        """Return the repositories with any name, of one upstream or of all."""
        found: list[str] = []
        after = "" if upstream is None else f"{upstream}/"
        while True:
            catalog = self.cache.index.catalog
            page = await catalog.repositories(after=after, limit=_BATCH)
            for repository in page:
                if upstream is not None and not repository.startswith(f"{upstream}/"):
                    return found
                found.append(repository)
            if len(page) < _BATCH:
                return found
            after = page[-1]

    async def _removed(self, names: int, named: Collection[Digest]) -> Purged:
        """Remove what was named and has no name any more, unless it is pinned."""
        kept = await self._kept(named)
        contents = size = passed = 0
        while True:
            unlinked = await self.cache.index.catalog.unlinked(passed + _BATCH)
            if len(unlinked) == passed:
                return Purged(names, contents, size, kept)
            for digest in unlinked[passed:]:  # in an order in which what stays comes first
                # What nobody has named may just have been stored, its link on the way.
                known = await self.cache.index.contents.find(digest) if digest in named else None
                if known is not None and await self.cache.drop(digest):
                    contents, size = contents + 1, size + known.size
                else:
                    passed += 1

    async def _remove_parts(self) -> Purged:
        contents = size = 0
        for digest, come, _ in await self.cache.spools.leftovers():
            if await self.cache.drop_part(digest):
                contents, size = contents + 1, size + come
        return Purged(0, contents, size)

    async def _named(self, repository: str, reference: Tag | Digest | None) -> Collection[Digest]:
        if reference is None:
            return set(await self.cache.index.catalog.links(repository))
        return [reference] if isinstance(reference, Digest) else []

    async def _kept(self, digests: Iterable[Digest]) -> int:
        """Return how many of them stay because they are pinned: none if pins do not count."""
        found = [await self.cache.index.contents.find(digest) for digest in digests]
        pinned = [one.digest for one in found if one and one.pinned and one.state == "stored"]
        if self.pinned:
            await self.cache.index.upkeep.pin(pinned, False)
        return 0 if self.pinned else len(pinned)

    async def _everything(self) -> list[Digest]:
        """Return all content, also what has no name."""
        found: list[Digest] = []
        while page := await self.cache.index.upkeep.contents(
            after=found[-1] if found else None, limit=_BATCH
        ):
            found += [one.digest for one in page]
        return found


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten because of a notice; `names` is how many names of the cache that were."""

    repository: str
    reference: Tag | Digest
    names: int


async def forget_changes(
    proxy: Proxy, notices: Iterable[Notice], upstream: str = ""
) -> tuple[Forgotten, ...]:
    """Forget what has changed upstream, in every cache. `upstream` is whose notices they are, by
    its name or an alias; without it they tell.

    Raise NameUnknown for a registry that is no upstream; then nothing is forgotten.
    """
    named = [
        (mirrored_repository(proxy.table, upstream or one.host, one.repository), one.reference)
        for one in notices
    ]
    done = []
    for repository, reference in named:
        if repository is not None:
            caches = proxy.mirror.places.caches()
            names = [await Purging(cache).forget(repository, reference) for cache in caches]
            done.append(Forgotten(repository, reference, sum(names)))
    return tuple(done)
