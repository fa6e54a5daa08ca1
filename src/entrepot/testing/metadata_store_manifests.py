"""What a metadata store promises about manifests and referrers."""

import asyncio

import pytest

from entrepot.oci.errors import (
    BlobUnknown,
    Denied,
    ManifestBlobUnknown,
    ManifestUnknown,
    NameUnknown,
)
from entrepot.oci.reference import Tag
from entrepot.ports.metadata_store import ManifestPush, MetadataStore, TagChange
from entrepot.testing.metadata_store_examples import (
    ACTOR,
    ALPHA,
    BETA,
    NOW,
    NOWHERE,
    digest,
    digests,
    events,
    forget_events,
    image,
    link,
    push,
    push_image,
    record,
)

IMAGE = digest("image")
STRANGE_TEXT = {"empty": "", "nul": "\0", "half": "\ud800", "wide": "🛳", "quote": '"\\\n'}


class ManifestsSuite:
    async def test_a_manifest_is_found_by_digest_and_by_tag(self, store: MetadataStore) -> None:
        what = record("image", artifact_type="application/x", subject="base")
        await push(store, ALPHA, ManifestPush(what, tags=(Tag("v1"), Tag("v2"))))
        for reference in (IMAGE, Tag("v1"), Tag("v2")):
            assert await store.manifests.find(ALPHA, reference) == what

    async def test_annotations_are_given_only_where_they_are_asked_for(
        self, store: MetadataStore
    ) -> None:
        what = record("image", subject="base", annotations=STRANGE_TEXT)
        bare = record("image", subject="base")
        await push(store, ALPHA, ManifestPush(what))
        await push(store, ALPHA, ManifestPush(record("plain")))
        await push(store, BETA, ManifestPush(record("elsewhere", annotations={"a": "b"})))
        assert await store.manifests.find(ALPHA, IMAGE) == bare
        assert await store.manifests.held(ALPHA, [IMAGE]) == [bare]
        assert await store.manifests.referrers(ALPHA, digest("base"), limit=10) == [bare]
        asked = digests(["image", "plain", "elsewhere", "lost"])
        assert await store.manifests.annotations(ALPHA, asked) == {
            IMAGE: STRANGE_TEXT,
            digest("plain"): {},
        }
        assert await store.manifests.annotations(ALPHA, []) == {}
        assert await store.manifests.annotations(NOWHERE, asked) == {}

    async def test_of_many_digests_those_are_told_that_are_held(self, store: MetadataStore) -> None:
        held = [record(f"image {number}", artifact_type="a") for number in range(40)]
        for what in held:
            await push(store, ALPHA, ManifestPush(what))
        await push(store, BETA, ManifestPush(record("elsewhere")))
        await link(store, ALPHA, "layer")
        asked = [*(what.digest for what in held), *digests(["elsewhere", "layer", "lost"])]
        found = await store.manifests.held(ALPHA, asked)
        assert sorted(found, key=str) == sorted(held, key=str)
        assert await store.manifests.held(ALPHA, []) == []
        assert await store.manifests.held(NOWHERE, asked) == []

    async def test_what_is_not_found_is_named(self, store: MetadataStore) -> None:
        await push_image(store, BETA, "image", "layer", tags=["v1"])
        await link(store, ALPHA, "layer")
        for reference in (IMAGE, digest("layer"), Tag("v1"), Tag("V1")):
            with pytest.raises(ManifestUnknown):
                await store.manifests.find(ALPHA, reference)
            with pytest.raises(NameUnknown):
                await store.manifests.find(NOWHERE, reference)

    async def test_a_manifest_is_no_blob(self, store: MetadataStore) -> None:
        await push_image(store, ALPHA, "image", "layer")
        with pytest.raises(BlobUnknown):
            await store.blobs.find(ALPHA, IMAGE)

    async def test_content_may_be_manifest_and_blob_at_once(self, store: MetadataStore) -> None:
        await push_image(store, ALPHA, "image", "layer")
        await link(store, ALPHA, "image")
        await store.manifests.delete(ALPHA, IMAGE, actor=ACTOR, at=NOW)
        assert (await store.blobs.find(ALPHA, IMAGE)).size == len("image")

    async def test_a_manifest_without_blobs_creates_its_repository(
        self, store: MetadataStore
    ) -> None:
        await push(store, ALPHA, image("index"))
        assert await store.catalog.list(limit=10) == [ALPHA]

    async def test_every_missing_digest_is_named_and_nothing_remains(
        self, store: MetadataStore
    ) -> None:
        await link(store, BETA, "layer")
        await forget_events(store)
        what = image("image", "layer", "config", tags=["v1"])
        with pytest.raises(ManifestBlobUnknown) as refused:
            await push(store, ALPHA, what)
        assert refused.value.detail == {"digests": sorted(map(str, what.blobs))}
        assert await store.catalog.list(limit=10) == [BETA]
        assert await events(store) == []

    async def test_only_the_missing_are_named(self, store: MetadataStore) -> None:
        await link(store, ALPHA, "layer")
        await push(store, ALPHA, image("child"))
        what = image(
            "index", "layer", "config", manifests=["child", "lost"], require_manifests=True
        )
        with pytest.raises(ManifestBlobUnknown) as refused:
            await push(store, ALPHA, what)
        missing = {str(digest("config")), str(digest("lost"))}
        assert set(refused.value.detail["digests"]) == missing  # type: ignore[call-overload]
        with pytest.raises(ManifestUnknown):
            await store.manifests.find(ALPHA, digest("index"))

    async def test_a_check_refuses_what_a_push_would_and_writes_nothing(
        self, store: MetadataStore
    ) -> None:
        await link(store, ALPHA, "layer")
        await link(store, BETA, "config")
        await forget_events(store)
        strict = image("index", "layer", manifests=["child"], require_manifests=True)
        for home in (ALPHA, NOWHERE):
            for what in (image("image", "layer", "config", optional=["lost"]), strict):
                refusals = []
                for attempt in (store.manifests.check(home, what), push(store, home, what)):
                    with pytest.raises(ManifestBlobUnknown) as refused:
                        await attempt
                    refusals.append(refused.value.detail)
                assert refusals[0] == refusals[1]
        await store.manifests.check(ALPHA, image("image", "layer", optional=["lost"]))
        await store.manifests.check(NOWHERE, image("sparse", manifests=["lost"]))
        assert await store.catalog.list(limit=10) == [ALPHA, BETA]
        assert await events(store) == []

    async def test_a_blob_that_was_removed_is_missing(self, store: MetadataStore) -> None:
        await link(store, ALPHA, "layer")
        await store.blobs.remove(ALPHA, digest("layer"), actor=ACTOR, at=NOW)
        with pytest.raises(ManifestBlobUnknown):
            await push(store, ALPHA, image("image", "layer"))

    async def test_an_index_may_be_sparse_unless_children_are_required(
        self, store: MetadataStore
    ) -> None:
        await push(store, ALPHA, image("index", manifests=["lost"]))
        with pytest.raises(ManifestBlobUnknown):
            await push(store, ALPHA, image("full", manifests=["lost"], require_manifests=True))
        await push(store, ALPHA, image("lost"))
        await push(store, ALPHA, image("full", manifests=["lost"], require_manifests=True))

    async def test_an_optional_blob_may_be_absent_and_counts_once_it_is_linked(
        self, store: MetadataStore
    ) -> None:
        await link(store, ALPHA, "early")
        await push(store, ALPHA, image("image", optional=["early", "late"]))
        await link(store, ALPHA, "late")
        for name in ("early", "late"):
            with pytest.raises(Denied):
                await store.blobs.remove(ALPHA, digest(name), actor=ACTOR, at=NOW)
        await store.manifests.delete(ALPHA, IMAGE, actor=ACTOR, at=NOW)
        for name in ("early", "late"):
            await store.blobs.remove(ALPHA, digest(name), actor=ACTOR, at=NOW)

    async def test_an_optional_blob_is_counted_however_link_and_pushes_race(
        self, store: MetadataStore
    ) -> None:
        names = [f"image {number}" for number in range(8)]
        await asyncio.gather(
            *(push(store, ALPHA, image(name, optional=["layer"])) for name in names),
            link(store, ALPHA, "layer"),
        )
        for name in names:
            with pytest.raises(Denied):
                await store.blobs.remove(ALPHA, digest("layer"), actor=ACTOR, at=NOW)
            await store.manifests.delete(ALPHA, digest(name), actor=ACTOR, at=NOW)
        await store.blobs.remove(ALPHA, digest("layer"), actor=ACTOR, at=NOW)

    async def test_a_child_may_be_deleted_before_its_index(self, store: MetadataStore) -> None:
        await push(store, ALPHA, image("child"))
        await push(store, ALPHA, image("index", manifests=["child"]))
        for name in ("child", "index"):
            await store.manifests.delete(ALPHA, digest(name), actor=ACTOR, at=NOW)

    async def test_a_push_tells_of_the_manifest_and_of_each_tag(self, store: MetadataStore) -> None:
        await push(store, ALPHA, image("image", tags=["v2", "v1"]))
        assert await events(store) == [
            ("manifest.push", ALPHA, IMAGE, None),
            ("tag.set", ALPHA, IMAGE, Tag("v1")),
            ("tag.set", ALPHA, IMAGE, Tag("v2")),
        ]

    async def test_pushing_what_exists_changes_only_the_tags(self, store: MetadataStore) -> None:
        await push(
            store, ALPHA, ManifestPush(record("image", artifact_type="a"), tags=(Tag("v1"),))
        )
        await forget_events(store)
        await push(
            store, ALPHA, ManifestPush(record("image", artifact_type="b"), tags=(Tag("v2"),))
        )
        assert (await store.manifests.find(ALPHA, Tag("v2"))).artifact_type == "a"
        assert await store.tags.list(ALPHA, limit=10) == ["v1", "v2"]
        assert await events(store) == [("tag.set", ALPHA, IMAGE, Tag("v2"))]

    async def test_a_push_that_changes_nothing_is_silent(self, store: MetadataStore) -> None:
        await push_image(store, ALPHA, "image", "layer", tags=["v1"])
        await forget_events(store)
        await push(store, ALPHA, image("image", "layer", tags=["v1"]), at=NOW + 1)
        assert await events(store) == []
        assert await store.tags.history(ALPHA, Tag("v1"), 10) == [TagChange(IMAGE, NOW)]

    async def test_deleting_takes_every_tag_that_points_to_it(self, store: MetadataStore) -> None:
        await push(store, ALPHA, image("image", tags=["v1", "v2"]))
        await push(store, ALPHA, image("other", tags=["v3"]))
        await push(store, BETA, image("image", tags=["v1"]))
        await forget_events(store)
        await store.manifests.delete(ALPHA, IMAGE, actor=ACTOR, at=NOW + 1)
        assert await store.tags.list(ALPHA, limit=10) == ["v3"]
        for reference in (IMAGE, Tag("v1")):
            with pytest.raises(ManifestUnknown):
                await store.manifests.find(ALPHA, reference)
        assert (await store.manifests.find(BETA, Tag("v1"))).digest == IMAGE
        assert await store.tags.history(ALPHA, Tag("v2"), 1) == [TagChange(None, NOW + 1)]
        assert await events(store) == [
            ("tag.delete", ALPHA, IMAGE, Tag("v1")),
            ("tag.delete", ALPHA, IMAGE, Tag("v2")),
            ("manifest.delete", ALPHA, IMAGE, None),
        ]

    async def test_deleting_what_is_not_there_is_refused(self, store: MetadataStore) -> None:
        await push(store, ALPHA, image("image"))
        await store.manifests.delete(ALPHA, IMAGE, actor=ACTOR, at=NOW)
        with pytest.raises(ManifestUnknown):
            await store.manifests.delete(ALPHA, IMAGE, actor=ACTOR, at=NOW)
        with pytest.raises(NameUnknown):
            await store.manifests.delete(NOWHERE, IMAGE, actor=ACTOR, at=NOW)

    async def test_a_deleted_manifest_can_be_pushed_again(self, store: MetadataStore) -> None:
        await push_image(store, ALPHA, "image", "layer")
        await store.manifests.delete(ALPHA, IMAGE, actor=ACTOR, at=NOW)
        await push(store, ALPHA, image("image", "layer", tags=["v1"]))
        assert (await store.manifests.find(ALPHA, Tag("v1"))).digest == IMAGE


