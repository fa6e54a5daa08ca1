"""Blobs: read, mounted and deleted through the repositories that link them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUnknown, Unavailable
from entrepot.oci.reference import RepositoryName
from entrepot.ports.clock import Clock
from entrepot.ports.content_store import ContentStore
from entrepot.ports.delivery import Delivery
from entrepot.ports.metadata_store import BlobLinks
from entrepot.rules.leases import renewal
from entrepot.services.gates import Actor, Change, Gates

MOST_HOLDERS: Final = 64
"""How many repositories are looked at for one that a blob may be mounted from."""


@dataclass(frozen=True, slots=True)
class Blobs:
    """Reading, mounting and deleting blobs. `lease` is in seconds."""

    links: BlobLinks
    content: ContentStore
    gates: Gates
    clock: Clock
    lease: float
    mount_from_anywhere: bool = True

    async def size(self, repository: RepositoryName, digest: Digest) -> int:
        """Return the blob's size in bytes, writing nothing. Raise BlobUnknown."""
        return (await self.links.find(repository, digest)).size

    async def hold(self, repository: RepositoryName, digest: Digest) -> int:
        """Return the blob's size in bytes, promising to keep it for who is about to need it.

        Raise BlobUnknown, also if only the bytes are gone: they are then uploaded anew. Raise
        Unavailable if nothing keeps the blob and its lease cannot be renewed.
        """
        link = await self.links.find(repository, digest)
        await self.content.size(digest)
        now = self.clock.now()
        until = renewal(link.leased_until, lease=self.lease, now=now)
        if until is None:
            return link.size
        try:
            held = await self.links.renew(repository, digest, until)
        except Unavailable:
            if not link.references and link.leased_until <= now:
                raise
            held = True  # by the manifests that need it, or by what is left of its lease
        if not held:
            raise BlobUnknown(
                f"blob {digest} has just been removed from {repository}; push it again",
                detail={"name": repository, "digest": str(digest)},
            )
        return link.size

    async def open(self, digest: Digest, offset: int, length: int) -> Delivery:
        """Return `length` bytes of a blob whose `size` the caller was given before."""
        return await self.content.open(digest, offset, length)

    async def mount(
        self,
        actor: Actor,
        source: RepositoryName | None,
        target: RepositoryName,
        digest: Digest,
        *,
        may_pull: Callable[[str], bool] | None = None,
    ) -> int | None:
        """Link a blob of `source` to `target`; return its size, or None if that cannot be.

        Without a source, any repository that holds the blob will do, if the operator allows
        it and `may_pull` says that the client may read it (None: it may read all): with the
        blob linked, it reads what it could not before. "Cannot be" is no error: the client then
        uploads (end-11).
        """
        await self.gates.admit(Change("push blob", actor, target, digest))
        if source is None and self.mount_from_anywhere:
            holders = await self.links.holders(digest, 1 if may_pull is None else MOST_HOLDERS)
            source = next((one for one in holders if may_pull is None or may_pull(one)), None)
        if source is None:
            return None
        now = self.clock.now()
        try:
            return await self.links.mount(
                source, target, digest, leased_until=now + self.lease, actor=actor.name, at=now
            )
        except BlobUnknown:
            return None

    async def delete(self, actor: Actor, repository: RepositoryName, digest: Digest) -> None:
        """Unlink the blob from the repository; its bytes go when nothing links them (end-10).

        Raise BlobUnknown, or Denied while a manifest of the repository references it.
        """
        await self.gates.admit(Change("delete blob", actor, repository, digest))
        await self.links.remove(repository, digest, actor=actor.name, at=self.clock.now())
