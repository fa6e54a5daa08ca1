"""Large blobs from a registry into a layout: written past the page cache, continued, refused."""

import asyncio
import mmap
import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from entrepot.adapters.ends.direct_writing import BLOCK, DirectFile
from entrepot.adapters.ends.layout import LayoutEnd
from entrepot.adapters.remotes.repository import HttpRepository
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.errors import ConnectionLost, DigestInvalid
from entrepot.services.verified_blob import PouredBlob, verified_blob
from entrepot.testing import MockRegistry
from entrepot.testing.image_end_contents import blob_of
from entrepot.testing.mock_connection_faults import Stall, Truncate
from tests.remote_registries import name, remote
from tests.waiting import wait_until

CONTENT = random.Random(5).randbytes(20_000_001)
BLOBS = "*/blobs/*"


@pytest.fixture
def mock() -> Iterator[MockRegistry]:
    with MockRegistry() as registry:
        yield registry


@pytest.fixture
def descriptor(mock: MockRegistry) -> Descriptor:
    return mock.add_blob("tests/one", CONTENT)


@pytest.fixture
async def repository(mock: MockRegistry) -> AsyncIterator[HttpRepository]:
    async with remote(mock.host) as registry:
        yield registry.repository(name())


async def pull(repository: HttpRepository, descriptor: Descriptor, folder: Path) -> None:
    content = verified_blob(repository, descriptor, lambda _event: None)
    assert isinstance(content, PouredBlob)
    await LayoutEnd(folder).put_blob(content)


def partial(folder: Path, descriptor: Descriptor) -> Path:
    return folder / f"blobs/sha256/.{descriptor.digest.hex}.partial"


async def test_a_blob_arrives_whole_however_often_it_breaks(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, tmp_path: Path
) -> None:
    mock.fault(Truncate(9_999_999), path=BLOBS)
    mock.fault(Truncate(5_000_000), path=BLOBS, after=1)
    await pull(repository, descriptor, tmp_path)
    assert await blob_of(LayoutEnd(tmp_path), descriptor) == CONTENT
    assert mock.bytes_sent < 1.1 * len(CONTENT)
    assert not partial(tmp_path, descriptor).exists()


@pytest.mark.parametrize("there", [1, 1 << 20, 9_000_000])
async def test_what_another_process_left_is_continued(
    mock: MockRegistry,
    repository: HttpRepository,
    descriptor: Descriptor,
    tmp_path: Path,
    there: int,
) -> None:
    place = partial(tmp_path, descriptor)
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT[:there])
    await pull(repository, descriptor, tmp_path)
    assert [one.header("range") for one in mock.matching("GET", BLOBS)] == [f"bytes={there}-"]
    assert await blob_of(LayoutEnd(tmp_path), descriptor) == CONTENT


async def test_a_damaged_beginning_is_noticed_and_begun_anew(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, tmp_path: Path
) -> None:
    place = partial(tmp_path, descriptor)
    place.parent.mkdir(parents=True)
    place.write_bytes(bytes(1 << 20))
    await pull(repository, descriptor, tmp_path)
    assert await blob_of(LayoutEnd(tmp_path), descriptor) == CONTENT


async def test_wrong_bytes_are_refused_and_not_kept(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, tmp_path: Path
) -> None:
    mock.store.contents[descriptor.digest] = mock.store.contents[
        mock.add_blob("tests/one", CONTENT[::-1]).digest
    ]
    with pytest.raises(DigestInvalid):
        await pull(repository, descriptor, tmp_path)
    assert os.listdir(partial(tmp_path, descriptor).parent) == []


@pytest.mark.parametrize("ends", ["cancelled", "lost"])
async def test_what_came_before_the_end_is_kept(
    mock: MockRegistry,
    repository: HttpRepository,
    descriptor: Descriptor,
    tmp_path: Path,
    ends: str,
) -> None:
    place = partial(tmp_path, descriptor)
    if ends == "lost":
        mock.fault(Truncate(0), path=BLOBS, times=None, after=1)
        mock.fault(Truncate(12_000_000), path=BLOBS)
        with pytest.raises(ConnectionLost):
            await pull(repository, descriptor, tmp_path)
        assert place.stat().st_size == 12_000_000
    else:
        mock.fault(Stall(12_000_000), path=BLOBS)
        pulling = asyncio.create_task(pull(repository, descriptor, tmp_path))
        await asyncio.to_thread(
            wait_until, lambda: place.exists() and place.stat().st_size >= 11 << 20
        )
        pulling.cancel()
        async with asyncio.timeout(1):
            await asyncio.wait([pulling])
        assert pulling.cancelled()
    kept = place.read_bytes()
    assert len(kept) >= 11 << 20
    assert CONTENT.startswith(kept)


@pytest.mark.parametrize("begun", [0, 4096])
def test_aligned_blocks_and_odd_chunks_follow_one_another(tmp_path: Path, begun: int) -> None:
    """Blocks of whole pages are written as they are; what stands before them is not lost."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT[:begun])
    file = os.open(path, os.O_RDWR | os.O_APPEND)
    direct = DirectFile.of(path, file, begun)
    if direct is None:
        pytest.skip("this file system has no direct writes")
    block = mmap.mmap(-1, BLOCK)
    at = begun
    for length in (BLOCK, BLOCK, 5, BLOCK, 2 * BLOCK, BLOCK - 5, BLOCK, 77):
        chunk = CONTENT[at : at + length]
        at += length
        if length == BLOCK:
            block[:] = chunk
            direct.write([memoryview(block)])
        else:
            direct.write([chunk])
    direct.flush()
    direct.close()
    os.close(file)
    assert path.read_bytes() == CONTENT[:at]
