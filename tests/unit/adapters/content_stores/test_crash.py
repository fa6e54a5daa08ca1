"""A process may be killed at any moment: content is whole or absent, and uploads go on."""

import asyncio
import hashlib
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from entrepot.adapters.content_stores.filesystem import FilesystemContentStore
from entrepot.oci.digest import Digest
from entrepot.oci.errors import UploadBusy
from entrepot.testing.sources import arriving

UPLOADER = Path(__file__).with_name("uploader.py")
PIECE = bytes(range(256)) * 256
PIECES = 200


@contextmanager
def uploader(root: Path, task: str) -> Iterator["subprocess.Popen[str]"]:
    """Start an uploader; kill it in the end with SIGKILL."""
    command = [sys.executable, str(UPLOADER), str(root), task]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def assert_whole(root: Path, seen: "set[Path] | None" = None) -> None:
    """Assert that every file below blobs/ that was not `seen` is the content its name says."""
    seen = set() if seen is None else seen
    for path in (root / "blobs").rglob("*"):
        if path.is_file() and path not in seen:
            algorithm = path.parent.parent.name
            assert hashlib.new(algorithm, path.read_bytes()).hexdigest() == path.name
            seen.add(path)


async def test_an_upload_goes_on_after_its_process_was_killed(
    root: Path, store: FilesystemContentStore
) -> None:
    content = PIECE * (PIECES + 10)
    with uploader(root, "stall") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "all sent\n"
        ingest = await store.ingest("upload")
        with pytest.raises(UploadBusy):
            await ingest.append(arriving(b"meanwhile"))
    offset = await ingest.offset()
    assert 0 < offset <= len(PIECE) * PIECES
    assert [digest async for digest in store.digests()] == []
    await ingest.append(arriving(content[offset:]), at=offset)
    assert await ingest.commit(Digest.of(content)) == len(content)
    assert_whole(root)


def push_until_killed(root: Path, seconds: float) -> set[str]:
    """Let an uploader push until it is killed, `seconds` after its first commit; return the
    digests it told to be stored."""
    with uploader(root, "push") as process:
        assert process.stdout is not None
        acknowledged = {process.stdout.readline().strip()}
        threading.Timer(seconds, process.kill).start()
        # The last line may have been cut short by the kill.
        return acknowledged | {line.strip() for line in process.stdout if line.endswith("\n")}


async def crash_rounds(root: Path, store: FilesystemContentStore, rounds: int) -> None:
    """Kill two uploaders at a time, again and again, on the same root."""
    moments = random.Random(rounds)
    acknowledged: set[str] = set()
    seen: set[Path] = set()
    for _ in range(rounds):
        seconds = [moments.uniform(0, 0.1) for _ in range(2)]
        pushes = (asyncio.to_thread(push_until_killed, root, each) for each in seconds)
        acknowledged.update(*await asyncio.gather(*pushes))
        assert_whole(root, seen)
    assert len(acknowledged) >= 2 * rounds
    for text in acknowledged:
        assert await store.size(Digest.parse(text)) > 0
    for upload in [upload async for upload, _ in store.ingests()]:
        await (await store.ingest(upload)).abort()
    assert list((root / "ingests").iterdir()) == []


async def test_content_is_whole_whenever_its_process_was_killed(
    root: Path, store: FilesystemContentStore
) -> None:
    await crash_rounds(root, store, 2)


@pytest.mark.slow
async def test_content_is_whole_after_many_kills(root: Path, store: FilesystemContentStore) -> None:
    await crash_rounds(root, store, 40)
