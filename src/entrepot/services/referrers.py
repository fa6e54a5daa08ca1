"""Referrers: the signatures, SBOMs and attestations that name a manifest as their subject."""

from collections.abc import Sequence
from dataclasses import dataclass

from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestUnknown, NameUnknown, RegistryError
from entrepot.oci.manifest import Index, parse_manifest
from entrepot.oci.reference import RepositoryName
from entrepot.ports.content_store import ContentStore
from entrepot.ports.metadata_store import ManifestRecord
from entrepot.ports.metadata_store import Manifests as Records
from entrepot.protocol.referrers import fallback_tag


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
    ) -> Sequence[ManifestRecord]:
        """Return referrers in the order of their digests, from the first behind `after` (end-12).

        Manifests are known by their `subject` whenever they were pushed. Images that came from
        a registry without this API may also list referrers in an index under the subject's
        fallback tag; what it names and the repository holds is listed too ("Enabling the
        Referrers API").
        """
        known = await self.records.referrers(
            repository, subject, artifact_type=artifact_type, after=after, limit=limit
        )
        fallback = [
            record
            for record in await self._fallback(repository, subject)
            if (artifact_type is None or record.artifact_type == artifact_type)
            and (after is None or str(record.digest) > str(after))
        ]
        if not fallback:
            return known
        merged = {record.digest: record for record in (*fallback, *known)}
        return sorted(merged.values(), key=lambda record: str(record.digest))[:limit]

    async def _fallback(
        self, repository: RepositoryName, subject: Digest
    ) -> Sequence[ManifestRecord]:
        try:
            tagged = await self.records.find(repository, fallback_tag(subject))
            content = await self.content.read(tagged.digest, self.max_manifest_size)
            index = parse_manifest(content, tagged.media_type)
        except RegistryError:
            return ()
        if not isinstance(index, Index):
            return ()
        found = []
        for descriptor in index.manifests:
            try:
                held = await self.records.find(repository, descriptor.digest)
            except (ManifestUnknown, NameUnknown):
                continue
            found.append(
                ManifestRecord(
                    held.digest,
                    held.media_type,
                    held.size,
                    descriptor.artifact_type or held.artifact_type,
                    subject,
                    descriptor.annotations,
                )
            )
        return found
