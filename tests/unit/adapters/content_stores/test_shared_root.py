"""Processes that share a root hand uploads to each other, and read data again only if they must.

Two instances share no memory but the root, like two processes. That data are not read again is
shown by changing them on the disk: only a store that does not look can be taken in.
"""

import asyncio
import errno
import os
from pathlib import Path
from threading import Thread

import pytest

from entrepot.adapters.content_stores.filesystem import FilesystemContentStore
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    BlobUnknown,
    BlobUploadUnknown,
    DigestInvalid,
    RegistryError,
    UploadBusy,
)
from entrepot.testing import collect
from entrepot.testing.sources import Stalled, arriving

FIRST = b"first " * 50_000
SECOND = b"second " * 50_000
THIRD = b"third " * 50_000


def data_file(root: Path) -> Path:
    """Return where the bytes of the upload `upload` lie."""
    (path,) = (root / "ingests" / "upload").glob("sha*")
    return path


def tamper(root: Path) -> None:
    """Change the upload's first bytes, behind the back of those who hashed them."""
    with data_file(root).open("r+b") as data:
        data.write(b"FIRST")


def reboot(root: Path) -> None:
    """Make the upload's checkpoint one of a kernel that no longer runs."""
    checkpoint = root / "ingests" / "upload" / "checkpoint"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    text = checkpoint.read_text()
    assert boot in text
    checkpoint.write_text(text.replace(boot, "5c0f1f2e-0000-4000-8000-000000000000"))


async def begin(store: FilesystemContentStore, content: bytes) -> None:
    ingest = await store.ingest("upload", create=True)
    await ingest.append(arriving(content))


async def resume(store: FilesystemContentStore, content: bytes) -> None:
    ingest = await store.ingest("upload")
    await ingest.append(arriving(content))


async def commit(store: FilesystemContentStore, digest: Digest) -> int:
    return await (await store.ingest("upload")).commit(digest)


async def test_what_one_process_hashed_another_commits_unread(
    root: Path, store: FilesystemContentStore, other: FilesystemContentStore
) -> None:
    await begin(store, FIRST)
    tamper(root)
    assert await commit(other, Digest.of(FIRST)) == len(FIRST)


async def test_a_process_commits_unread_what_it_hashed_itself(
    root: Path, store: FilesystemContentStore
) -> None:
    await begin(store, FIRST)
    (root / "ingests" / "upload" / "checkpoint").unlink()
    tamper(root)
    assert await commit(store, Digest.of(FIRST)) == len(FIRST)


async def test_a_process_reads_only_what_others_wrote_meanwhile(
    root: Path, store: FilesystemContentStore, other: FilesystemContentStore
) -> None:
    await begin(store, FIRST)
    await resume(other, SECOND)
    tamper(root)
    await resume(store, THIRD)
    assert await commit(store, Digest.of(FIRST + SECOND + THIRD)) > 0


async def test_a_process_that_joins_reads_what_came_before(
    store: FilesystemContentStore, other: FilesystemContentStore
) -> None:
    await begin(store, FIRST)
    await resume(other, SECOND)
    assert await commit(other, Digest.of(FIRST + SECOND)) > 0


async def test_after_a_reboot_the_data_are_read_again(
    root: Path, store: FilesystemContentStore, other: FilesystemContentStore
) -> None:
    await begin(store, FIRST)
    reboot(root)
    tamper(root)
    with pytest.raises(DigestInvalid):
        await commit(other, Digest.of(FIRST))


async def test_bytes_behind_the_checkpoint_are_read(
    root: Path, store: FilesystemContentStore, other: FilesystemContentStore
) -> None:
    """As after an append whose process was killed."""
    await begin(store, FIRST)
    with data_file(root).open("ab") as data:
        data.write(SECOND)
    assert await commit(other, Digest.of(FIRST + SECOND)) > 0


@pytest.mark.parametrize("text", ["", "sha256-", "a b c d", "\0\0\0", "é", "1 2 3 4 5"])
async def test_a_spoiled_checkpoint_does_not_count(
    root: Path, store: FilesystemContentStore, other: FilesystemContentStore, text: str
) -> None:
    await begin(store, FIRST)
    (root / "ingests" / "upload" / "checkpoint").write_text(text, "utf-8")
    assert await commit(other, Digest.of(FIRST)) == len(FIRST)


async def test_a_former_ingests_checkpoint_does_not_count(
    root: Path, store: FilesystemContentStore, other: FilesystemContentStore
) -> None:
    await begin(store, FIRST)
    former = (root / "ingests" / "upload" / "checkpoint").read_text()
    await (await store.ingest("upload")).abort()
    await begin(store, FIRST)
    (root / "ingests" / "upload" / "checkpoint").write_text(former)
    tamper(root)
    with pytest.raises(DigestInvalid):
        await commit(other, Digest.of(FIRST))


async def test_an_algorithm_known_only_at_the_commit_reads_the_data(
    root: Path, store: FilesystemContentStore, other: FilesystemContentStore
) -> None:
    await begin(store, FIRST)
    tamper(root)
    with pytest.raises(DigestInvalid):
        await commit(other, Digest.of(FIRST, "sha512"))


