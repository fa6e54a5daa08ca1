import pytest

from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUnknown, Denied
from entrepot.oci.reference import RepositoryName
from entrepot.ports.delivery import Inline
from entrepot.ports.metadata_store import MetadataStore
from entrepot.services.blobs import Blobs
from entrepot.services.gates import Change, Gates
from entrepot.testing import MemoryContentStore
from tests.unit.services.conftest import Gatekeeper, SetClock
from tests.unit.services.examples import ALICE, ALPHA, BETA, DIGEST, ELSE, LAYER, LEASE, NOW, place


@pytest.fixture
def blobs(
    metadata: MetadataStore, content: MemoryContentStore, gates: Gates, clock: SetClock
) -> Blobs:
    return Blobs(metadata.blobs, content, gates, clock, LEASE)


@pytest.fixture(autouse=True)
async def a_blob_in_alpha(metadata: MetadataStore, content: MemoryContentStore) -> None:
    await place(metadata, content, ALPHA, LAYER)


async def leased_until(metadata: MetadataStore, repository: RepositoryName) -> float:
    return (await metadata.blobs.find(repository, DIGEST)).leased_until


async def test_a_blob_is_read_through_a_repository_that_links_it(blobs: Blobs) -> None:
    assert await blobs.size(ALPHA, DIGEST) == len(LAYER)
    assert await blobs.open(DIGEST, 2, 3) == Inline(LAYER[2:5])


@pytest.mark.parametrize(("repository", "digest"), [(BETA, DIGEST), (ALPHA, ELSE)])
async def test_a_blob_is_unknown_where_it_is_not_linked(
    blobs: Blobs, repository: RepositoryName, digest: Digest
) -> None:
    for ask in (blobs.size, blobs.hold):
        with pytest.raises(BlobUnknown):
            await ask(repository, digest)


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (0.0, NOW + LEASE),
        (LEASE / 2 - 1, NOW + LEASE),  # more than half is left: not worth a write
        (LEASE / 2, NOW + LEASE / 2 + LEASE),
        (LEASE * 9, NOW + LEASE * 10),
    ],
)
async def test_who_asks_whether_a_blob_is_here_may_rely_on_it(
    blobs: Blobs, metadata: MetadataStore, clock: SetClock, later: float, expected: float
) -> None:
    clock.time = NOW + later
    assert await blobs.hold(ALPHA, DIGEST) == len(LAYER)
    assert await leased_until(metadata, ALPHA) == expected


async def test_reading_a_blob_promises_nothing(
    blobs: Blobs, metadata: MetadataStore, clock: SetClock
) -> None:
    clock.time = NOW + LEASE * 9
    await blobs.size(ALPHA, DIGEST)
    assert await leased_until(metadata, ALPHA) == NOW + LEASE


async def test_a_blob_whose_bytes_are_gone_is_not_promised(
    blobs: Blobs, content: MemoryContentStore
) -> None:
    await content.delete(DIGEST)
    with pytest.raises(BlobUnknown):
        await blobs.hold(ALPHA, DIGEST)


@pytest.mark.parametrize("source", [ALPHA, None])
async def test_a_mounted_blob_is_linked_and_leased(
    blobs: Blobs,
    metadata: MetadataStore,
    keeper: Gatekeeper,
    clock: SetClock,
    source: RepositoryName | None,
) -> None:
    clock.time = NOW + 60
    assert await blobs.mount(ALICE, source, BETA, DIGEST) == len(LAYER)
    assert await leased_until(metadata, BETA) == NOW + 60 + LEASE
    assert keeper.asked == [Change("push blob", ALICE, BETA, DIGEST)]


@pytest.mark.parametrize(("source", "digest"), [(BETA, DIGEST), (ALPHA, ELSE), (None, ELSE)])
async def test_what_cannot_be_mounted_is_no_error(
    blobs: Blobs, metadata: MetadataStore, source: RepositoryName | None, digest: Digest
) -> None:
    assert await blobs.mount(ALICE, source, RepositoryName("new"), digest) is None
    assert await metadata.catalog.list(limit=10) == [ALPHA]


async def test_mounting_from_anywhere_can_be_switched_off(
    metadata: MetadataStore, content: MemoryContentStore, gates: Gates, clock: SetClock
) -> None:
    blobs = Blobs(metadata.blobs, content, gates, clock, LEASE, mount_from_anywhere=False)
    assert await blobs.mount(ALICE, None, BETA, DIGEST) is None
    assert await blobs.mount(ALICE, ALPHA, BETA, DIGEST) == len(LAYER)


async def test_a_blob_is_mounted_only_from_where_the_client_may_read_it(
    blobs: Blobs, metadata: MetadataStore
) -> None:
    def only_beta(name: str) -> bool:
        return name == BETA

    new = RepositoryName("new")
    assert await blobs.mount(ALICE, None, new, DIGEST, may_pull=only_beta) is None
    assert await metadata.blobs.holders(DIGEST, 10) == [ALPHA]
    await blobs.mount(ALICE, ALPHA, BETA, DIGEST)
    assert await blobs.mount(ALICE, None, new, DIGEST, may_pull=only_beta) == len(LAYER)


async def test_a_deleted_blob_is_gone_from_that_repository_only(
    blobs: Blobs, keeper: Gatekeeper
) -> None:
    await blobs.mount(ALICE, ALPHA, BETA, DIGEST)
    await blobs.delete(ALICE, ALPHA, DIGEST)
    with pytest.raises(BlobUnknown):
        await blobs.size(ALPHA, DIGEST)
    assert await blobs.size(BETA, DIGEST) == len(LAYER)
    assert keeper.asked[-1] == Change("delete blob", ALICE, ALPHA, DIGEST)


async def test_a_shut_gate_lets_nothing_change(
    blobs: Blobs, metadata: MetadataStore, keeper: Gatekeeper
) -> None:
    keeper.shut = True
    with pytest.raises(Denied):
        await blobs.mount(ALICE, ALPHA, BETA, DIGEST)
    with pytest.raises(Denied):
        await blobs.delete(ALICE, ALPHA, DIGEST)
    assert await metadata.blobs.holders(DIGEST, 10) == [ALPHA]
