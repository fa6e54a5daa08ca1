"""Manifests: what images, indexes and artifacts consist of, stored and served verbatim."""

from dataclasses import dataclass

from entrepot.oci.digest import Digest
from entrepot.oci.errors import DigestInvalid, ManifestTooLarge
from entrepot.oci.manifest import parse_manifest
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.clock import Clock
from entrepot.ports.content_store import ContentStore
from entrepot.ports.delivery import Delivery
from entrepot.ports.metadata_store import ManifestPush, ManifestRecord
from entrepot.ports.metadata_store import Manifests as Records
from entrepot.services.gates import Actor, Change, Gates


@dataclass(frozen=True, slots=True)
class Manifests:
    """Reading, pushing and deleting manifests. `max_size` is in bytes."""

    records: Records
    content: ContentStore
    gates: Gates
    clock: Clock
    max_size: int
    require_blobs: bool = True
    require_children: bool = False

    async def find(self, repository: RepositoryName, reference: Tag | Digest) -> ManifestRecord:
        """Return what is known of the manifest. Raise NameUnknown or ManifestUnknown."""
        return await self.records.find(repository, reference)

    async def open(self, record: ManifestRecord, offset: int, length: int) -> Delivery:
        """Return `length` bytes of a manifest that `find` returned."""
        return await self.content.open(record.digest, offset, length)

    async def push(
        self,
        actor: Actor,
        repository: RepositoryName,
        content: bytes,
        media_type: str | None,
        *,
        digest: Digest | None = None,
        tags: tuple[Tag, ...] = (),
    ) -> ManifestRecord:
        """Store a manifest and set its tags, all of it or nothing (end-7).

        `digest` is the one the client names, None when it pushes by tag. Raise
        ManifestTooLarge, ManifestInvalid, DigestInvalid, ManifestBlobUnknown, or a gate's
        refusal.
        """
        if len(content) > self.max_size:
            raise too_large(self.max_size)
        found = Digest.of(content, digest.algorithm if digest else "sha256")
        if digest is not None and found != digest:
            raise DigestInvalid(
                f"the manifest's digest is {found}, not {digest}; the bytes were changed on "
                "the way, or the reference is wrong",
                detail={"expected": str(digest), "received": str(found)},
            )
        manifest = parse_manifest(content, media_type)
        await self.gates.admit(Change("push manifest", actor, repository, found, tags))
        record = ManifestRecord(
            found,
            manifest.media_type,
            len(content),
            manifest.artifact_type,
            manifest.subject.digest if manifest.subject else None,
            manifest.annotations,
        )
        needed, optional = manifest.blobs(), manifest.undistributed()
        if not self.require_blobs:
            needed, optional = (), (*needed, *optional)
        push = ManifestPush(
            record,
            needed,
            manifest.children(),
            tags,
            self.require_children,
            optional,
        )
        await self.records.check(repository, push)  # so that a refused manifest takes no space
        await self.content.put(found, content)
        await self.records.push(repository, push, actor=actor.name, at=self.clock.now())
        return record

    async def delete(self, actor: Actor, repository: RepositoryName, digest: Digest) -> None:
        """Delete a manifest and every tag that points to it (end-9).

        Raise NameUnknown or ManifestUnknown.
        """
        await self.gates.admit(Change("delete manifest", actor, repository, digest))
        await self.records.delete(repository, digest, actor=actor.name, at=self.clock.now())


def too_large(limit: int) -> ManifestTooLarge:
    """The refusal of a manifest above the limit (bytes)."""
    return ManifestTooLarge(
        f"the manifest is larger than {limit} bytes; move what makes it large into a blob",
        detail={"limit": limit},
    )
