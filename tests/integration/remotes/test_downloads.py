"""Blobs are read to their last byte, wherever the connection breaks, and never beyond it."""

import random
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from entrepot.adapters.remotes.repository import HttpRepository
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.errors import BlobUnknown, ConnectionLost, SizeInvalid
from entrepot.testing import Exchange, MockRegistry, Reply
from entrepot.testing.image_end_contents import blob_of
from entrepot.testing.mock_connection_faults import Reset, Truncate
from entrepot.testing.mock_faults import (
    Endless,
    Headers,
    NoLength,
    NoRange,
    Status,
    WrongLength,
    WrongRange,
)

CONTENT = random.Random(3).randbytes(3_000_000)
BLOBS = "*/blobs/*"


@pytest.fixture
def descriptor(mock: MockRegistry) -> Descriptor:
    return mock.add_blob("tests/one", CONTENT)


Reading = Callable[[HttpRepository, Descriptor, int], Awaitable[bytes]]


async def in_chunks(repository: HttpRepository, descriptor: Descriptor, offset: int) -> bytes:
    return await blob_of(repository, descriptor, offset)


async def poured(repository: HttpRepository, descriptor: Descriptor, offset: int) -> bytes:
    found = bytearray()
    await repository.pour(descriptor, offset, found.extend)
    return bytes(found)


@pytest.fixture(params=[in_chunks, poured])
def read(request: pytest.FixtureRequest) -> Reading:
    """Both ways to have a blob's bytes."""
    return cast(Reading, request.param)


def ranges(mock: MockRegistry) -> list[str | None]:
    return [one.header("range") for one in mock.matching("GET", BLOBS)]


@pytest.mark.parametrize("broken", [Truncate, Reset])
async def test_a_broken_download_goes_on_where_it_broke(
    mock: MockRegistry,
    repository: HttpRepository,
    descriptor: Descriptor,
    read: Reading,
    broken: Any,
) -> None:
    mock.fault(broken(1_000_000), path=BLOBS)
    mock.fault(broken(500_000), path=BLOBS, after=1)
    assert await read(repository, descriptor, 0) == CONTENT
    first, second, third = ranges(mock)
    assert first is None
    assert second is not None
    assert third is not None
    starts = [int(one.removeprefix("bytes=").removesuffix("-")) for one in (second, third)]
    assert 0 < starts[0] < starts[1]
    if broken is Truncate:  # a reset takes along what was not read yet
        assert starts == [1_000_000, 1_500_000]


async def test_every_progress_earns_new_attempts(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, read: Reading
) -> None:
    mock.fault(Truncate(200_000), path=BLOBS, times=14)
    assert await read(repository, descriptor, 0) == CONTENT
    assert len(ranges(mock)) == 15


async def test_without_progress_it_ends(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, read: Reading
) -> None:
    mock.fault(Truncate(0), path=BLOBS, times=None, after=1)
    mock.fault(Truncate(1000), path=BLOBS)
    with pytest.raises(ConnectionLost):
        await read(repository, descriptor, 0)
    assert len(ranges(mock)) == 6


@pytest.mark.parametrize("offset", [0, 1, 2_000_000])
async def test_where_ranges_are_ignored_what_was_read_is_skipped(
    mock: MockRegistry,
    repository: HttpRepository,
    descriptor: Descriptor,
    read: Reading,
    offset: int,
) -> None:
    mock.fault(NoRange(), Truncate(2_500_000), path=BLOBS)
    mock.fault(NoRange(), path=BLOBS, times=None, after=1)
    assert await read(repository, descriptor, offset) == CONTENT[offset:]


@pytest.mark.parametrize("by", [-7, 7])
async def test_a_range_that_was_not_asked_for_is_not_taken(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, read: Reading, by: int
) -> None:
    mock.fault(WrongRange(by, honest=True), path=BLOBS)
    assert await read(repository, descriptor, 1000) == CONTENT[1000:]
    assert ranges(mock) == ["bytes=1000-", None]


async def test_a_range_beyond_the_end_is_not_taken(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, read: Reading
) -> None:
    mock.fault(WrongRange(-7), path=BLOBS)
    assert await read(repository, descriptor, 1000) == CONTENT[1000:]