async def test_an_id_used_again_elsewhere_is_another_ingest(
    store: FilesystemContentStore, other: FilesystemContentStore
) -> None:
    """The hash that a process keeps of an upload must not serve a later one with its id."""
    await begin(store, FIRST)
    await (await other.ingest("upload")).abort()
    await begin(other, SECOND)
    with pytest.raises(DigestInvalid):
        await commit(store, Digest.of(FIRST + SECOND))


async def test_one_process_writes_at_a_time(
    store: FilesystemContentStore, other: FilesystemContentStore
) -> None:
    ingest = await store.ingest("upload", create=True)
    source = Stalled(FIRST)
    appending = asyncio.create_task(ingest.append(source))
    await source.reached.wait()
    with pytest.raises(UploadBusy):
        await resume(other, SECOND)
    with pytest.raises(UploadBusy):
        await commit(other, Digest.of(FIRST))
    source.resume()
    await appending
    await resume(other, SECOND)
    assert await commit(store, Digest.of(FIRST + SECOND)) > 0


async def test_abort_elsewhere_ends_an_append(
    store: FilesystemContentStore, other: FilesystemContentStore
) -> None:
    ingest = await store.ingest("upload", create=True)
    source = Stalled(FIRST)
    appending = asyncio.create_task(ingest.append(source))
    await source.reached.wait()
    await (await other.ingest("upload")).abort()
    source.resume()
    with pytest.raises(BlobUploadUnknown):
        await appending


async def test_a_delete_elsewhere_is_seen_on_the_disk(
    store: FilesystemContentStore, other: FilesystemContentStore
) -> None:
    digest = Digest.of(b"small")
    await store.put(digest, b"small")
    await other.delete(digest)
    with pytest.raises(BlobUnknown):
        await store.size(digest)


@pytest.mark.parametrize("round_", range(10))
async def test_content_never_changes_by_an_append_that_comes_too_late(
    round_: int, store: FilesystemContentStore, other: FilesystemContentStore
) -> None:
    await begin(store, FIRST)
    late = await other.ingest("upload")
    digest = Digest.of(FIRST)
    _, refused = await asyncio.gather(
        commit(store, digest), late.append(arriving(SECOND)), return_exceptions=True
    )
    if isinstance(refused, RegistryError):
        assert await collect(await other.open(digest)) == FIRST
    else:
        with pytest.raises(BlobUnknown):
            await store.size(digest)


# Collecting garbage

OLD = 1_000_000_000.0


def age(root: Path, digest: Digest) -> Path:
    """Make content one that nobody has used for years."""
    path = root / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex
    os.utime(path, (OLD, OLD))
    return path


async def test_what_comes_again_while_it_is_collected_is_there_afterwards(
    root: Path,
    store: FilesystemContentStore,
    other: FilesystemContentStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A push between the look at the last use and the removal would rely on what is going."""
    digest = Digest.of(FIRST)
    await store.put(digest, FIRST)
    path, unlink = age(root, digest), os.unlink
    pushing = Thread(target=other._put, args=(digest, FIRST))

    def late(doomed: str) -> None:
        if doomed == str(path):
            pushing.start()
            pushing.join(0.3)  # it ends within milliseconds, unless it waits for us
        unlink(doomed)

    monkeypatch.setattr(os, "unlink", late)
    assert await store.delete(digest, unused_since=OLD + 1)
    await asyncio.to_thread(pushing.join)
    assert await other.size(digest) == len(FIRST)


async def test_a_commit_is_a_use_however_long_ago_the_bytes_came(
    root: Path, store: FilesystemContentStore
) -> None:
    await begin(store, FIRST)
    os.utime(data_file(root), (OLD, OLD))
    await commit(store, Digest.of(FIRST))
    assert not await store.delete(Digest.of(FIRST), unused_since=OLD + 1)


async def test_a_commit_that_is_withdrawn_takes_its_content_along(
    store: FilesystemContentStore,
) -> None:
    await begin(store, FIRST)
    ingest = await store.ingest("upload")
    await ingest.commit(Digest.of(FIRST))
    await ingest.withdraw()
    with pytest.raises(BlobUnknown):
        await store.size(Digest.of(FIRST))
    await ingest.withdraw()  # there is no more to take back


@pytest.mark.parametrize("order", ["before", "after"])
async def test_what_another_push_relies_on_is_not_withdrawn(
    store: FilesystemContentStore, other: FilesystemContentStore, order: str
) -> None:
    digest = Digest.of(FIRST)
    await begin(store, FIRST)
    ingest = await store.ingest("upload")
    if order == "before":
        await other.put(digest, FIRST)
    await ingest.commit(digest)
    if order == "after":
        await other.put(digest, FIRST)
    await ingest.withdraw()
    assert await store.size(digest) == len(FIRST)


async def test_content_whose_use_cannot_be_noted_is_replaced(
    root: Path, store: FilesystemContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its owner may change a file's times; others may still put their own in its place."""
    digest = Digest.of(FIRST)
    await store.put(digest, FIRST)
    path = age(root, digest)
    former, utime = path.stat().st_ino, os.utime

    def as_stranger(file: int | str, *arguments: object, **named: object) -> None:
        if isinstance(file, str):
            raise PermissionError(errno.EPERM, "not the owner")
        utime(file, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "utime", as_stranger)
    await store.put(digest, FIRST)
    assert path.stat().st_ino != former
    assert not await store.delete(digest, unused_since=OLD + 1)
