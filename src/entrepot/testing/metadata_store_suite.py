"""The contract of `entrepot.ports.metadata_store`, as tests that any driver can inherit.

    class TestMine(MetadataStoreSuite):
        @pytest.fixture
        async def store(self) -> AsyncIterator[MetadataStore]:
            store = ...  # empty
            yield store
            await store.close()

It needs pytest-asyncio in its auto mode. The sentences of the contract are in the parts, one
per noun; here is what holds over all of them: agreement with a model, races, and the end.
"""

import asyncio
import random

import pytest

from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    BlobUnknown,
    Denied,
    ManifestBlobUnknown,
    ManifestUnknown,
    Unavailable,
)
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.metadata_store import MetadataStore
from entrepot.testing.metadata_store_blobs import BlobLinksSuite
from entrepot.testing.metadata_store_examples import (
    ACTOR,
    ALPHA,
    BETA,
    NOW,
    digest,
    image,
    link,
    push,
    push_image,
)
from entrepot.testing.metadata_store_manifests import ManifestsSuite, ReferrersSuite
from entrepot.testing.metadata_store_model import (
    REPOSITORIES,
    Model,
    observe,
    outcome,
    random_operation,
)
from entrepot.testing.metadata_store_names import (
    CatalogSuite,
    OutboxSuite,
    TagsSuite,
    UploadsSuite,
)

STEPS = 250
STORM_CLIENTS = 12
STORM_STEPS = 25


class MetadataStoreSuite(
    BlobLinksSuite,
    ManifestsSuite,
    ReferrersSuite,
    TagsSuite,
    CatalogSuite,
    UploadsSuite,
    OutboxSuite,
):
    """Everything the port promises; a subclass gives the fixture `store`."""

    async def verify(self, store: MetadataStore) -> None:
        """Check what the port does not show, such as the counts; a subclass may."""

    @pytest.mark.parametrize("seed", range(4))
    async def test_it_agrees_with_the_model(self, store: MetadataStore, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
        model = Model()
        for step in range(STEPS):
            operation = random_operation(rng)
            expected = operation.foretell(model)
            assert await outcome(operation, store) is expected, operation.name
            if step % 10 == 0:
                assert await observe(store) == model
        assert await observe(store) == model
        await self.verify(store)

    async def test_parallel_pushes_lose_no_tag(self, store: MetadataStore) -> None:
        async def push_one(number: int) -> None:
            blobs = [f"blob {(number + step) % 7}" for step in range(4)]
            tags = [f"own-{number:02}", "latest"]
            await push_image(store, ALPHA, f"image {number}", *blobs, tags=tags)

        count = 40
        await asyncio.gather(*map(push_one, range(count)))
        own = [f"own-{number:02}" for number in range(count)]
        assert await store.tags.list(ALPHA, limit=100) == ["latest", *own]
        history = await store.tags.history(ALPHA, Tag("latest"), 100)
        assert {change.digest for change in history} == {
            digest(f"image {number}") for number in range(count)
        }
        assert (await store.manifests.find(ALPHA, Tag("latest"))).digest == history[0].digest
        await self.verify(store)

    async def test_the_same_pushed_in_parallel_is_there_once(self, store: MetadataStore) -> None:
        await asyncio.gather(
            *(
                push_image(store, home, "image", "one", "two", tags=["v1"])
                for home in (ALPHA, BETA)
                for _ in range(12)
            )
        )
        kinds = [event.kind for event in await store.outbox.pending(100)]
        assert sorted(kinds) == sorted(2 * ["blob.push", "blob.push", "manifest.push", "tag.set"])
        await self.verify(store)
        for home in (ALPHA, BETA):
            await self._empty(store, home, [digest("image")], [digest("one"), digest("two")])

    async def test_a_blob_is_removed_or_needed_but_never_both(self, store: MetadataStore) -> None:
        for number in range(25):
            blob, manifest = f"blob {number}", f"image {number}"
            await link(store, ALPHA, blob)
            pushed, removed = await asyncio.gather(
                push(store, ALPHA, image(manifest, blob)),
                store.blobs.remove(ALPHA, digest(blob), actor=ACTOR, at=NOW),
                return_exceptions=True,
            )
            if pushed is None:
                assert isinstance(removed, Denied)
                await store.blobs.find(ALPHA, digest(blob))
            else:
                assert isinstance(pushed, ManifestBlobUnknown)
                assert removed is None
        await self.verify(store)

    async def test_a_tag_never_outlives_its_manifest(self, store: MetadataStore) -> None:
        for number in range(25):
            name, tag = f"image {number}", Tag(f"v{number}")
            await push(store, ALPHA, image(name))
            await asyncio.gather(
                push(store, ALPHA, image(name, tags=[tag])),
                store.manifests.delete(ALPHA, digest(name), actor=ACTOR, at=NOW),
            )
            tags = await store.tags.list(ALPHA, limit=100)
            if tag in tags:
                assert (await store.manifests.find(ALPHA, tag)).digest == digest(name)
            else:
                with pytest.raises(ManifestUnknown):
                    await store.manifests.find(ALPHA, digest(name))
        await self.verify(store)

    async def test_counts_survive_a_storm(self, store: MetadataStore) -> None:
        async def client(seed: int) -> None:
            rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
            for _ in range(STORM_STEPS):
                assert await outcome(random_operation(rng), store) is not Unavailable

        await asyncio.gather(*map(client, range(STORM_CLIENTS)))
        seen = await observe(store)
        for (home, _), manifest in seen.manifests.items():
            for blob in manifest.blobs:
                assert (home, blob) in seen.leases
        await self.verify(store)
        for home in REPOSITORIES:
            manifests = [manifest for where, manifest in seen.manifests if where == home]
            blobs = [blob for where, blob in seen.leases if where == home]
            await self._empty(store, home, manifests, blobs)

    async def test_it_answers_until_it_is_closed(self, store: MetadataStore) -> None:
        await store.ping()
        running = asyncio.gather(*(link(store, ALPHA, f"blob {n}") for n in range(20)))
        await asyncio.sleep(0)  # let them begin
        await store.close()
        await running
        with pytest.raises(Unavailable):
            await store.ping()
        with pytest.raises(Unavailable):
            await link(store, ALPHA, "layer")

    async def _empty(
        self,
        store: MetadataStore,
        home: RepositoryName,
        manifests: list[Digest],
        blobs: list[Digest],
    ) -> None:
        """Delete manifests, then their blobs, which succeeds only if every count is exact."""
        for manifest in manifests:
            await store.manifests.delete(home, manifest, actor=ACTOR, at=NOW)
        for blob in blobs:
            await store.blobs.remove(home, blob, actor=ACTOR, at=NOW)
            with pytest.raises(BlobUnknown):
                await store.blobs.find(home, blob)
        await self.verify(store)
