"""What services promise to keep is kept, and what they refuse takes no space.

Services over both real stores. The database is made full or read-only by its own means.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from entrepot.adapters.content_stores.filesystem import FilesystemContentStore
from entrepot.adapters.metadata_stores.blobs import SqlBlobLinks
from entrepot.adapters.metadata_stores.sqlite import SqliteDatabase
from entrepot.adapters.metadata_stores.store import SqlMetadataStore
from entrepot.bootstrap import assemble
from entrepot.config import Settings
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    BlobUnknown,
    ManifestBlobUnknown,
    StoreFull,
    Unavailable,
    UploadOutOfOrder,
)
from entrepot.oci.reference import RepositoryName
from entrepot.ports.content_store import Ingest
from entrepot.ports.metadata_store import BlobLink
from entrepot.protocol.referrers import fallback_tag
from entrepot.services.gates import ANONYMOUS
from entrepot.services.registry import Registry
from entrepot.testing.sources import arriving
from tests.integration.conformance.content import OCI_INDEX, OCI_MANIFEST, Content, image, index

HOME: Final = RepositoryName("home")
ELSEWHERE: Final = RepositoryName("elsewhere")
BLOB: Final = b"a blob"
DIGEST: Final = Digest.of(BLOB)


@dataclass(slots=True)
class SetClock:
    """A clock that stands until it is set."""

    time: float = 1_000_000.0

    def now(self) -> float:
        return self.time


@dataclass(slots=True)
class World:
    """A registry and what is below it."""

    root: Path
    metadata: SqlMetadataStore
    content: FilesystemContentStore
    clock: SetClock = field(default_factory=SetClock)
    numbers: Iterator[int] = field(default_factory=count)

    def registry(self, content: FilesystemContentStore | None = None) -> Registry:
        return assemble(
            Settings(),
            content or self.content,
            self.metadata,
            clock=self.clock,
            new_id=lambda: f"upload-{next(self.numbers)}",
        )

    async def push(self, content: bytes = BLOB, home: RepositoryName = HOME) -> Digest:
        digest = Digest.of(content)
        await self.registry().uploads.store(ANONYMOUS, home, digest, arriving(content))
        return digest

    async def push_manifest(self, manifest: Content, tag: str | None = None) -> None:
        tags: Any = (tag,) if tag else ()
        await self.registry().manifests.push(
            ANONYMOUS, HOME, manifest.content, manifest.media_type, tags=tags
        )

    def pragma(self, text: str) -> None:
        database = self.metadata.database
        assert isinstance(database, SqliteDatabase)
        database._writer._connection.execute(f"PRAGMA {text}").fetchall()

    def let_lease_expire(self) -> None:
        self.clock.time += 2 * self.registry().blobs.lease

    def files(self) -> set[str]:
        """Return the names of all files of the content store."""
        return {path.name for path in (self.root / "content").rglob("*") if path.is_file()}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    metadata = await SqlMetadataStore.open(f"sqlite:///{tmp_path / 'metadata.db'}", durable=False)
    content = FilesystemContentStore(tmp_path / "content", durable=False, memory=0)
    yield World(tmp_path, metadata, content)
    await metadata.close()
    await content.close()


def full(world: World) -> None:
    world.pragma("max_page_count = 1")  # SQLite takes what the file has now


def read_only(world: World) -> None:
    world.pragma("query_only = ON")


Failing = pytest.mark.parametrize("fail", [full, read_only])


# ── leases ───────────────────────────────────────────────────────────────────────────────────


async def test_reading_writes_nothing(world: World) -> None:
    await world.push()
    before = await world.metadata.blobs.find(HOME, DIGEST)
    world.let_lease_expire()
    read_only(world)
    assert await world.registry().blobs.size(HOME, DIGEST) == len(BLOB)
    assert await world.metadata.blobs.find(HOME, DIGEST) == before


async def test_asking_renews_a_lease_that_runs_out(world: World) -> None:
    await world.push()
    world.let_lease_expire()
    assert await world.registry().blobs.hold(HOME, DIGEST) == len(BLOB)
    link = await world.metadata.blobs.find(HOME, DIGEST)
    assert link.leased_until == world.clock.time + world.registry().blobs.lease


async def test_what_a_lease_still_keeps_is_promised_without_a_renewal(world: World) -> None:
    await world.push()
    world.clock.time += 0.9 * world.registry().blobs.lease
    read_only(world)
    assert await world.registry().blobs.hold(HOME, DIGEST) == len(BLOB)


async def test_what_nothing_keeps_is_not_promised(world: World) -> None:
    await world.push()
    world.let_lease_expire()
    read_only(world)
    with pytest.raises(Unavailable):
        await world.registry().blobs.hold(HOME, DIGEST)


async def test_what_a_manifest_keeps_is_promised_without_a_renewal(world: World) -> None:
    graph = image()
    for blob in graph.blobs:
        await world.push(blob.content)
    await world.push_manifest(graph.top)
    world.let_lease_expire()
    read_only(world)
    needed = graph.blobs[0]
    size = await world.registry().blobs.hold(HOME, Digest.of(needed.content))
    assert size == len(needed.content)


async def test_a_blob_whose_bytes_are_gone_is_not_promised_and_can_be_pushed_again(
    world: World,
) -> None:
    await world.push()
    await world.content.delete(DIGEST)
    with pytest.raises(BlobUnknown):
        await world.registry().blobs.hold(HOME, DIGEST)
    await world.push()
    assert await world.registry().blobs.hold(HOME, DIGEST) == len(BLOB)


class RemovedMeanwhile(SqlBlobLinks):
    """Links, of which each is removed as soon as it has been found."""

    async def find(self, repository: RepositoryName, digest: Digest) -> BlobLink:
        link = await super().find(repository, digest)
        await self.remove(repository, digest, actor="another", at=0.0)
        return link


async def test_a_blob_that_is_removed_while_it_is_asked_for_is_not_promised(world: World) -> None:
    await world.push()
    world.let_lease_expire()
    blobs = world.registry().blobs
    meanwhile = RemovedMeanwhile(world.metadata.database)
    blobs = type(blobs)(meanwhile, blobs.content, blobs.gates, blobs.clock, blobs.lease)
    with pytest.raises(BlobUnknown):
        await blobs.hold(HOME, DIGEST)


# ── refusals leave nothing ───────────────────────────────────────────────────────────────────


@Failing
async def test_an_upload_that_could_not_be_opened_leaves_nothing(
    world: World, fail: Callable[[World], None]
) -> None:
    fail(world)
    opened = set()
    with suppress(Unavailable):
        for _ in range(1000):  # there may be some room in the last page
            opened.add((await world.registry().uploads.start(ANONYMOUS, HOME)).id)
    assert len(opened) < 1000
    assert {upload async for upload, _ in world.content.ingests()} == opened


async def fill_links(world: World) -> Digest:
    """Push until the database takes no more; return what it did not take."""
    full(world)
    for number in range(10_000):
        content = b"%d" % number
        try:
            await world.push(content)
        except StoreFull:
            return Digest.of(content)
    raise AssertionError("the database is never full")


async def test_a_blob_that_could_not_be_linked_leaves_nothing(world: World) -> None:
    refused = await fill_links(world)
    with pytest.raises(BlobUnknown):
        await world.content.size(refused)
    assert not any(name.startswith("sha") for name in world.files())


async def test_content_that_was_there_stays_though_it_cannot_be_linked_once_more(
    world: World,
) -> None:
    await world.push(home=ELSEWHERE)
    await fill_links(world)
    with pytest.raises(StoreFull):
        await world.push()
    assert await world.content.size(DIGEST) == len(BLOB)


async def test_a_failure_that_may_have_linked_the_blob_keeps_its_bytes(world: World) -> None:
    read_only(world)
    with pytest.raises(Unavailable):
        await world.push()
    assert await world.content.size(DIGEST) == len(BLOB)


async def test_a_refused_manifest_is_not_stored(world: World) -> None:
    with pytest.raises(ManifestBlobUnknown):
        await world.push_manifest(image().top)
    assert world.files() == set()


# ── an upload that goes on meanwhile ─────────────────────────────────────────────────────────


class Slipping(FilesystemContentStore):
    """A store in which another request appends as soon as an append has ended."""

    async def ingest(self, upload: str, **options: Any) -> Any:
        return SlippedIn(await super().ingest(upload, **options))


class SlippedIn:
    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self.offset, self.commit, self.abort = ingest.offset, ingest.commit, ingest.abort

    async def append(self, chunks: Any, *, at: int | None = None) -> int:
        offset = await self._ingest.append(chunks, at=at)
        await self._ingest.append(arriving(b"slipped in"))
        return offset


async def test_bytes_that_slip_in_before_the_close_cost_nothing(world: World) -> None:
    upload = (await world.registry().uploads.start(ANONYMOUS, HOME)).id
    slipping = world.registry(Slipping(world.root / "content", durable=False)).uploads
    with pytest.raises(UploadOutOfOrder) as refused:
        await slipping.finish(ANONYMOUS, HOME, upload, DIGEST, arriving(BLOB), at=0)
    assert refused.value.offset == len(BLOB + b"slipped in")
    whole = Digest.of(BLOB + b"slipped in")
    await world.registry().uploads.finish(ANONYMOUS, HOME, upload, whole, None, at=None)
    assert await world.registry().blobs.size(HOME, whole) == len(BLOB + b"slipped in")


# ── referrers listed by older clients ────────────────────────────────────────────────────────


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "unreadable"])
async def test_a_list_that_cannot_be_read_now_is_not_taken_for_none(
    world: World, lost: bool
) -> None:
    listing = index().top
    await world.push_manifest(listing, fallback_tag(DIGEST))
    path = world.content._blobs.path(Digest.of(listing.content))
    os.unlink(path)
    if not lost:
        os.mkdir(path)  # a disk that refuses
    referrers = world.registry().referrers
    asked = referrers.list(HOME, DIGEST, artifact_type=None, after=None, limit=10)
    if lost:
        assert (await asked).records == ()
    else:
        with pytest.raises(Unavailable):
            await asked


async def test_a_long_list_of_what_is_not_here_is_searched_to_its_end(world: World) -> None:
    held = index(annotations={"a": "b"}).top
    await world.push_manifest(held)
    absent = [
        {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(b"%d" % n)), "size": 1}
        for n in range(2000)
    ]
    listing = index(absent=[*absent, held.descriptor()]).top
    await world.push_manifest(listing, fallback_tag(DIGEST))
    page = await world.registry().referrers.list(
        HOME, DIGEST, artifact_type=None, after=None, limit=10
    )
    assert [str(record.digest) for record in page.records] == [held.digest]
    assert page.records[0].media_type == OCI_INDEX
    assert not page.more
