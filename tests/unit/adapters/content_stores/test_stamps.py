"""A stamp tells that a file was changed behind the store's back (row CA-08 of the capabilities)."""

import os
from pathlib import Path

import pytest

from entrepot.adapters.content_stores.filesystem import SMALL, FilesystemContentStore
from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUnknown
from entrepot.ports.content_store import CanStamp
from entrepot.testing.deliveries import collect

SMALL_ONE = b"small content"
LARGE_ONE = os.urandom(SMALL + 1)


def file_of(root: Path, digest: Digest) -> Path:
    return next((root / "blobs").rglob(digest.hex))


@pytest.mark.parametrize("content", [SMALL_ONE, LARGE_ONE], ids=["small", "large"])
async def test_a_stamp_stays_until_the_file_is_written_to(
    store: FilesystemContentStore, root: Path, content: bytes
) -> None:
    assert isinstance(store, CanStamp)
    digest = Digest.of(content)
    await store.put(digest, content)
    stamp = await store.stamp(digest)
    await collect(await store.open(digest))
    assert await store.stamp(digest) == stamp
    file = file_of(root, digest)
    file.chmod(0o644)
    with file.open("r+b") as opened:
        opened.write(b"X")
    assert await store.stamp(digest) != stamp


async def test_memory_does_not_hide_a_changed_file_from_who_has_asked(
    store: FilesystemContentStore, root: Path
) -> None:
    digest = Digest.of(SMALL_ONE)
    await store.put(digest, SMALL_ONE)
    await store.stamp(digest)
    file = file_of(root, digest)
    file.chmod(0o644)
    file.write_bytes(b"other")
    await store.stamp(digest)
    assert await store.read(digest, 100) == b"other"


async def test_what_is_absent_has_no_stamp(store: FilesystemContentStore) -> None:
    with pytest.raises(BlobUnknown):
        await store.stamp(Digest.of(b"absent"))
