"""Our own store as an End: blobs mounted, uploads continued, whatever others do meanwhile."""

import asyncio
from pathlib import Path

import pytest

from entrepot.bootstrap import assemble
from entrepot.config import Settings
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ConnectionLost, DigestInvalid, ManifestUnknown
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.metadata_store import MetadataStore
from entrepot.services.registry import Registry
from entrepot.services.store_end import StoreEnd
from entrepot.testing import MemoryContentStore
from entrepot.testing import example_images as examples
from entrepot.testing.image_end_contents import MIB, blob, blob_of, fill
from tests.unit.services.conftest import SetClock
from tests.unit.services.examples import ALPHA, BETA

CONTENT = bytes(range(251)) * (3 * MIB // 251)


@pytest.fixture
def registry(metadata: MetadataStore, content: MemoryContentStore, clock: SetClock) -> Registry:
    numbers = iter(range(1000))
    return assemble(
        Settings(), content, metadata, clock=clock, new_id=lambda: f"upload-{next(numbers)}"
    )


@pytest.fixture
def end(registry: Registry) -> StoreEnd:
    return StoreEnd(registry, ALPHA)


async def test_a_blob_is_mounted_from_another_repository(registry: Registry, end: StoreEnd) -> None:
    content, other = blob(CONTENT), StoreEnd(registry, BETA)
    assert not await other.mount(content.descriptor, end)
    await end.put_blob(content)
    assert not await other.has_blob(content.descriptor)
    assert await other.mount(content.descriptor, end)
    assert await blob_of(other, content.descriptor) == CONTENT


async def test_another_process_continues_an_upload(registry: Registry) -> None:
    with pytest.raises(ConnectionLost):
        await StoreEnd(registry, ALPHA).put_blob(blob(CONTENT, breaks_at=2 * MIB))
    again = blob(CONTENT)
    await StoreEnd(registry, ALPHA).put_blob(again)
    assert again.offsets == [2 * MIB]


async def test_another_repository_does_not(registry: Registry, end: StoreEnd) -> None:
    with pytest.raises(ConnectionLost):
        await end.put_blob(blob(CONTENT, breaks_at=2 * MIB))
    again = blob(CONTENT)
    await StoreEnd(registry, BETA).put_blob(again)
    assert again.offsets == [0]


async def test_an_upload_whose_session_has_ended_is_begun_anew(
    end: StoreEnd, metadata: MetadataStore, content: MemoryContentStore
) -> None:
    with pytest.raises(ConnectionLost):
        await end.put_blob(blob(CONTENT, breaks_at=2 * MIB))
    (upload,) = content.arriving
    await metadata.uploads.end(upload)
    await end.put_blob(blob(CONTENT))
    assert await end.has_blob(blob(CONTENT).descriptor)


async def test_an_upload_whose_bytes_are_gone_is_begun_anew(
    end: StoreEnd, content: MemoryContentStore
) -> None:
    with pytest.raises(ConnectionLost):
        await end.put_blob(blob(CONTENT, breaks_at=2 * MIB))
    content.arriving.clear()
    await end.put_blob(blob(CONTENT))
    assert await end.has_blob(blob(CONTENT).descriptor)


async def test_wrong_bytes_leave_no_upload(end: StoreEnd, content: MemoryContentStore) -> None:
    with pytest.raises(DigestInvalid):
        await end.put_blob(blob(CONTENT[::-1], blob(CONTENT).descriptor))
    assert content.arriving == {}


async def test_whoever_comes_second_does_not_wait(end: StoreEnd) -> None:
    slow = blob(CONTENT, stalls_at=MIB)
    first = asyncio.ensure_future(end.put_blob(slow))
    await slow.reached.wait()
    await end.put_blob(blob(CONTENT))
    slow.resume()
    await first
    assert await blob_of(end, slow.descriptor) == CONTENT


async def test_latest_is_meant_where_nothing_is_named(end: StoreEnd) -> None:
    await fill(end, examples.image("other"), "1.0")
    await fill(end, examples.image("latest"), "latest")
    assert (await end.resolve()).digest == examples.image("latest").root.digest


async def test_an_image_without_a_tag_is_not_guessed(end: StoreEnd) -> None:
    await fill(end, examples.image())
    with pytest.raises(ManifestUnknown, match="no image with a tag"):
        await end.resolve()


async def test_what_is_not_there_is_answered_with_what_is(end: StoreEnd) -> None:
    await fill(end, examples.image(), "1.0", "2.0")
    with pytest.raises(ManifestUnknown, match=r"there are 1\.0, 2\.0"):
        await end.resolve(Tag("3.0"))


async def test_only_what_the_repository_holds_is_read(registry: Registry, end: StoreEnd) -> None:
    image = examples.image()
    await fill(end, image, "1.0")
    other = StoreEnd(registry, RepositoryName("somebody/else"))
    assert not await other.has_manifest(image.root)
    for descriptor in image.blobs:
        assert not await other.has_blob(descriptor)


async def test_more_referrers_than_a_page_are_listed(end: StoreEnd, tmp_path: Path) -> None:
    subject = examples.image().root
    for number in range(7):
        await fill(end, examples.artifact(subject, payload=b"%d" % number))
    found = await end.referrers(subject.digest)
    assert len({one.digest for one in found}) == 7
    assert await end.referrers(Digest.of(b"nothing")) == []
