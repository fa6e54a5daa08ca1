"""What a metadata store promises about blob links."""

import pytest

from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUnknown, BlobUploadUnknown, Denied
from entrepot.oci.reference import RepositoryName
from entrepot.ports.metadata_store import BlobLink, MetadataStore, UploadSession
from entrepot.testing.metadata_store_examples import (
    ACTOR,
    ALPHA,
    BETA,
    LEASE,
    NOW,
    NOWHERE,
    digest,
    events,
    forget_events,
    image,
    link,
    push,
    push_image,
)

LAYER = digest("layer")


class BlobLinksSuite:
    async def test_a_link_tells_size_and_lease(self, store: MetadataStore) -> None:
        await link(store, ALPHA, "layer")
        assert await store.blobs.find(ALPHA, LAYER) == BlobLink(len("layer"), LEASE)

    async def test_sizes_beyond_32_bits_are_kept(self, store: MetadataStore) -> None:
        size = 5 * 1024**4
        await store.blobs.add(ALPHA, LAYER, size, leased_until=LEASE, actor=ACTOR, at=NOW)
        assert (await store.blobs.find(ALPHA, LAYER)).size == size

    async def test_sha512_is_a_digest_like_any_other(self, store: MetadataStore) -> None:
        long = Digest.of(b"layer", "sha512")
        await store.blobs.add(ALPHA, long, 5, leased_until=LEASE, actor=ACTOR, at=NOW)
        assert (await store.blobs.find(ALPHA, long)).size == 5

    async def test_only_the_repository_that_holds_a_blob_finds_it(
        self, store: MetadataStore
    ) -> None:
        await link(store, ALPHA, "layer")
        await link(store, BETA, "other")
        for repository, name in ((BETA, "layer"), (ALPHA, "other"), (NOWHERE, "layer")):
            with pytest.raises(BlobUnknown):
                await store.blobs.find(repository, digest(name))

    async def test_adding_creates_the_repository_and_tells(self, store: MetadataStore) -> None:
        await link(store, ALPHA, "layer")
        assert await store.catalog.list(limit=10) == [ALPHA]
        assert await events(store) == [("blob.push", ALPHA, LAYER, None)]

    async def test_adding_ends_the_upload(self, store: MetadataStore) -> None:
        await store.uploads.start(UploadSession("u1", ALPHA, "sha256", ACTOR, NOW, NOW))
        await store.blobs.add(ALPHA, LAYER, 5, leased_until=LEASE, actor=ACTOR, at=NOW, upload="u1")
        with pytest.raises(BlobUploadUnknown):
            await store.uploads.find("u1")

    async def test_adding_again_only_extends_the_lease(self, store: MetadataStore) -> None:
        await link(store, ALPHA, "layer")
        await forget_events(store)
        for leased_until, expected in ((LEASE + 60, LEASE + 60), (LEASE, LEASE + 60)):
            await store.blobs.add(ALPHA, LAYER, 5, leased_until=leased_until, actor=ACTOR, at=NOW)
            assert (await store.blobs.find(ALPHA, LAYER)).leased_until == expected
        assert await events(store) == []

    async def test_mounting_links_it_to_the_target_too(self, store: MetadataStore) -> None:
        await link(store, ALPHA, "layer")
        await forget_events(store)
        size = await store.blobs.mount(
            ALPHA, BETA, LAYER, leased_until=LEASE + 60, actor=ACTOR, at=NOW
        )
        assert size == len("layer")
        assert await store.blobs.find(BETA, LAYER) == BlobLink(size, LEASE + 60)
        assert await store.blobs.find(ALPHA, LAYER) == BlobLink(size, LEASE)
        assert await store.catalog.list(limit=10) == [ALPHA, BETA]
        assert await events(store) == [("blob.mount", BETA, LAYER, None)]

    @pytest.mark.parametrize("target", [ALPHA, BETA])
    async def test_mounting_what_is_there_only_extends_the_lease(
        self, store: MetadataStore, target: RepositoryName
    ) -> None:
        await link(store, ALPHA, "layer")
        await link(store, BETA, "layer")
        await forget_events(store)
        for leased_until, expected in ((LEASE + 60, LEASE + 60), (LEASE, LEASE + 60)):
            await store.blobs.mount(
                ALPHA, target, LAYER, leased_until=leased_until, actor=ACTOR, at=NOW
            )
            assert (await store.blobs.find(target, LAYER)).leased_until == expected
        assert await events(store) == []

    async def test_only_what_the_source_holds_can_be_mounted(self, store: MetadataStore) -> None:
        await link(store, ALPHA, "layer")
        for source, name in ((BETA, "layer"), (ALPHA, "other"), (NOWHERE, "layer")):
            with pytest.raises(BlobUnknown):
                await store.blobs.mount(
                    source, BETA, digest(name), leased_until=LEASE, actor=ACTOR, at=NOW
                )
        assert await store.catalog.list(limit=10) == [ALPHA]

    async def test_renewing_extends_a_lease_and_never_shortens_it(
        self, store: MetadataStore
    ) -> None:
        await link(store, ALPHA, "layer")
        for leased_until, expected in ((LEASE + 60, LEASE + 60), (LEASE, LEASE + 60)):
            assert await store.blobs.renew(ALPHA, LAYER, leased_until)
            assert (await store.blobs.find(ALPHA, LAYER)).leased_until == expected

    async def test_renewing_tells_what_is_gone(self, store: MetadataStore) -> None:
        assert not await store.blobs.renew(NOWHERE, LAYER, LEASE)
        await link(store, ALPHA, "other")
        assert not await store.blobs.renew(ALPHA, LAYER, LEASE)
        assert await store.catalog.list(limit=10) == [ALPHA]

    async def test_the_oldest_holders_come_first_up_to_the_limit(
        self, store: MetadataStore
    ) -> None:
        names = ["b", "a0", "a/b", "a.b", "a-b", "a"]
        for name in names:
            await link(store, RepositoryName(name), "other")
        for name in reversed(names):
            await link(store, RepositoryName(name), "layer")
        await link(store, RepositoryName("c"), "other")
        assert await store.blobs.holders(LAYER, 10) == names
        assert await store.blobs.holders(LAYER, 4) == names[:4]
        assert await store.blobs.holders(digest("unknown"), 10) == []

    async def test_removing_unlinks_from_that_repository_alone(self, store: MetadataStore) -> None:
        await link(store, ALPHA, "layer")
        await link(store, BETA, "layer")
        await forget_events(store)
        await store.blobs.remove(ALPHA, LAYER, actor=ACTOR, at=NOW)
        assert await store.blobs.holders(LAYER, 10) == [BETA]
        assert await events(store) == [("blob.delete", ALPHA, LAYER, None)]

    async def test_removing_what_is_not_there_is_refused(self, store: MetadataStore) -> None:
        await link(store, ALPHA, "layer")
        await store.blobs.remove(ALPHA, LAYER, actor=ACTOR, at=NOW)
        for repository in (ALPHA, NOWHERE):
            with pytest.raises(BlobUnknown):
                await store.blobs.remove(repository, LAYER, actor=ACTOR, at=NOW)

    async def test_a_removed_blob_can_be_linked_again(self, store: MetadataStore) -> None:
        await link(store, ALPHA, "layer")
        await store.blobs.remove(ALPHA, LAYER, actor=ACTOR, at=NOW)
        await link(store, ALPHA, "layer")
        assert (await store.blobs.find(ALPHA, LAYER)).leased_until == LEASE

    async def test_a_blob_is_kept_until_the_last_manifest_that_needs_it(
        self, store: MetadataStore
    ) -> None:
        first = await push_image(store, ALPHA, "first", "layer", "one")
        second = await push_image(store, ALPHA, "second", "layer", "two")
        await link(store, BETA, "layer")
        for manifest in (first, second):
            with pytest.raises(Denied):
                await store.blobs.remove(ALPHA, LAYER, actor=ACTOR, at=NOW)
            await store.manifests.delete(ALPHA, manifest, actor=ACTOR, at=NOW)
        await store.blobs.remove(ALPHA, LAYER, actor=ACTOR, at=NOW)
        assert await store.blobs.holders(LAYER, 10) == [BETA]

    async def test_a_link_tells_how_many_manifests_need_the_blob(
        self, store: MetadataStore
    ) -> None:
        await push_image(store, ALPHA, "first", "layer", "one")
        await push_image(store, ALPHA, "second", "layer")
        await push_image(store, BETA, "third", "layer")
        assert (await store.blobs.find(ALPHA, LAYER)).references == 2
        await store.manifests.delete(ALPHA, digest("first"), actor=ACTOR, at=NOW)
        assert (await store.blobs.find(ALPHA, LAYER)).references == 1

    async def test_a_manifest_elsewhere_keeps_no_blob_here(self, store: MetadataStore) -> None:
        await push_image(store, ALPHA, "image", "layer")
        await link(store, BETA, "layer")
        await store.blobs.remove(BETA, LAYER, actor=ACTOR, at=NOW)
        assert await store.blobs.holders(LAYER, 10) == [ALPHA]

    async def test_pushing_again_counts_a_reference_once(self, store: MetadataStore) -> None:
        manifest = await push_image(store, ALPHA, "image", "layer", tags=["v1"])
        await push(store, ALPHA, image("image", "layer", tags=["v2"]))
        await store.manifests.delete(ALPHA, manifest, actor=ACTOR, at=NOW)
        await store.blobs.remove(ALPHA, LAYER, actor=ACTOR, at=NOW)

    async def test_a_blob_named_twice_by_a_manifest_counts_once(self, store: MetadataStore) -> None:
        await link(store, ALPHA, "layer")
        await push(store, ALPHA, image("image", "layer", "layer"))
        with pytest.raises(Denied):
            await store.blobs.remove(ALPHA, LAYER, actor=ACTOR, at=NOW)
        await store.manifests.delete(ALPHA, digest("image"), actor=ACTOR, at=NOW)
        await store.blobs.remove(ALPHA, LAYER, actor=ACTOR, at=NOW)

    async def test_pushing_a_manifest_renews_no_lease(self, store: MetadataStore) -> None:
        await link(store, ALPHA, "layer")
        await push(store, ALPHA, image("image", "layer"), at=LEASE + 1)
        assert (await store.blobs.find(ALPHA, LAYER)).leased_until == LEASE
