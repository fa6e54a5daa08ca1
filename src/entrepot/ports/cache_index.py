"""The cache index: what one cache holds, from where, who may read it through which name, and what
goes first when room is needed.

It lies beside the bytes it speaks of, in the cache's own directory, and belongs to the node: the
registry's database may be elsewhere or away, and cached images are served all the same. Processes
of one node share it. A `repository` here is `<upstream>/<name>`, e.g. `docker.io/library/alpine`.

Bytes and index never disagree about sizes. Content is `filling` (its whole size is reserved) from
before its first byte is written, `stored` once it is content, `evicting` before its file is
removed; what a crash leaves `filling` or `evicting` is found by `unfinished`, never by a walk.

Times are Unix seconds and always arguments. A driver proves itself against
`entrepot.testing.CacheIndexSuite`. Everything may raise Unavailable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import StoreFull
from entrepot.oci.reference import Tag
from entrepot.rules.eviction import Policy

State = Literal["filling", "stored", "evicting"]

LARGEST: Final = 1 << 60
"""Bytes that any cache may take in all, so that sums of sizes that upstreams tell stay sound."""

OVERDUE_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class CachedTag:
    """What a tag pointed to when the upstream was last asked, at `checked_at`; `since` is when
    it was first seen to point there. `media_type` and `size` are the manifest's."""

    digest: Digest
    media_type: str
    size: int
    checked_at: float
    since: float


@dataclass(frozen=True, slots=True)
class CachedContent:
    """Content, stored or on its way. `stamp` is what the content store told of the file when it
    was last known to be right; `verified_at` when that was."""

    digest: Digest
    size: int
    state: State
    upstream: str
    stamp: str = ""
    stored_at: float = 0.0
    used_at: float = 0.0
    verified_at: float = 0.0
    uses: int = 0
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Quota:
    """Bytes that an upstream's content, and all content, may take; None is no limit."""

    upstream: int | None = None
    total: int | None = None

    def lacking(self, size: int, growth: int, used: int, in_all: int) -> int:
        """Return how many bytes must go before content can grow by `growth` bytes to `size`, where
        its upstream takes `used` and all content `in_all`. Raise StoreFull if it never can."""
        total = LARGEST if self.total is None else min(self.total, LARGEST)
        upstream = total if self.upstream is None else self.upstream
        if size > min(total, upstream):
            raise StoreFull(
                f"{size} bytes are more than the {min(total, upstream)} that the cache may take; "
                "raise the limit, or pull it past the cache",
                detail={"size": size, "limit": min(total, upstream)},
            )
        return max(0, used + growth - upstream, in_all + growth - total)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one upstream takes and how its cache was used, as counted since the cache was made.
    `size` and `items` are of what is there now, also what is filling."""

    size: int = 0
    items: int = 0
    hits: int = 0
    misses: int = 0
    stale: int = 0
    coalesced: int = 0
    evictions: int = 0
    evicted_bytes: int = 0
    fetched_bytes: int = 0
    served_bytes: int = 0


@dataclass(frozen=True, slots=True)
class CacheEvent:
    """Something an operator may want to know: `tag.moved`, `tag.diverged`, `content.corrupt`,
    `content.repaired`, `upstream.lied`. `detail` is text for people."""

    kind: str
    repository: str
    reference: str
    detail: str
    at: float


class CachedNames(Protocol):
    """Tags, manifests and blobs by repository: who may read what."""

    async def tag(self, repository: str, tag: Tag) -> CachedTag | None:
        """Return what a tag is known to point to."""
        ...

    async def set_tag(
        self, repository: str, tag: Tag, manifest: Descriptor, *, at: float
    ) -> Digest | None:
        """Note what the upstream says a tag points to now; return what it was before. The
        manifest's link is made with it."""
        ...

    async def manifest(self, repository: str, digest: Digest) -> Descriptor | None:
        """Return what is known of a manifest of the repository."""
        ...

    async def blob(self, repository: str, digest: Digest) -> int | None:
        """Return the size of a blob that the repository is known to hold."""
        ...

    async def link(
        self,
        repository: str,
        *,
        manifests: Sequence[Descriptor] = (),
        blobs: Sequence[tuple[Digest, int]] = (),
        at: float,
    ) -> None:
        """Note that the repository holds manifests and blobs (digest and size)."""
        ...

    async def expect(
        self, repository: str, descriptors: Sequence[Descriptor], *, at: float
    ) -> None:
        """Note what a manifest of the repository refers to. Anybody can write any digest into a
        manifest, so that makes nothing readable: it tells sizes beforehand."""
        ...

    async def expected(self, repository: str, digest: Digest) -> Descriptor | None:
        """Return what a manifest of the repository says of a digest."""
        ...

    async def absent(self, repository: str, reference: str, *, blob: bool = False) -> float | None:
        """Return until when the upstream need not be asked again for what it had not; that may
        be in the past already."""
        ...

    async def set_absent(
        self, repository: str, reference: str, until: float, *, blob: bool = False
    ) -> None:
        """Note that the upstream has not this tag or digest as a manifest, or as a `blob`: a blob's
        digest leads to no manifest, which says nothing of the blob. What appears (`set_tag`,
        `link`) is not absent any more."""
        ...


