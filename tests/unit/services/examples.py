"""Who pushes what to where in the tests of services."""

from typing import Final

from entrepot.oci.digest import Digest
from entrepot.oci.reference import RepositoryName
from entrepot.ports.metadata_store import MetadataStore
from entrepot.services.gates import Actor
from entrepot.testing import MemoryContentStore

NOW: Final = 1_700_000_000.0
LEASE: Final = 3600.0
"""What services are told to lease for, in seconds."""

ALICE: Final = Actor("alice")
BOB: Final = Actor("bob")
ALPHA: Final = RepositoryName("library/alpha")
BETA: Final = RepositoryName("library/beta")

LAYER: Final = b"a layer"
DIGEST: Final = Digest.of(LAYER)
ELSE: Final = Digest.of(b"something else")


async def place(
    metadata: MetadataStore,
    content: MemoryContentStore,
    repository: RepositoryName,
    *blobs: bytes,
    lease: float = LEASE,
) -> None:
    """Store blobs and link them to a repository, leased for `lease` seconds from NOW on."""
    for blob in blobs:
        digest = Digest.of(blob)
        await content.put(digest, blob)
        await metadata.blobs.add(
            repository, digest, len(blob), leased_until=NOW + lease, actor=ALICE.name, at=NOW
        )
