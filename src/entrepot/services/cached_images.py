"""Images as far as they are in a cache: what a manifest leads to, and what of it is here. Nothing
is asked upstream."""

from dataclasses import dataclass, field

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestInvalid, ManifestUnknown
from entrepot.oci.manifest import Index, Manifest, parse_manifest
from entrepot.oci.media_types import is_manifest_kind
from entrepot.oci.reference import Tag
from entrepot.ports.cache_index import CachedContent
from entrepot.services.cache import Cache
from entrepot.services.verified_manifest import MAX_MANIFESTS, MAX_SIZE, too_many


@dataclass(slots=True)
class CachedGraph:
    """All that a manifest leads to, as far as the manifests are here: `descriptors` by digest,
    without what registries do not hold, and the contents of them that are `stored`."""

    root: Descriptor
    descriptors: dict[Digest, Descriptor] = field(default_factory=dict)
    stored: dict[Digest, CachedContent] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes that are here of it."""
        return sum(one.size for one in self.stored.values())

    @property
    def state(self) -> str:
        """`stored` if all of it is here, `partial` if some is, `known` if its manifest is not."""
        if self.root.digest not in self.stored:
            return "known"
        return "stored" if len(self.stored) == len(self.descriptors) else "partial"

    @property
    def pinned(self) -> bool:
        """Whether all of it that is here is pinned."""
        return bool(self.stored) and all(one.pinned for one in self.stored.values())


@dataclass(frozen=True, slots=True)
class CachedImages:
    """Looks at the images of one cache."""

    cache: Cache

    async def root(self, repository: str, reference: Tag | Digest) -> Descriptor:
        """Return the manifest that is known under a tag or a digest. Raise ManifestUnknown."""
        names = self.cache.index.names
        if isinstance(reference, Digest):
            known = await names.manifest(repository, reference)
        else:
            tag = await names.tag(repository, reference)
            known = None if tag is None else Descriptor(tag.media_type, tag.digest, tag.size)
        if known is None:
            raise ManifestUnknown(
                f"{repository} has no {reference} in the cache; `entrepot cache ls {repository}` "
                "lists what is there, `entrepot cache warm` brings an image",
                detail={"repository": repository, "reference": str(reference)},
            )
        return known

    async def graph(self, root: Descriptor) -> CachedGraph:
        """Return all that a manifest leads to. Raise ManifestInvalid for far too much."""
        graph = CachedGraph(root)
        waiting = [root]
        read = 0
        while waiting:
            one = waiting.pop()
            if one.digest in graph.descriptors or not one.is_distributable:
                continue
            graph.descriptors[one.digest] = one
            found = await self.cache.index.contents.find(one.digest)
            if found is None or found.state != "stored":
                continue
            graph.stored[one.digest] = found
            if is_manifest_kind(one.media_type):
                read += 1
                if read > MAX_MANIFESTS:
                    raise too_many()
                waiting += _referred(await self._manifest(found, one.media_type))
        return graph

    async def _manifest(self, found: CachedContent, media_type: str) -> Manifest | Index | None:
        if found.size > MAX_SIZE:
            return None
        content = await self.cache.read(found)
        try:
            return None if content is None else parse_manifest(content, media_type)
        except ManifestInvalid:  # it is passed on to clients all the same
            return None


def _referred(manifest: Manifest | Index | None) -> tuple[Descriptor, ...]:
    if manifest is None:
        return ()
    if isinstance(manifest, Index):
        return manifest.manifests
    return (manifest.config, *manifest.layers)
