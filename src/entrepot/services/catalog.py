"""The catalog: which repositories there are."""

from collections.abc import Sequence
from dataclasses import dataclass

from entrepot.oci.reference import RepositoryName
from entrepot.ports.metadata_store import Catalog as Records


@dataclass(frozen=True, slots=True)
class Catalog:
    """Listing repositories."""

    records: Records

    async def list(self, *, after: str | None, limit: int) -> Sequence[RepositoryName]:
        """Return repository names in lexical order behind `after`."""
        return await self.records.list(after=after, limit=limit)
