"""Referrers: the signatures, SBOMs and attestations that name a manifest as their subject."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    BlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameUnknown,
    SizeInvalid,
)
from entrepot.oci.manifest import Index, parse_manifest
from entrepot.oci.reference import RepositoryName
from entrepot.ports.content_store import ContentStore
from entrepot.ports.metadata_store import ManifestRecord
from entrepot.ports.metadata_store import Manifests as Records
from entrepot.protocol.referrers import fallback_tag

PAGE_BYTES: Final = 4 << 20
"""How large a page's manifests may be together, and so, about, its annotations."""

SLICE: Final = 256
"""How many entries of a fallback index are looked up at a time."""

NO_FALLBACK: Final = (BlobUnknown, ManifestInvalid, ManifestUnknown, NameUnknown, SizeInvalid)


@dataclass(frozen=True, slots=True)
class ReferrersPage:
    """Some referrers, in the order of their digests, and whether others follow."""

    records: tuple[ManifestRecord, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Referrers:
    """Listing referrers. `max_manifest_size` is in bytes."""

    records: Records
    content: ContentStore
    max_manifest_size: int

    async def list(
        self,
        repository: RepositoryName,
        subject: Digest,
        *,
        artifact_type: str | None,
        after: Digest | None,
        limit: int,
    ) -> ReferrersPage:
        """Return up to `limit` referrers in the order of their digests, from the first behind
        `after` (end-12); fewer if they come to more than PAGE_BYTES, but at least one.

        Manifests are known by their `subject` whenever they were pushed. Images that came from
        a registry without this API may also list referrers in an index under the subject's
        fallback tag; what it names and the repository holds is listed too ("Enabling the
        Referrers API").
        """
        known = await self.records.referrers(
            repository, subject, artifact_type=artifact_type, after=after, limit=limit + 1
        )
        bare = {record.digest for record in known}
        listed = [
            entry
            for entry in await self._listed(repository, subject)
            if entry.digest not in bare
            and (after is None or str(entry.digest) > str(after))
            and (artifact_type is None or entry.artifact_type in (None, artifact_type))
        ]
        found = [*known, *await self._held(repository, listed, artifact_type, limit + 1)]
        found.sort(key=_by_digest)
        shown = _fitting(found[:limit])
        annotations = await self.records.annotations(
            repository, [record.digest for record in shown if record.digest in bare]
        )
        records = tuple(
            replace(record, annotations=annotations.get(record.digest, record.annotations))
            for record in shown
        )
        return ReferrersPage(records, len(shown) < len(found))

    async def _listed(self, repository: RepositoryName, subject: Digest) -> Collection[Descriptor]:
        """Return what the index under the subject's fallback tag lists, each digest once."""
        try:
            tagged = await self.records.find(repository, fallback_tag(subject))
            content = await self.content.read(tagged.digest, self.max_manifest_size)
            index = parse_manifest(content, tagged.media_type)
        except NO_FALLBACK:
            return ()
        if not isinstance(index, Index):
            return ()
        return {descriptor.digest: descriptor for descriptor in index.manifests}.values()

    async def _held(
        self,
        repository: RepositoryName,
        entries: Sequence[Descriptor],
        artifact_type: str | None,
        limit: int,
    ) -> Sequence[ManifestRecord]:
        """Return about the first `limit` of the entries, by digest, that the repository holds,
        as the entries describe them."""
        waiting = sorted(entries, key=_by_digest)
        found: list[ManifestRecord] = []
        while waiting and len(found) < limit:
            described = {entry.digest: entry for entry in waiting[:SLICE]}
            del waiting[:SLICE]
            await asyncio.sleep(0)  # others first: the index may list thousands that are not here
            for held in await self.records.held(repository, list(described)):
                entry = described[held.digest]
                actual = entry.artifact_type or held.artifact_type
                if artifact_type in (None, actual):
                    found.append(replace(held, artifact_type=actual, annotations=entry.annotations))
        return found


def _by_digest(named: Descriptor | ManifestRecord) -> str:
    return str(named.digest)


def _fitting(records: Sequence[ManifestRecord]) -> Sequence[ManifestRecord]:
    """Return the first records, as many as come to PAGE_BYTES, or else the first alone."""
    total = 0
    for number, record in enumerate(records):
        total += record.size
        if total > PAGE_BYTES:
            return records[: max(number, 1)]
    return records
