"""What a metadata store promises about tags, repositories, uploads and events."""

from dataclasses import replace

import pytest

from entrepot.oci.errors import BlobUploadUnknown, ManifestUnknown, NameUnknown
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.metadata_store import MetadataStore, TagChange, UploadSession
from entrepot.testing.metadata_store_examples import (
    ACTOR,
    ALPHA,
    BETA,
    NOW,
    NOWHERE,
    digest,
    events,
    forget_events,
    image,
    link,
    push,
)

TAGS_IN_BYTE_ORDER = ["0", "9.1", "A", "Z", "Z-1", "Z.1", "Z0", "Z_1", "_", "_a", "a", "a-b", "ab"]
NAMES_IN_BYTE_ORDER = ["0/a", "a", "a-b", "a-b/c", "a.b", "a/b", "a/b/c", "a0", "a_b", "b"]


class TagsSuite:
    async def test_tags_come_in_byte_order(self, store: MetadataStore) -> None:
        await push(store, ALPHA, image("image", tags=reversed(TAGS_IN_BYTE_ORDER)))
        await push(store, BETA, image("image", tags=["elsewhere"]))
        assert sorted(TAGS_IN_BYTE_ORDER) == TAGS_IN_BYTE_ORDER
        assert await store.tags.list(ALPHA, limit=100) == TAGS_IN_BYTE_ORDER

    async def test_a_page_begins_behind_a_tag_that_need_not_exist(
        self, store: MetadataStore
    ) -> None:
        await push(store, ALPHA, image("image", tags=TAGS_IN_BYTE_ORDER))
        for after in ("", "0", "Y", "Z", "Z!", "_", "aa", "ab", "zz"):
            behind = [tag for tag in TAGS_IN_BYTE_ORDER if tag > after]
            assert await store.tags.list(ALPHA, after=after, limit=3) == behind[:3]

    async def test_a_repository_may_have_no_tags_but_must_exist(self, store: MetadataStore) -> None:
        await link(store, ALPHA, "layer")
        assert await store.tags.list(ALPHA, limit=10) == []
        with pytest.raises(NameUnknown):
            await store.tags.list(NOWHERE, limit=10)

    async def test_a_tag_moves_to_the_manifest_pushed_last(self, store: MetadataStore) -> None:
        for name in ("first", "second"):
            await push(store, ALPHA, image(name, tags=["latest"]))
        assert (await store.manifests.find(ALPHA, Tag("latest"))).digest == digest("second")
        assert (await store.manifests.find(ALPHA, digest("first"))).digest == digest("first")

    async def test_deleting_a_tag_leaves_its_manifest(self, store: MetadataStore) -> None:
        await push(store, ALPHA, image("image", tags=["v1", "v2"]))
        await forget_events(store)
        await store.tags.delete(ALPHA, Tag("v1"), actor=ACTOR, at=NOW)
        assert await store.tags.list(ALPHA, limit=10) == ["v2"]
        assert (await store.manifests.find(ALPHA, digest("image"))).digest == digest("image")
        assert await events(store) == [("tag.delete", ALPHA, digest("image"), Tag("v1"))]

    async def test_deleting_a_tag_that_is_not_there_is_refused(self, store: MetadataStore) -> None:
        await push(store, ALPHA, image("image", tags=["v1"]))
        with pytest.raises(ManifestUnknown):
            await store.tags.delete(ALPHA, Tag("V1"), actor=ACTOR, at=NOW)
        with pytest.raises(NameUnknown):
            await store.tags.delete(NOWHERE, Tag("v1"), actor=ACTOR, at=NOW)

    async def test_history_tells_every_change_newest_first(self, store: MetadataStore) -> None:
        tag = Tag("latest")
        await push(store, ALPHA, image("first", tags=[tag]), at=NOW)
        await push(store, ALPHA, image("second", tags=[tag]), at=NOW + 1)
        await store.tags.delete(ALPHA, tag, actor=ACTOR, at=NOW + 2)
        await push(store, ALPHA, image("first", tags=[tag]), at=NOW + 3)
        changes = [
            TagChange(digest("first"), NOW + 3),
            TagChange(None, NOW + 2),
            TagChange(digest("second"), NOW + 1),
            TagChange(digest("first"), NOW),
        ]
        assert await store.tags.history(ALPHA, tag, 10) == changes
        assert await store.tags.history(ALPHA, tag, 2) == changes[:2]

    async def test_what_was_never_set_has_no_history(self, store: MetadataStore) -> None:
        await push(store, ALPHA, image("image", tags=["v1"]))
        assert await store.tags.history(ALPHA, Tag("v2"), 10) == []
        assert await store.tags.history(BETA, Tag("v1"), 10) == []