async def test_a_part_without_content_range_is_not_taken(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, read: Reading
) -> None:
    mock.fault(Headers({"Content-Range": None}), path=BLOBS)
    assert await read(repository, descriptor, 1000) == CONTENT[1000:]


async def test_a_refused_range_is_no_end(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, read: Reading
) -> None:
    mock.fault(Status(416), path=BLOBS)
    assert await read(repository, descriptor, 1000) == CONTENT[1000:]
    assert ranges(mock) == ["bytes=1000-", None]


async def test_a_body_without_a_length_may_break_too(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, read: Reading
) -> None:
    mock.fault(NoLength(), Truncate(1_000_000), path=BLOBS)
    assert await read(repository, descriptor, 0) == CONTENT


@pytest.mark.parametrize("fault", [Endless(), WrongLength(5), WrongLength(-5)])
async def test_another_size_is_refused(
    mock: MockRegistry,
    repository: HttpRepository,
    descriptor: Descriptor,
    fault: Any,
    read: Reading,
) -> None:
    mock.fault(fault, path=BLOBS, times=None)
    taken: list[int] = []

    async def take() -> None:
        if read is poured:
            await repository.pour(descriptor, 0, lambda piece: taken.append(len(piece)))
        else:
            async for chunk in repository.blob(descriptor):
                taken.append(len(chunk))  # noqa: PERF401 - what came before the error counts

    with pytest.raises(SizeInvalid, match=str(descriptor.digest)):
        await take()
    assert sum(taken) <= descriptor.size


async def test_an_endless_body_without_a_length_is_cut(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, read: Reading
) -> None:
    mock.fault(NoLength(), Endless(), path=BLOBS, times=None)
    with pytest.raises(SizeInvalid):
        await read(repository, descriptor, 0)
    assert mock.bytes_sent < 20 * len(CONTENT)


async def test_a_blob_that_is_shorter_everywhere_is_refused(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, read: Reading
) -> None:
    longer = Descriptor(descriptor.media_type, descriptor.digest, descriptor.size + 1)
    mock.fault(NoLength(), path=BLOBS)
    with pytest.raises(SizeInvalid):
        await read(repository, longer, 0)


async def test_an_unknown_blob_is_unknown(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, read: Reading
) -> None:
    mock.fault(Truncate(1000), path=BLOBS)
    mock.fault(Status(404), path=BLOBS, after=1)
    with pytest.raises(BlobUnknown, match=str(descriptor.digest)):
        await read(repository, descriptor, 0)


async def test_bytes_come_as_they_are(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, read: Reading
) -> None:
    await read(repository, descriptor, 0)
    assert mock.matching("GET", BLOBS)[0].header("accept-encoding") == "identity"


async def test_an_empty_blob_is_read(
    mock: MockRegistry, repository: HttpRepository, read: Reading
) -> None:
    empty = mock.add_blob("tests/one", b"")
    assert await read(repository, empty, 0) == b""
    assert await repository.blob_size(empty.digest) == 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 501])
async def test_where_head_is_refused_the_first_byte_tells_the_size(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor, status: int
) -> None:
    mock.fault(Status(status), method="HEAD", path=BLOBS, times=None)
    assert await repository.blob_size(descriptor.digest) == len(CONTENT)
    assert await repository.has_blob(descriptor) == (status != 404)
    assert mock.bytes_sent < 10_000


async def test_a_stub_is_not_the_blob(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor
) -> None:
    async def stub(exchange: Exchange) -> Reply:
        reply = await exchange.proceed()
        return Reply(reply.status, reply.headers)

    mock.fault(stub, method="HEAD", path=BLOBS, times=None)
    assert not await repository.has_blob(descriptor)


async def test_sizes_and_presence(
    mock: MockRegistry, repository: HttpRepository, descriptor: Descriptor
) -> None:
    other = mock.add_blob("tests/other", b"other")
    assert await repository.blob_size(descriptor.digest) == len(CONTENT)
    assert await repository.has_blob(descriptor)
    assert not await repository.has_blob(other)
    with pytest.raises(BlobUnknown):
        await repository.blob_size(other.digest)
