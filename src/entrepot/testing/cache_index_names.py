"""What a cache index promises about tags, links, what is absent, and events."""

import pytest

from entrepot.oci.digest import Digest
from entrepot.oci.reference import Tag
from entrepot.ports.cache_index import CachedTag, CacheEvent, CacheIndex
from entrepot.testing.cache_index_examples import (
    ALPINE,
    BUSYBOX,
    HUB,
    MEDIA_TYPE,
    NOW,
    QUAY,
    digest,
    fill,
    manifest,
    store,
)

LATEST = Tag("latest")


class CachedNamesSuite:
    async def test_nothing_is_known_of_an_empty_cache(self, index: CacheIndex) -> None:
        assert await index.names.tag(ALPINE, LATEST) is None
        assert await index.names.manifest(ALPINE, digest("image")) is None
        assert await index.names.blob(ALPINE, digest("layer")) is None
        assert await index.names.absent(ALPINE, "latest") is None

    async def test_a_tag_points_to_a_manifest_that_is_linked_with_it(
        self, index: CacheIndex
    ) -> None:
        assert await index.names.set_tag(ALPINE, LATEST, manifest("one"), at=NOW) is None
        known = CachedTag(digest("one"), MEDIA_TYPE, 500, checked_at=NOW, since=NOW)
        assert await index.names.tag(ALPINE, LATEST) == known
        assert await index.names.manifest(ALPINE, digest("one")) == manifest("one")
        assert await index.names.tag(BUSYBOX, LATEST) is None

    async def test_a_tag_that_stays_keeps_its_beginning(self, index: CacheIndex) -> None:
        await index.names.set_tag(ALPINE, LATEST, manifest("one"), at=NOW)
        again = await index.names.set_tag(ALPINE, LATEST, manifest("one"), at=NOW + 60)
        assert again == digest("one")
        known = await index.names.tag(ALPINE, LATEST)
        assert known is not None
        assert (known.since, known.checked_at) == (NOW, NOW + 60)

    async def test_a_tag_that_moves_tells_where_it_was(self, index: CacheIndex) -> None:
        """CA-02: and what it pointed to stays known."""
        await index.names.set_tag(ALPINE, LATEST, manifest("one"), at=NOW)
        before = await index.names.set_tag(ALPINE, LATEST, manifest("two", 700), at=NOW + 60)
        assert before == digest("one")
        moved = CachedTag(digest("two"), MEDIA_TYPE, 700, checked_at=NOW + 60, since=NOW + 60)
        assert await index.names.tag(ALPINE, LATEST) == moved
        assert await index.names.manifest(ALPINE, digest("one")) == manifest("one")

    async def test_links_are_by_repository_and_kind(self, index: CacheIndex) -> None:
        layer = digest("layer")
        await index.names.link(ALPINE, manifests=[manifest("image")], blobs=[(layer, 7)], at=NOW)
        assert await index.names.manifest(ALPINE, digest("image")) == manifest("image")
        assert await index.names.blob(ALPINE, layer) == 7
        assert await index.names.manifest(ALPINE, layer) is None
        assert await index.names.blob(ALPINE, digest("image")) is None
        assert await index.names.blob(BUSYBOX, layer) is None

    async def test_the_same_may_be_a_manifest_and_a_blob(self, index: CacheIndex) -> None:
        await index.names.link(
            ALPINE, manifests=[manifest("both", 9)], blobs=[(digest("both"), 9)], at=NOW
        )
        assert await index.names.manifest(ALPINE, digest("both")) == manifest("both", 9)
        assert await index.names.blob(ALPINE, digest("both")) == 9
        assert await index.catalog.links(ALPINE) == [digest("both")]

    async def test_what_was_told_last_holds(self, index: CacheIndex) -> None:
        await index.names.link(ALPINE, blobs=[(digest("layer"), 7)], at=NOW)
        await index.names.link(ALPINE, blobs=[(digest("layer"), 8)], at=NOW + 1)
        assert await index.names.blob(ALPINE, digest("layer")) == 8

    async def test_absence_is_by_repository_and_reference(self, index: CacheIndex) -> None:
        """CA-06"""
        await index.names.set_absent(ALPINE, "latest", NOW + 60)
        await index.names.set_absent(ALPINE, "latest", NOW + 90)
        assert await index.names.absent(ALPINE, "latest") == NOW + 90
        assert await index.names.absent(ALPINE, "other") is None
        assert await index.names.absent(BUSYBOX, "latest") is None

    async def test_absence_is_by_kind(self, index: CacheIndex) -> None:
        """Who asks for a manifest under a blob's digest hides the blob from nobody."""
        both = str(digest("both"))
        await index.names.set_absent(ALPINE, both, NOW + 60)
        assert await index.names.absent(ALPINE, both, blob=True) is None
        await index.names.set_absent(ALPINE, both, NOW + 90, blob=True)
        assert await index.names.absent(ALPINE, both) == NOW + 60
        assert await index.names.absent(ALPINE, both, blob=True) == NOW + 90
        assert await index.catalog.purge(ALPINE, digest("both")) == 1
        assert await index.names.absent(ALPINE, both, blob=True) is None

    async def test_what_appears_is_not_absent_any_more(self, index: CacheIndex) -> None:
        names = ("latest", str(digest("image")), "other")
        layer = str(digest("layer"))
        for home in (ALPINE, BUSYBOX):
            for name in names:
                await index.names.set_absent(home, name, NOW + 60)
            await index.names.set_absent(home, layer, NOW + 60, blob=True)
        await index.names.set_tag(ALPINE, LATEST, manifest("image"), at=NOW)
        await index.names.link(ALPINE, blobs=[(digest("layer"), 7)], at=NOW)
        absent = [await index.names.absent(ALPINE, name) for name in names]
        assert absent == [None, None, NOW + 60]
        assert await index.names.absent(ALPINE, layer, blob=True) is None
        assert await index.names.absent(BUSYBOX, "latest") == NOW + 60
        assert await index.names.absent(BUSYBOX, layer, blob=True) == NOW + 60


