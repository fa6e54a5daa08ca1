"""The fake cache index's names: tags, links, what is absent, and events."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Tag
from entrepot.ports.cache_index import CachedTag, CacheEvent
from entrepot.testing.memory_cache_contents import MemoryContents


@dataclass(slots=True, eq=False)
class MemoryNames:
    """See `CachedNames`."""

    now: Callable[[], float]
    tags: dict[tuple[str, str], CachedTag] = field(default_factory=dict)
    manifests: dict[tuple[str, Digest], Descriptor] = field(default_factory=dict)
    blobs: dict[tuple[str, Digest], int] = field(default_factory=dict)
    hints: dict[tuple[str, Digest], Descriptor] = field(default_factory=dict)
    since: dict[tuple[str, Digest, str], float] = field(default_factory=dict)
    gone: dict[tuple[str, str, bool], float] = field(default_factory=dict)

    async def tag(self, repository: str, tag: Tag) -> CachedTag | None:
        known = self.tags.get((repository, tag))
        if known is None:
            return None
        manifest = self.manifests[repository, known.digest]
        return replace(known, media_type=manifest.media_type, size=manifest.size)

    async def set_tag(
        self, repository: str, tag: Tag, manifest: Descriptor, *, at: float
    ) -> Digest | None:
        await self.link(repository, manifests=[manifest], at=at)
        before = self.tags.get((repository, tag))
        since = before.since if before and before.digest == manifest.digest else at
        self.tags[repository, tag] = CachedTag(
            manifest.digest, manifest.media_type, manifest.size, at, since
        )
        self.gone.pop((repository, tag, False), None)
        return before.digest if before else None

    async def manifest(self, repository: str, digest: Digest) -> Descriptor | None:
        return self.manifests.get((repository, digest))

    async def blob(self, repository: str, digest: Digest) -> int | None:
        return self.blobs.get((repository, digest))

    async def link(
        self,
        repository: str,
        *,
        manifests: Sequence[Descriptor] = (),
        blobs: Sequence[tuple[Digest, int]] = (),
        at: float,
    ) -> None:
        for one in manifests:
            bare = Descriptor(one.media_type, one.digest, one.size)
            self.manifests[repository, one.digest] = bare
            self.since.setdefault((repository, one.digest, "manifests"), at)
            self.gone.pop((repository, str(one.digest), False), None)
        for digest, size in blobs:
            self.blobs[repository, digest] = size
            self.since.setdefault((repository, digest, "blobs"), at)
            self.gone.pop((repository, str(digest), True), None)

    async def expect(
        self, repository: str, descriptors: Sequence[Descriptor], *, at: float
    ) -> None:
        for one in descriptors:
            self.hints[repository, one.digest] = Descriptor(one.media_type, one.digest, one.size)
            self.since.setdefault((repository, one.digest, "hints"), at)

    async def expected(self, repository: str, digest: Digest) -> Descriptor | None:
        return self.hints.get((repository, digest))

    async def absent(self, repository: str, reference: str, *, blob: bool = False) -> float | None:
        return self.gone.get((repository, reference, blob))

    async def set_absent(
        self, repository: str, reference: str, until: float, *, blob: bool = False
    ) -> None:
        now = self.now()
        self.gone = {name: end for name, end in self.gone.items() if end >= now}
        self.gone[repository, reference, blob] = until

    def held(self) -> list[tuple[str, Digest]]:
        """Return every repository with every digest that it holds or is expected to."""
        return [*self.manifests, *self.blobs, *self.hints]


@dataclass(slots=True, eq=False)
class MemoryCatalog:
    """See `CacheCatalog`."""

    names: MemoryNames
    contents: MemoryContents
    recorded: list[CacheEvent] = field(default_factory=list)

    async def repositories(self, *, after: str = "", limit: int) -> Sequence[str]:
        found = {repository for repository, _ in self.names.held()}
        return sorted(name for name in found if name > after)[:limit]

    async def tags(self, repository: str) -> Sequence[tuple[Tag, CachedTag]]:
        tags = sorted(Tag(tag) for home, tag in self.names.tags if home == repository)
        known = [(tag, await self.names.tag(repository, tag)) for tag in tags]
        return [(tag, cached) for tag, cached in known if cached]

    async def links(self, repository: str) -> Sequence[Digest]:
        return sorted({digest for home, digest in self.names.held() if home == repository})

    async def purge(self, repository: str, reference: Tag | Digest | None = None) -> int:
        names, gone = self.names, set[str]()

        def goes(home: str, *called: object) -> bool:
            found = home == repository and (reference is None or reference in called)
            if found:
                gone.add(str(called[0]))
            return found

        names.tags = {key: tag for key, tag in names.tags.items() if not goes(*key, tag.digest)}
        names.manifests = {key: one for key, one in names.manifests.items() if not goes(*key)}
        names.blobs = {key: one for key, one in names.blobs.items() if not goes(*key)}
        names.hints = {key: one for key, one in names.hints.items() if not goes(*key)}
        self._tidy()
        text = None if reference is None else str(reference)
        for home, absent, blob in list(names.gone):
            if home == repository and text in (None, absent):
                gone.add(absent)
                del names.gone[home, absent, blob]
        return len(gone)

    async def forget_unused(self, repositories: Sequence[str], before: float) -> int:
        names, rows = self.names, self.contents.rows
        late = [key for key, until in names.gone.items() if until < before]
        for key in late:
            del names.gone[key]
        tags = [
            (home, tag)
            for (home, tag), known in names.tags.items()
            if home in repositories and known.checked_at < before and known.digest not in rows
        ]
        for named in tags:
            del names.tags[named]
        tagged = {(home, known.digest) for (home, _), known in names.tags.items()}
        named_elsewhere = {digest for home, digest in names.held() if "/" in home}
        unused = [
            (home, digest, kind)
            for (home, digest, kind), at in names.since.items()
            if home in repositories
            and at < before
            and (kind != "manifests" or (home, digest) not in tagged)
            and (digest not in rows or ("/" not in home and digest not in named_elsewhere))
        ]
        for home, digest, kind in unused:
            del getattr(names, kind)[home, digest]
        self._tidy()
        return len(late) + len(tags) + len(unused)

    def _tidy(self) -> None:
        """Forget since when was known what is not known any more."""
        since = self.names.since
        self.names.since = {
            key: at for key, at in since.items() if key[:2] in getattr(self.names, key[2])
        }

    async def unlinked(self, limit: int) -> Sequence[Digest]:
        linked = {digest for _, digest in (*self.names.manifests, *self.names.blobs)}
        known = self.contents.rows.items()
        found = [digest for digest, row in known if row.is_seen and digest not in linked]
        return found[:limit]

    async def record(self, event: CacheEvent) -> None:
        self.recorded.append(event)

    async def events(self, limit: int) -> Sequence[CacheEvent]:
        return self.recorded[::-1][:limit]
