from dataclasses import replace

import pytest

from entrepot.oci import media_types
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    Denied,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    NameUnknown,
    RegistryError,
)
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.delivery import Inline
from entrepot.ports.metadata_store import MetadataStore
from entrepot.services.gates import Change, Gates
from entrepot.services.manifests import Manifests
from entrepot.services.tags import Tags
from entrepot.testing import MemoryContentStore
from tests.unit.oci import documents
from tests.unit.services.conftest import Gatekeeper, SetClock
from tests.unit.services.examples import ALICE, ALPHA, BETA, ELSE, place

IMAGE = documents.encode(documents.manifest())
DIGEST = Digest.of(IMAGE)
INDEX = documents.encode(documents.index())
V1, V2 = Tag("v1"), Tag("v2")


@pytest.fixture
def manifests(
    metadata: MetadataStore, content: MemoryContentStore, gates: Gates, clock: SetClock
) -> Manifests:
    return Manifests(metadata.manifests, content, gates, clock, max_size=10_000)


@pytest.fixture
def tags(metadata: MetadataStore, gates: Gates, clock: SetClock) -> Tags:
    return Tags(metadata.tags, gates, clock)


@pytest.fixture(autouse=True)
async def the_images_blobs(metadata: MetadataStore, content: MemoryContentStore) -> None:
    await place(metadata, content, ALPHA, documents.CONFIG, *documents.LAYERS)


async def test_a_manifest_is_found_by_digest_and_tag_and_served_as_it_was_pushed(
    manifests: Manifests,
) -> None:
    pushed = await manifests.push(ALICE, ALPHA, IMAGE, media_types.OCI_MANIFEST, tags=(V1, V2))
    assert (pushed.digest, pushed.media_type, pushed.size) == (
        DIGEST,
        media_types.OCI_MANIFEST,
        len(IMAGE),
    )
    for reference in (DIGEST, V1, V2):
        assert await manifests.find(ALPHA, reference) == replace(pushed, annotations={})
    assert await manifests.open(pushed, 0, pushed.size) == Inline(IMAGE)


async def test_what_the_client_names_decides_the_algorithm(manifests: Manifests) -> None:
    digest = Digest.of(IMAGE, "sha512")
    pushed = await manifests.push(ALICE, ALPHA, IMAGE, None, digest=digest)
    assert pushed.digest == digest


@pytest.mark.parametrize(
    ("repository", "body", "digest", "error"),
    [
        (ALPHA, IMAGE, ELSE, DigestInvalid),
        (ALPHA, b"no manifest", None, ManifestInvalid),
        (ALPHA, bytes(10_001), None, ManifestTooLarge),
        (BETA, IMAGE, None, ManifestBlobUnknown),
    ],
)
async def test_what_is_refused_leaves_nothing(
    manifests: Manifests,
    content: MemoryContentStore,
    repository: RepositoryName,
    body: bytes,
    digest: Digest | None,
    error: type[RegistryError],
) -> None:
    before = dict(content.contents)
    with pytest.raises(error):
        await manifests.push(ALICE, repository, body, None, digest=digest, tags=(V1,))
    assert content.contents == before
    for reference in (V1, Digest.of(body)):
        with pytest.raises((ManifestUnknown, NameUnknown)):
            await manifests.find(repository, reference)


async def test_every_missing_blob_is_named(manifests: Manifests) -> None:
    with pytest.raises(ManifestBlobUnknown) as refused:
        await manifests.push(ALICE, BETA, IMAGE, None)
    missing = [str(Digest.of(blob)) for blob in (documents.CONFIG, *documents.LAYERS)]
    assert sorted(refused.value.detail["digests"]) == sorted(missing)


async def test_absent_blobs_and_children_may_be_allowed(manifests: Manifests) -> None:
    with pytest.raises(ManifestBlobUnknown):
        await manifests.push(ALICE, BETA, IMAGE, None)
    sparse = replace(manifests, require_blobs=False)
    assert (await sparse.push(ALICE, BETA, IMAGE, None)).digest == DIGEST
    assert (await manifests.push(ALICE, BETA, INDEX, None)).digest == Digest.of(INDEX)


async def test_children_may_be_required(manifests: Manifests) -> None:
    strict = replace(manifests, require_children=True)
    with pytest.raises(ManifestBlobUnknown):
        await strict.push(ALICE, ALPHA, INDEX, None)


async def test_a_layer_that_is_not_distributed_may_be_absent(manifests: Manifests) -> None:
    foreign = documents.descriptor(
        b"licensed", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    )
    body = documents.encode(documents.manifest(layers=[foreign]))
    assert (await manifests.push(ALICE, ALPHA, body, None)).size == len(body)


async def test_a_tag_moves_to_what_is_pushed_last(manifests: Manifests) -> None:
    other = documents.encode(documents.manifest(annotations={"built": "again"}))
    await manifests.push(ALICE, ALPHA, IMAGE, None, tags=(V1,))
    await manifests.push(ALICE, ALPHA, other, None, tags=(V1,))
    assert (await manifests.find(ALPHA, V1)).digest == Digest.of(other)
    assert (await manifests.find(ALPHA, DIGEST)).digest == DIGEST


async def test_a_deleted_manifest_takes_its_tags_along(manifests: Manifests, tags: Tags) -> None:
    await manifests.push(ALICE, ALPHA, IMAGE, None, tags=(V1, V2))
    await manifests.delete(ALICE, ALPHA, DIGEST)
    assert await tags.list(ALPHA, after=None, limit=10) == []
    with pytest.raises(ManifestUnknown):
        await manifests.find(ALPHA, DIGEST)


async def test_a_deleted_tag_leaves_its_manifest(manifests: Manifests, tags: Tags) -> None:
    await manifests.push(ALICE, ALPHA, IMAGE, None, tags=(V1, V2))
    await tags.delete(ALICE, ALPHA, V1)
    assert await tags.list(ALPHA, after=None, limit=10) == [V2]
    assert (await manifests.find(ALPHA, DIGEST)).digest == DIGEST


async def test_gates_learn_what_is_pushed_and_deleted(
    manifests: Manifests, tags: Tags, keeper: Gatekeeper
) -> None:
    await manifests.push(ALICE, ALPHA, IMAGE, None, tags=(V1,))
    await tags.delete(ALICE, ALPHA, V1)
    await manifests.delete(ALICE, ALPHA, DIGEST)
    assert keeper.asked == [
        Change("push manifest", ALICE, ALPHA, DIGEST, (V1,)),
        Change("delete tag", ALICE, ALPHA, tags=(V1,)),
        Change("delete manifest", ALICE, ALPHA, DIGEST),
    ]


async def test_a_shut_gate_lets_nothing_change(
    manifests: Manifests, tags: Tags, content: MemoryContentStore, keeper: Gatekeeper
) -> None:
    await manifests.push(ALICE, ALPHA, IMAGE, None, tags=(V1,))
    before = dict(content.contents)
    keeper.shut = True
    for attempt in (
        manifests.push(ALICE, ALPHA, INDEX, None, tags=(V2,)),
        manifests.delete(ALICE, ALPHA, DIGEST),
        tags.delete(ALICE, ALPHA, V1),
    ):
        with pytest.raises(Denied):
            await attempt
    assert content.contents == before
    assert await tags.list(ALPHA, after=None, limit=10) == [V1]