class CatalogSuite:
    async def test_repositories_come_in_byte_order_page_by_page(self, store: MetadataStore) -> None:
        for name in reversed(NAMES_IN_BYTE_ORDER):
            await link(store, RepositoryName(name), "layer")
        assert sorted(NAMES_IN_BYTE_ORDER) == NAMES_IN_BYTE_ORDER
        assert await store.catalog.list(limit=100) == NAMES_IN_BYTE_ORDER
        for after in ("", "a", "a-", "a/b", "a1", "z"):
            behind = [name for name in NAMES_IN_BYTE_ORDER if name > after]
            assert await store.catalog.list(after=after, limit=3) == behind[:3]

    async def test_an_open_upload_makes_no_repository(self, store: MetadataStore) -> None:
        await store.uploads.start(UploadSession("u1", ALPHA, "sha256", ACTOR, NOW, NOW))
        assert await store.catalog.list(limit=10) == []


class UploadsSuite:
    SESSION = UploadSession("u-1_A", NOWHERE, "sha512", ACTOR, NOW, NOW)

    async def test_a_session_is_found_as_it_was_started(self, store: MetadataStore) -> None:
        await store.uploads.start(self.SESSION)
        assert await store.uploads.find(self.SESSION.id) == self.SESSION

    async def test_a_session_is_gone_after_its_end(self, store: MetadataStore) -> None:
        await store.uploads.start(self.SESSION)
        await store.uploads.end(self.SESSION.id)
        with pytest.raises(BlobUploadUnknown):
            await store.uploads.find(self.SESSION.id)
        with pytest.raises(BlobUploadUnknown):
            await store.uploads.end(self.SESSION.id)

    async def test_ids_differ_by_case(self, store: MetadataStore) -> None:
        await store.uploads.start(self.SESSION)
        with pytest.raises(BlobUploadUnknown):
            await store.uploads.find(self.SESSION.id.lower())

    async def test_touching_notes_the_time(self, store: MetadataStore) -> None:
        await store.uploads.start(self.SESSION)
        await store.uploads.touch(self.SESSION.id, NOW + 5)
        touched = await store.uploads.find(self.SESSION.id)
        assert touched == replace(self.SESSION, touched_at=NOW + 5)

    async def test_touching_what_is_gone_is_no_error(self, store: MetadataStore) -> None:
        await store.uploads.touch("gone", NOW)
        with pytest.raises(BlobUploadUnknown):
            await store.uploads.find("gone")

    async def test_idle_sessions_come_oldest_first(self, store: MetadataStore) -> None:
        for number in (2, 0, 1, 3):
            session = replace(self.SESSION, id=f"u{number}", touched_at=NOW + number)
            await store.uploads.start(session)
        await store.uploads.touch("u0", NOW + 9)
        idle = await store.uploads.idle_since(NOW + 3, limit=10)
        assert [session.id for session in idle] == ["u1", "u2"]
        assert [each.id for each in await store.uploads.idle_since(NOW + 3, limit=1)] == ["u1"]


class OutboxSuite:
    async def test_events_come_oldest_first_and_whole(self, store: MetadataStore) -> None:
        await push(store, ALPHA, image("image", tags=["v1", "v2"]), at=NOW + 1)
        pending = await store.outbox.pending(10)
        assert [event.kind for event in pending] == ["manifest.push", "tag.set", "tag.set"]
        assert {(event.actor, event.at) for event in pending} == {(ACTOR, NOW + 1)}
        assert sorted({event.id for event in pending}) == [event.id for event in pending]
        assert await store.outbox.pending(2) == pending[:2]

    async def test_what_is_delivered_is_dropped_and_nothing_else(
        self, store: MetadataStore
    ) -> None:
        await push(store, ALPHA, image("image", tags=["v1", "v2"]))
        first, second, third = await store.outbox.pending(10)
        await store.outbox.delivered([first.id, third.id])
        assert await store.outbox.pending(10) == [second]
        await store.outbox.delivered([first.id])
        await store.outbox.delivered([])
        assert await store.outbox.pending(10) == [second]

    async def test_ids_grow_even_when_the_outbox_has_been_empty(self, store: MetadataStore) -> None:
        await push(store, ALPHA, image("first"))
        (before,) = await store.outbox.pending(10)
        await store.outbox.delivered([before.id])
        await push(store, ALPHA, image("second"))
        (after,) = await store.outbox.pending(10)
        assert after.id > before.id

    async def test_old_events_expire_up_to_the_limit(self, store: MetadataStore) -> None:
        for number in range(5):
            await push(store, ALPHA, image(f"image {number}"), at=NOW + number)
        assert await store.outbox.expire(NOW + 3, limit=2) == 2
        assert await store.outbox.expire(NOW + 3, limit=2) == 1
        assert await store.outbox.expire(NOW + 3, limit=2) == 0
        assert [event.at for event in await store.outbox.pending(10)] == [NOW + 3, NOW + 4]

    async def test_what_is_refused_tells_nothing(self, store: MetadataStore) -> None:
        with pytest.raises(NameUnknown):
            await store.tags.delete(ALPHA, Tag("v1"), actor=ACTOR, at=NOW)
        assert await events(store) == []