class CacheCatalogSuite:
    async def test_repositories_come_in_order_and_in_pages(self, index: CacheIndex) -> None:
        names = ["docker.io/a", "docker.io/a-b", "docker.io/a/b", "docker.io/b", "quay.io/a"]
        for name in reversed(names):
            await index.names.link(name, blobs=[(digest("one"), 1), (digest("two"), 2)], at=NOW)
        assert await index.catalog.repositories(limit=10) == names
        assert await index.catalog.repositories(after="docker.io/a-a", limit=2) == names[1:3]
        assert await index.catalog.repositories(after="quay.io/a", limit=2) == []

    async def test_what_is_only_absent_is_no_repository(self, index: CacheIndex) -> None:
        await index.names.set_absent(ALPINE, "latest", NOW + 60)
        assert await index.catalog.repositories(limit=10) == []

    async def test_tags_and_links_come_in_order(self, index: CacheIndex) -> None:
        for tag in ("b", "a", "Z"):
            await index.names.set_tag(ALPINE, Tag(tag), manifest(f"image {tag}"), at=NOW)
        await index.names.set_tag(BUSYBOX, LATEST, manifest("elsewhere"), at=NOW)
        long = Digest.of(b"long", "sha512")
        await index.names.link(ALPINE, blobs=[(long, 1)], at=NOW)
        tags = await index.catalog.tags(ALPINE)
        assert [(tag, known.digest) for tag, known in tags] == [
            (Tag(tag), digest(f"image {tag}")) for tag in ("Z", "a", "b")
        ]
        expected = sorted([long, *(digest(f"image {tag}") for tag in "abZ")])
        assert await index.catalog.links(ALPINE) == expected

    async def test_a_tag_is_purged_without_its_manifest(self, index: CacheIndex) -> None:
        """CA-06"""
        await index.names.set_tag(ALPINE, LATEST, manifest("image"), at=NOW)
        await index.names.set_tag(ALPINE, Tag("3"), manifest("image"), at=NOW)
        assert await index.catalog.purge(ALPINE, LATEST) == 1
        assert await index.names.tag(ALPINE, LATEST) is None
        assert await index.names.tag(ALPINE, Tag("3")) is not None
        assert await index.names.manifest(ALPINE, digest("image")) == manifest("image")

    async def test_a_digest_is_purged_with_the_tags_that_point_to_it(
        self, index: CacheIndex
    ) -> None:
        """CA-06"""
        for tag, name in (("a", "image"), ("b", "image"), ("c", "other")):
            await index.names.set_tag(ALPINE, Tag(tag), manifest(name), at=NOW)
            await index.names.set_tag(BUSYBOX, Tag(tag), manifest(name), at=NOW)
        assert await index.catalog.purge(ALPINE, digest("image")) == 3
        assert [tag for tag, _ in await index.catalog.tags(ALPINE)] == ["c"]
        assert await index.catalog.links(ALPINE) == [digest("other")]
        assert len(await index.catalog.tags(BUSYBOX)) == 3

    async def test_a_repository_is_purged_whole(self, index: CacheIndex) -> None:
        """CA-06"""
        for home in (ALPINE, BUSYBOX):
            await index.names.set_tag(home, LATEST, manifest("image"), at=NOW)
            await index.names.link(home, blobs=[(digest("layer"), 7)], at=NOW)
            await index.names.set_absent(home, "nothing", NOW + 60)
        assert await index.catalog.purge(ALPINE) == 4
        assert await index.catalog.repositories(limit=10) == [BUSYBOX]
        assert await index.names.absent(ALPINE, "nothing") is None
        assert await index.names.absent(BUSYBOX, "nothing") == NOW + 60
        assert await index.catalog.purge(ALPINE) == 0

    @pytest.mark.parametrize("reference", [LATEST, digest("image")], ids=["tag", "digest"])
    async def test_what_was_absent_is_purged(
        self, index: CacheIndex, reference: Tag | Digest
    ) -> None:
        await index.names.set_absent(ALPINE, str(reference), NOW + 60)
        await index.names.set_absent(ALPINE, "other", NOW + 60)
        assert await index.catalog.purge(ALPINE, reference) == 1
        assert await index.names.absent(ALPINE, str(reference)) is None
        assert await index.names.absent(ALPINE, "other") == NOW + 60

    async def test_names_that_lead_to_no_content_are_forgotten(self, index: CacheIndex) -> None:
        """CA-06: whoever invents names and manifests must not fill the disk."""
        await store(index, "kept")
        await fill(index, "on its way", 5)
        for name in ("kept", "on its way", "gone"):
            await index.names.set_tag(ALPINE, Tag(name[:2]), manifest(name), at=NOW)
            await index.names.link(ALPINE, blobs=[(digest(name), 1)], at=NOW)
            await index.names.expect(ALPINE, [manifest(name)], at=NOW)
            await index.names.link(BUSYBOX, blobs=[(digest(name), 1)], at=NOW)
        await index.names.set_tag(ALPINE, Tag("checked"), manifest("late"), at=NOW)
        await index.names.set_tag(ALPINE, Tag("checked"), manifest("late"), at=NOW + 60)
        await index.names.link(ALPINE, blobs=[(digest("young"), 1)], at=NOW + 60)
        await index.names.set_absent(ALPINE, "absent", NOW - 1)
        assert await index.catalog.forget_unused([ALPINE], NOW) == 1
        assert await index.catalog.forget_unused([ALPINE], NOW + 1) == 4
        assert [tag for tag, _ in await index.catalog.tags(ALPINE)] == ["checked", "ke", "on"]
        kept = sorted(digest(name) for name in ("kept", "on its way", "late", "young"))
        assert await index.catalog.links(ALPINE) == kept
        assert digest("gone") in await index.catalog.links(BUSYBOX)
        await index.names.link(ALPINE, blobs=[(digest("gone"), 1)], at=NOW + 60)
        assert await index.catalog.forget_unused([ALPINE], NOW + 1) == 0

    async def test_what_an_upstream_has_delivered_is_forgotten_when_nobody_names_it(
        self, index: CacheIndex
    ) -> None:
        for name in ("named", "unnamed", "gone"):
            await index.names.link(QUAY, blobs=[(digest(name), 10)], at=NOW)
        await store(index, "named")
        await store(index, "unnamed")
        await index.names.link(ALPINE, blobs=[(digest("named"), 10)], at=NOW)
        assert await index.catalog.forget_unused([QUAY], NOW) == 0
        assert await index.catalog.forget_unused([QUAY], NOW + 1) == 2
        assert await index.catalog.links(QUAY) == [digest("named")]

    async def test_content_without_a_link_is_found(self, index: CacheIndex) -> None:
        await index.names.link(ALPINE, blobs=[(digest("linked before"), 1)], at=NOW)
        for name in ("linked before", "linked after", "nowhere", "purged", "pinned"):
            await store(index, name)
        await fill(index, "filling", 1)
        await index.names.link(
            BUSYBOX, manifests=[manifest("linked after")], blobs=[(digest("purged"), 1)], at=NOW
        )
        await index.upkeep.pin([digest("pinned")], True)
        assert await index.catalog.unlinked(10) == [digest("nowhere")]
        await index.catalog.purge(BUSYBOX, digest("purged"))
        assert await index.catalog.unlinked(10) == [digest("nowhere"), digest("purged")]
        assert await index.catalog.unlinked(1) == [digest("nowhere")]
        await index.names.link(ALPINE, blobs=[(digest("nowhere"), 1)], at=NOW)
        assert await index.catalog.unlinked(10) == [digest("purged")]

    async def test_content_is_unlinked_after_the_last_of_its_links(self, index: CacheIndex) -> None:
        await store(index, "layer")
        for home in (ALPINE, BUSYBOX):
            await index.names.link(home, blobs=[(digest("layer"), 10)], at=NOW)
            await index.names.link(home, blobs=[(digest("layer"), 10)], at=NOW)  # counts once
        await index.catalog.purge(ALPINE)
        assert await index.catalog.unlinked(10) == []
        await index.catalog.purge(BUSYBOX)
        assert await index.catalog.unlinked(10) == [digest("layer")]

    async def test_events_come_newest_first(self, index: CacheIndex) -> None:
        events = [CacheEvent("tag.moved", HUB, f"tag {n}", "moved", NOW + n) for n in range(3)]
        for event in events:
            await index.catalog.record(event)
        assert await index.catalog.events(2) == [events[2], events[1]]

    async def test_an_event_may_tell_what_is_no_text(self, index: CacheIndex) -> None:
        await index.catalog.record(CacheEvent("upstream.lied", QUAY, "tag", "half \udcff", NOW))
        (event,) = await index.catalog.events(1)
        assert event.detail.startswith("half ")