class ReferrersSuite:
    async def test_referrers_are_the_manifests_with_that_subject(
        self, store: MetadataStore
    ) -> None:
        what = record("signature", artifact_type="sig", subject="image")
        await push(store, ALPHA, ManifestPush(what))
        await push(store, ALPHA, ManifestPush(record("unrelated", subject="other")))
        await push(store, BETA, ManifestPush(record("elsewhere", subject="image")))
        assert await store.manifests.referrers(ALPHA, IMAGE, limit=10) == [what]

    async def test_an_unknown_repository_or_subject_has_none(self, store: MetadataStore) -> None:
        await push(store, ALPHA, image("image"))
        assert await store.manifests.referrers(ALPHA, IMAGE, limit=10) == []
        assert await store.manifests.referrers(ALPHA, digest("lost"), limit=10) == []
        assert await store.manifests.referrers(NOWHERE, IMAGE, limit=10) == []

    async def test_a_deleted_referrer_is_gone(self, store: MetadataStore) -> None:
        await push(store, ALPHA, ManifestPush(record("signature", subject="image")))
        await store.manifests.delete(ALPHA, digest("signature"), actor=ACTOR, at=NOW)
        assert await store.manifests.referrers(ALPHA, IMAGE, limit=10) == []

    @pytest.mark.parametrize("artifact_type", [None, "type-1"])
    async def test_pages_join_to_the_whole_in_digest_order(
        self, store: MetadataStore, artifact_type: str | None
    ) -> None:
        names = [f"signature {number}" for number in range(12)]
        for number, name in enumerate(names):
            kind = f"type-{number % 3}"
            what = record(name, artifact_type=kind, subject="image")
            await push(store, ALPHA, ManifestPush(what))
        wanted = names if artifact_type is None else names[1::3]
        found, after = [], None
        while page := await store.manifests.referrers(
            ALPHA, IMAGE, artifact_type=artifact_type, after=after, limit=3
        ):
            assert len(page) <= 3
            found += [each.digest for each in page]
            after = found[-1]
        assert found == sorted(digests(wanted), key=str)
