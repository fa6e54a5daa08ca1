"""Large blobs from a layout to a registry: read, hashed and sent by one thread each."""

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from entrepot.adapters.ends.layout import LayoutEnd
from entrepot.adapters.ends.layout_source import blob_name
from entrepot.adapters.remotes.repository import HttpRepository
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.errors import BlobUnknown, DigestInvalid
from entrepot.services.verified_blob import StoredBlob, verified_blob
from entrepot.testing import MockRegistry
from entrepot.testing.image_end_contents import blob
from entrepot.testing.mock_connection_faults import AcceptThenFail, DoThenDrop, LoseUpload
from entrepot.testing.mock_faults import Status
from tests.remote_registries import name, remote

CONTENT = random.Random(5).randbytes(20_000_001)
UPLOADS = "*/blobs/uploads/*"


@pytest.fixture
def mock() -> Iterator[MockRegistry]:
    with MockRegistry() as registry:
        yield registry


@pytest.fixture
async def descriptor(tmp_path: Path) -> Descriptor:
    content = blob(CONTENT)
    await LayoutEnd(tmp_path).put_blob(content)
    return content.descriptor


@pytest.fixture
async def repository(mock: MockRegistry) -> AsyncIterator[HttpRepository]:
    async with remote(mock.host) as registry:
        yield registry.repository(name())


async def push(folder: Path, descriptor: Descriptor, repository: HttpRepository) -> StoredBlob:
    content = verified_blob(LayoutEnd(folder), descriptor, lambda _event: None)
    assert isinstance(content, StoredBlob)
    await repository.put_blob(content)
    return content


async def test_a_blob_arrives_whole(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, tmp_path: Path
) -> None:
    content = await push(tmp_path, descriptor, repository)
    assert mock.blob(descriptor.digest) == CONTENT
    assert content.read_bytes == len(CONTENT)


@pytest.mark.parametrize(
    "fault",
    [
        AcceptThenFail(9_000_001),
        AcceptThenFail(9_000_001, keep=False),
        DoThenDrop(),
        LoseUpload(),
        Status(503),
    ],
)
async def test_what_broke_off_is_pushed_in_the_end(
    mock: MockRegistry,
    repository: HttpRepository,
    descriptor: Descriptor,
    tmp_path: Path,
    fault: object,
) -> None:
    mock.fault(fault, method="PATCH", path=UPLOADS)  # type: ignore[arg-type]
    await push(tmp_path, descriptor, repository)
    assert mock.blob(descriptor.digest) == CONTENT


async def test_a_damaged_file_is_refused_before_it_is_whole_in_the_registry(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, tmp_path: Path
) -> None:
    place = tmp_path / blob_name(descriptor.digest)
    place.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    with pytest.raises(DigestInvalid):
        await push(tmp_path, descriptor, repository)
    assert not mock.matching("PUT", UPLOADS)
    assert not await repository.has_blob(descriptor)


async def test_a_file_that_is_gone_is_named(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, tmp_path: Path
) -> None:
    (tmp_path / blob_name(descriptor.digest)).unlink()
    with pytest.raises(BlobUnknown, match="layout is not whole"):
        await push(tmp_path, descriptor, repository)
