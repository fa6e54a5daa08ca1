"""What lies where below the root, and who may read it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.adapters.content_stores.filesystem import FilesystemContentStore
from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUploadUnknown, Unavailable
from entrepot.ports.delivery import File, Inline
from entrepot.testing.sources import arriving

LARGE = b"large" * 100_000


def files(directory: Path) -> set[str]:
    """Return all files below a directory, relative to it."""
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    mask: int = request.param
    former = os.umask(mask)
    yield mask
    os.umask(former)


async def test_content_lies_under_its_digest(root: Path, store: FilesystemContentStore) -> None:
    for content, algorithm in ((b"one", "sha256"), (b"two", "sha512"), (LARGE, "sha256")):
        digest = Digest.of(content, algorithm)
        await store.put(digest, content)
        path = root / "blobs" / algorithm / digest.hex[:2] / digest.hex
        assert path.read_bytes() == content
    assert files(root / "ingests") == set()


async def test_content_is_read_only_for_those_whom_the_umask_allows(
    umask: int, root: Path, store: FilesystemContentStore
) -> None:
    await store.put(Digest.of(b"put"), b"put")
    ingest = await store.ingest("upload", create=True)
    await ingest.append(arriving(LARGE))
    await ingest.commit(Digest.of(LARGE))
    modes = [path.stat().st_mode & 0o777 for path in (root / "blobs").rglob("*") if path.is_file()]
    assert modes == [0o444 & ~umask] * 2


async def test_large_content_is_delivered_as_its_file(
    root: Path, store: FilesystemContentStore
) -> None:
    digest = Digest.of(LARGE)
    await store.put(digest, LARGE)
    path = root / "blobs" / "sha256" / digest.hex[:2] / digest.hex
    assert await store.open(digest) == File(path, 0, len(LARGE))
    assert await store.open(digest, 10) == File(path, 10, len(LARGE) - 10)
    assert await store.open(digest, 10, 5) == File(path, 10, 5)


async def test_small_content_is_delivered_from_memory(
    root: Path, store: FilesystemContentStore
) -> None:
    digest = Digest.of(b"small")
    await store.put(digest, b"small")
    (root / "blobs" / "sha256" / digest.hex[:2] / digest.hex).write_bytes(b"not read")
    assert await store.open(digest) == Inline(b"small")


async def test_nothing_is_left_of_an_ingest_that_ended(
    root: Path, store: FilesystemContentStore
) -> None:
    committed = await store.ingest("committed", create=True)
    await committed.append(arriving(LARGE))
    await committed.commit(Digest.of(LARGE))
    existing = await store.ingest("existing", create=True)
    await existing.append(arriving(LARGE))
    await existing.commit(Digest.of(LARGE))
    aborted = await store.ingest("aborted", create=True)
    await aborted.append(arriving(LARGE))
    await aborted.abort()
    assert list((root / "ingests").iterdir()) == []


@pytest.mark.parametrize("remains", [[], ["checkpoint"]])
async def test_what_a_crash_left_of_an_ended_ingest_is_listed_and_cleared(
    root: Path, store: FilesystemContentStore, remains: list[str]
) -> None:
    """A process may die between the last rename and the removal of the directory."""
    (root / "ingests" / "upload").mkdir()
    for name in remains:
        (root / "ingests" / "upload" / name).touch()
    assert [upload async for upload, _ in store.ingests()] == ["upload"]
    ingest = await store.ingest("upload")
    with pytest.raises(BlobUploadUnknown):
        await ingest.offset()
    with pytest.raises(BlobUploadUnknown):
        await ingest.append(arriving(b"more"))
    await ingest.abort()
    assert list((root / "ingests").iterdir()) == []


async def test_strangers_files_are_passed_over(root: Path, store: FilesystemContentStore) -> None:
    (root / "ingests" / "lost+found").mkdir()
    (root / "ingests" / "note").touch()
    (root / "blobs" / "sha256" / "note").touch()
    (root / "blobs" / "sha256" / "lost+found").mkdir()
    (root / "blobs" / "sha256" / "lost+found" / "0123").touch()
    assert [entry async for entry in store.ingests()] == []
    assert [digest async for digest in store.digests()] == []


async def test_content_cut_by_a_power_loss_is_mended_when_it_comes_again(
    root: Path, store: FilesystemContentStore
) -> None:
    """It can only happen to a store that is not durable."""
    digest = Digest.of(LARGE)
    await store.put(digest, LARGE)
    os.truncate(root / "blobs" / "sha256" / digest.hex[:2] / digest.hex, 100)
    await store.put(digest, LARGE)
    assert await store.read(digest, len(LARGE)) == LARGE


async def test_a_root_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable):
        FilesystemContentStore(tmp_path / "file" / "store")