class CacheCatalog(Protocol):
    """Looking over the cache, and forgetting parts of it."""

    async def repositories(self, *, after: str = "", limit: int) -> Sequence[str]:
        """Return repositories with any name in the cache, in order."""
        ...

    async def tags(self, repository: str) -> Sequence[tuple[Tag, CachedTag]]:
        """Return the tags known of a repository, in order."""
        ...

    async def links(self, repository: str) -> Sequence[Digest]:
        """Return the digests of manifests and blobs that a repository is known to hold, or is
        expected to."""
        ...

    async def purge(self, repository: str, reference: Tag | Digest | None = None) -> int:
        """Forget a tag, a digest with the tags that point to it, or all of a repository, also
        what was absent; return how many names went. Content stays until it is evicted or
        `unlinked` tells of it."""
        ...

    async def forget_unused(self, repositories: Sequence[str], before: float) -> int:
        """Forget names of these repositories that lead to no content, not even to what is filling:
        tags last checked, and what was linked or expected, before a time. Of what an upstream has
        once delivered (the repository that is its bare name) goes also what no other repository
        names. Forget everywhere what was absent until before then. Return how many names went."""
        ...

    async def unlinked(self, limit: int) -> Sequence[Digest]:
        """Return stored content that no repository links any more."""
        ...

    async def record(self, event: CacheEvent) -> None:
        """Keep an event; the oldest beyond some thousands are dropped."""
        ...

    async def events(self, limit: int) -> Sequence[CacheEvent]:
        """Return the newest events, newest first."""
        ...


class CachedContents(Protocol):
    """Content by digest: its place, its state and its use."""

    async def find(self, digest: Digest) -> CachedContent | None:
        """Return what is known of content."""
        ...

    async def reserve(
        self, digest: Digest, size: int, upstream: str, quota: Quota, *, at: float
    ) -> int:
        """Reserve room for content, which is `filling` from now on; return 0, or else how many
        bytes must be evicted first, and nothing is reserved.

        What is there already, in any state, needs no room and is left as it is, but what was
        `evicting` or `filling` is `filling` for this upstream. Should it be larger now than it was
        reserved for, only the difference needs room. Raise StoreFull if the content is larger than
        the quota.
        """
        ...

    async def stored(self, digest: Digest, stamp: str, policy: Policy, *, at: float) -> None:
        """Say that content that was `filling` is whole and in place; the policy says where it
        stands. If it was stored already, it keeps its place; what is `evicting` or unknown stays
        so, and will be fetched again."""
        ...

    async def forget(self, digest: Digest, *, state: State | None = None) -> None:
        """Give back the room of content that is not there (any more); unknown is no error.

        With `state`, only if that is still its state: what was `evicting` may be `filling` again
        by another process, and what failed to fill may be stored.
        """
        ...

    async def choose(
        self, policy: Policy, upstream: str | None, size: int, capacity: int, *, at: float
    ) -> Sequence[CachedContent]:
        """Choose what the policy says is overdue (at most OVERDUE_AT_ONCE), then more until it is
        at least `size` bytes, as far as there is any: of one upstream, or of all (None).

        It is `evicting` from now on and counted as an eviction. The caller removes the bytes, then
        calls `forget`. With a size of 0, only what is overdue is chosen.
        """
        ...

    async def take(self, digest: Digest) -> bool:
        """Mark one content `evicting`, without counting it as an eviction, to remove it by hand;
        return whether it was stored."""
        ...

    async def unfinished(self) -> Sequence[CachedContent]:
        """Return all content that is `filling` or `evicting`."""
        ...


class CacheUpkeep(Protocol):
    """What is noted of content as it is used and checked."""

    async def touch(self, uses: Mapping[Digest, tuple[int, float]], policy: Policy) -> None:
        """Note uses: how many, and when last."""
        ...

    async def verified(self, digest: Digest, stamp: str, *, at: float) -> None:
        """Note that stored content is right."""
        ...

    async def distrust(self, within: float) -> int:
        """Forget the stamps of content that was stored within so many seconds before the last
        sign of use, so that it is compared with its digest before it is served; return how
        many."""
        ...

    async def set_back(self, now: float) -> int:
        """Where the clock went back: take what was stored, used or verified after `now` as if that
        had been at `now`, and its place on the shelf as unknown; return how much it was."""
        ...

    async def oldest_verified(self, limit: int, before: float) -> Sequence[CachedContent]:
        """Return stored content last verified before a time, the longest ago first."""
        ...

    async def pin(self, digests: Sequence[Digest], pinned: bool) -> int:
        """Pin or unpin content, also what is not there yet; return how many changed."""
        ...

    async def count(self, upstream: str, changes: Usage) -> None:
        """Add to an upstream's counters (all but size and items)."""
        ...

    async def usage(self) -> Mapping[str, Usage]:
        """Return the usage of every upstream that has any."""
        ...

    async def contents(
        self, upstream: str | None = None, *, after: Digest | None = None, limit: int
    ) -> Sequence[CachedContent]:
        """Return content, in the order of digests."""
        ...


class CacheIndex(Protocol):
    """The ports of one cache's index."""

    @property
    def names(self) -> CachedNames: ...
    @property
    def catalog(self) -> CacheCatalog: ...
    @property
    def contents(self) -> CachedContents: ...
    @property
    def upkeep(self) -> CacheUpkeep: ...

    async def crashed_machine(self) -> bool:
        """Return whether the machine was restarted since `machine_checked`, or since the index
        was made: what was written last may be lost, here or on the disk."""
        ...

    async def machine_checked(self) -> None:
        """Say that the index agrees with the disk since the machine was restarted."""
        ...

    async def close(self) -> None:
        """Write what is pending and give back the files."""
        ...
