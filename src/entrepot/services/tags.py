"""Tags: names that move from manifest to manifest."""

from collections.abc import Sequence
from dataclasses import dataclass

from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.clock import Clock
from entrepot.ports.metadata_store import Tags as Records
from entrepot.services.gates import Actor, Change, Gates


@dataclass(frozen=True, slots=True)
class Tags:
    """Listing and deleting tags."""

    records: Records
    gates: Gates
    clock: Clock

    async def list(
        self, repository: RepositoryName, *, after: str | None, limit: int
    ) -> Sequence[Tag]:
        """Return tags in lexical order behind `after`. Raise NameUnknown."""
        return await self.records.list(repository, after=after, limit=limit)

    async def delete(self, actor: Actor, repository: RepositoryName, tag: Tag) -> None:
        """Delete a tag; its manifest stays (end-9). Raise NameUnknown or ManifestUnknown."""
        await self.gates.admit(Change("delete tag", actor, repository, tags=(tag,)))
        await self.records.delete(repository, tag, actor=actor.name, at=self.clock.now())
