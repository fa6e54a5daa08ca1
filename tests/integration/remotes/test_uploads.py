"""Blobs are pushed in as few requests as they need, continue where they broke off, and are
nowhere unless they are whole."""

import asyncio
import random
from itertools import cycle
from pathlib import Path

import pytest

from entrepot.adapters.remotes.registry import HttpRegistry
from entrepot.adapters.remotes.repository import HttpRepository
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    ConnectionLost,
    Denied,
    DigestInvalid,
    SizeInvalid,
    StoreFull,
    Unavailable,
)
from entrepot.testing import Exchange, MockRegistry, Reply
from entrepot.testing.image_end_contents import ScriptedContent, blob
from entrepot.testing.mock_connection_faults import (
    AcceptThenFail,
    DoThenDrop,
    DropConnection,
    LoseUpload,
    Stall,
    UploadOffsetLies,
)
from entrepot.testing.mock_faults import Headers, Status
from tests.remote_registries import name, remote
from tests.waiting import wait_until

CONTENT = random.Random(5).randbytes(20_000_000)
UPLOADS = "*/blobs/uploads/*"
MIB = 1 << 20


def small() -> ScriptedContent:
    return blob(CONTENT[:100_000])


def large() -> ScriptedContent:
    return blob(CONTENT)


def methods(mock: MockRegistry) -> list[str]:
    return [one.method for one in mock.matching("*", UPLOADS)]


def is_there(mock: MockRegistry, content: ScriptedContent) -> bool:
    """Say whether a blob has arrived; what is there is what it should be."""
    digest = content.descriptor.digest
    if digest not in mock.blobs:
        return False
    assert Digest.of(mock.blob(digest), digest.algorithm) == digest
    return True


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def farthest(mock: MockRegistry) -> int:
    """Return the offset of the upload that has come farthest."""
    return max((one.offset for one in mock.uploads.open.values()), default=0)


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 4 * MIB])
async def test_a_small_blob_is_two_requests(
    mock: MockRegistry, repository: HttpRepository, size: int
) -> None:
    content = blob(CONTENT[:size])
    await repository.put_blob(content)
    assert methods(mock) == ["POST", "PUT"]
    assert is_there(mock, content)


async def test_a_large_blob_is_one_stream(mock: MockRegistry, repository: HttpRepository) -> None:
    content = large()
    await repository.put_blob(content)
    assert methods(mock) == ["POST", "PATCH", "PUT"]
    assert is_there(mock, content)
    assert content.offsets == [0]


@pytest.mark.parametrize("relative", [False, True])
async def test_locations_may_be_relative_and_change(
    mock: MockRegistry, repository: HttpRepository, relative: bool
) -> None:
    mock.abilities.relative_locations = relative
    mock.abilities.changing_locations = True
    mock.fault(AcceptThenFail(9_000_000), method="PATCH")
    content = large()
    await repository.put_blob(content)
    assert is_there(mock, content)


async def test_a_broken_upload_goes_on_where_the_registry_is(
    mock: MockRegistry, repository: HttpRepository
) -> None:
    mock.fault(AcceptThenFail(12_000_000), method="PATCH")
    content = large()
    await repository.put_blob(content)
    assert is_there(mock, content)
    assert methods(mock) == ["POST", "PATCH", "GET", "PATCH", "PUT"]
    assert content.offsets == [0, 12_000_000]
    again = mock.matching("PATCH")[1]
    assert again.header("content-range") == f"12000000-{len(CONTENT) - 1}"


async def test_every_progress_earns_new_attempts(
    mock: MockRegistry, repository: HttpRepository
) -> None:
    mock.fault(AcceptThenFail(2_000_000), method="PATCH", times=8)
    content = large()
    await repository.put_blob(content)
    assert is_there(mock, content)
    assert mock.count("PATCH") == 9
    assert mock.count("POST") == 1


async def test_without_progress_it_ends(mock: MockRegistry, repository: HttpRepository) -> None:
    mock.fault(AcceptThenFail(0), method="PATCH", times=None)
    with pytest.raises(ConnectionLost):
        await repository.put_blob(large())
    assert mock.count("PATCH") == 6
    assert not is_there(mock, large())


async def test_a_lost_upload_is_begun_anew(mock: MockRegistry, repository: HttpRepository) -> None:
    mock.fault(AcceptThenFail(12_000_000), method="PATCH")
    mock.fault(LoseUpload(), method="GET", path=UPLOADS)
    content = large()
    await repository.put_blob(content)
    assert is_there(mock, content)
    assert methods(mock) == ["POST", "PATCH", "GET", "POST", "PATCH", "PUT"]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_an_upload_may_be_lost_at_any_request(
    mock: MockRegistry, repository: HttpRepository, method: str
) -> None:
    mock.fault(LoseUpload(), method=method)
    content = large()
    await repository.put_blob(content)
    assert is_there(mock, content)


async def test_a_registry_that_loses_every_upload_is_named(
    mock: MockRegistry, repository: HttpRepository
) -> None:
    mock.fault(LoseUpload(), method="PUT", times=None)
    with pytest.raises(Unavailable, match=r"lost the upload .*share their storage"):
        await repository.put_blob(small())


@pytest.mark.parametrize("by", [-3, 3])
async def test_a_registry_that_lies_about_the_offset_gets_the_blob_after_all(
    mock: MockRegistry, repository: HttpRepository, by: int
) -> None:
    mock.fault(AcceptThenFail(12_000_000), method="PATCH")
    mock.fault(UploadOffsetLies(by), method="GET", path=UPLOADS)
    content = large()
    await repository.put_blob(content)
    assert is_there(mock, content)


@pytest.mark.parametrize("status", [202, 416])
@pytest.mark.parametrize("offsets", [(1000,), (1000, 2000)])
async def test_a_registry_that_never_comes_farther_is_given_up(
    mock: MockRegistry, repository: HttpRepository, status: int, offsets: tuple[int, ...]
) -> None:
    told = cycle(offsets)

    async def stuck(exchange: Exchange) -> Reply:
        await exchange.read_all()
        headers = {"Range": f"0-{next(told) - 1}"}
        return Reply.of(204 if exchange.request.method == "GET" else status, b"", headers)

    mock.fault(stuck, method="PATCH", times=None)
    mock.fault(stuck, method="GET", path=UPLOADS, times=None)
    with pytest.raises(Unavailable, match="lost the upload"):
        await repository.put_blob(large())
    assert mock.count("PATCH") < 30


@pytest.mark.parametrize("told", [None, "0-0", "none"])
async def test_success_without_an_offset_means_all(
    mock: MockRegistry, repository: HttpRepository, told: str | None
) -> None:
    mock.fault(Headers({"Range": told}), method="PATCH")
    content = large()
    await repository.put_blob(content)
    assert is_there(mock, content)
    assert methods(mock) == ["POST", "PATCH", "PUT"]


async def test_bytes_notation_is_understood(mock: MockRegistry, repository: HttpRepository) -> None:
    async def in_bytes(exchange: Exchange) -> Reply:
        reply = await exchange.proceed()
        return reply.but("Range", f"bytes={reply.header('range')}")

    mock.fault(AcceptThenFail(12_000_000), method="PATCH")
    mock.fault(in_bytes, path=UPLOADS, times=None)
    content = large()
    await repository.put_blob(content)
    assert content.offsets == [0, 12_000_000]


async def test_what_was_stored_without_an_answer_is_not_sent_again(
    mock: MockRegistry, repository: HttpRepository
) -> None:
    mock.fault(DoThenDrop(), method="PUT")
    content = large()
    await repository.put_blob(content)
    assert is_there(mock, content)
    assert mock.count("PATCH") == 1


async def test_a_small_blob_whose_request_broke_is_sent_again(
    mock: MockRegistry, repository: HttpRepository
) -> None:
    mock.fault(AcceptThenFail(50_000), method="PUT")
    mock.fault(DropConnection(), method="PUT", after=1)
    content = small()
    await repository.put_blob(content)
    assert is_there(mock, content)


@pytest.mark.parametrize("status", [500, 502, 503, 429])
async def test_a_busy_registry_is_asked_again(
    mock: MockRegistry, repository: HttpRepository, status: int
) -> None:
    mock.fault(AcceptThenFail(5_000_000, status=status), method="PATCH")
    content = large()
    await repository.put_blob(content)
    assert is_there(mock, content)


async def test_a_full_store_is_final(mock: MockRegistry, repository: HttpRepository) -> None:
    mock.fault(Status(507), method="PATCH", times=None)
    with pytest.raises(StoreFull):
        await repository.put_blob(large())
    assert mock.count("PATCH") == 1


async def test_who_may_not_push_is_told_at_once(
    mock: MockRegistry, repository: HttpRepository
) -> None:
    mock.fault(Status(403), method="POST", times=None)
    with pytest.raises(Denied):
        await repository.put_blob(large())
    assert mock.count("POST") == 1


def limit_bodies(mock: MockRegistry, most: int) -> None:
    """Refuse larger request bodies, as nginx does by default."""

    async def refuse(exchange: Exchange) -> Reply | None:
        length = int(exchange.request.header("content-length") or 0)
        return Reply.of(413, b"<html>too large</html>", {}) if length > most else None

    mock.fault(refuse, times=None)


async def test_where_bodies_are_limited_it_goes_in_chunks(
    mock: MockRegistry, repository: HttpRepository
) -> None:
    limit_bodies(mock, MIB)
    content = large()
    await repository.put_blob(content)
    assert is_there(mock, content)
    lengths = [one.bytes_received for one in mock.matching("PATCH") if one.status == 202]
    assert max(lengths) <= MIB
    assert content.offsets[-1] == 0, "all chunks come from one read"
    refused = mock.count("PATCH", status=413)
    await repository.put_blob(blob(CONTENT[:-1]))
    assert mock.count("PATCH", status=413) == refused, "what was learned is kept"


async def test_a_small_blob_may_be_too_large_too(
    mock: MockRegistry, repository: HttpRepository
) -> None:
    limit_bodies(mock, MIB)
    content = blob(CONTENT[: 3 * MIB])
    await repository.put_blob(content)
    assert is_there(mock, content)


async def test_where_nothing_goes_through_the_proxy_is_named(
    mock: MockRegistry, repository: HttpRepository
) -> None:
    limit_bodies(mock, 1000)
    with pytest.raises(Unavailable, match="client_max_body_size"):
        await repository.put_blob(large())


async def test_chunks_are_not_below_the_minimum(mock: MockRegistry) -> None:
    mock.abilities.chunk_minimum = 3_000_000
    async with remote(mock.host, chunk_size=1_000_000) as registry:
        content = large()
        await registry.repository(name()).put_blob(content)
    assert is_there(mock, content)
    assert [one.bytes_received for one in mock.matching("PATCH")] == [3_000_000] * 6 + [2_000_000]


async def test_wrong_content_is_cancelled(mock: MockRegistry, repository: HttpRepository) -> None:
    other = blob(CONTENT[::-1], large().descriptor)
    with pytest.raises(DigestInvalid):
        await repository.put_blob(other)
    assert not is_there(mock, large())
    assert mock.count("DELETE", UPLOADS) == 1
    assert not mock.uploads.open


@pytest.mark.parametrize("size", [100_000, 1_000_000, 20_000_000])
async def test_a_source_that_fails_is_not_the_registrys_fault(
    mock: MockRegistry, repository: HttpRepository, size: int
) -> None:
    with pytest.raises(ConnectionLost, match="source"):
        await repository.put_blob(blob(CONTENT[:size], breaks_at=size // 2))
    assert mock.count("POST") == 1
    assert not is_there(mock, blob(CONTENT[:size]))


async def test_a_source_without_end_is_cut(mock: MockRegistry, repository: HttpRepository) -> None:
    promised = blob(CONTENT[:1_000_000]).descriptor
    with pytest.raises(SizeInvalid):
        await repository.put_blob(blob(CONTENT, promised))
    assert not is_there(mock, blob(CONTENT[:1_000_000]))


async def test_a_digest_that_the_registry_finds_wrong_is_an_error(
    mock: MockRegistry, repository: HttpRepository
) -> None:
    invalid = Status(400, body=b'{"errors":[{"code":"DIGEST_INVALID"}]}')
    mock.fault(invalid, method="PUT", times=None)
    with pytest.raises(DigestInvalid):
        await repository.put_blob(small())
    mock.heal()
    mock.fault(Headers({"Docker-Content-Digest": str(Digest.of(b"other"))}), method="PUT")
    with pytest.raises(DigestInvalid, match="stored"):
        await repository.put_blob(small())


async def test_sha512_is_announced(mock: MockRegistry, repository: HttpRepository) -> None:
    content = CONTENT[:5_000_000]
    digest = Digest.of(content, "sha512")
    await repository.put_blob(blob(content, Descriptor("a/b", digest, len(content))))
    assert dict(mock.matching("POST")[0].query) == {"digest-algorithm": "sha512"}
    assert mock.blob(digest) == content


async def test_two_pushes_of_one_digest_are_one(mock: MockRegistry, registry: HttpRegistry) -> None:
    await asyncio.gather(*(registry.repository(name()).put_blob(large()) for _ in range(3)))
    assert methods(mock) == ["POST", "PATCH", "PUT"]


async def test_who_waits_for_a_push_that_fails_pushes_itself(
    mock: MockRegistry, repository: HttpRepository
) -> None:
    failing, content = blob(CONTENT, breaks_at=MIB), large()
    results = await asyncio.gather(
        repository.put_blob(failing), repository.put_blob(content), return_exceptions=True
    )
    assert isinstance(results[0], ConnectionLost)
    assert results[1] is None
    assert is_there(mock, content)


async def test_a_blob_is_mounted_from_a_repository_of_the_same_registry(
    mock: MockRegistry, registry: HttpRegistry
) -> None:
    there = mock.add_blob("tests/other", CONTENT[:1000])
    source, target = registry.repository(name("tests/other")), registry.repository(name())
    assert await target.mount(there, source)
    assert await target.has_blob(there)
    assert dict(mock.matching("POST")[0].query) == {
        "mount": str(there.digest),
        "from": "tests/other",
    }
    assert not await target.mount(there, target)
    async with remote("127.0.0.1:1") as elsewhere:
        assert not await target.mount(there, elsewhere.repository(name("tests/other")))
    assert mock.count("POST") == 1


async def test_the_upload_that_is_opened_instead_of_a_mount_is_used(
    mock: MockRegistry, registry: HttpRegistry
) -> None:
    content = small()
    source, target = registry.repository(name("tests/other")), registry.repository(name())
    assert not await target.mount(content.descriptor, source)
    await target.put_blob(content)
    assert methods(mock) == ["POST", "PUT"]
    assert not mock.uploads.open


async def test_the_upload_that_is_opened_instead_of_a_mount_is_cancelled_if_unused(
    mock: MockRegistry, registry: HttpRegistry
) -> None:
    target = registry.repository(name())
    assert not await target.mount(small().descriptor, registry.repository(name("tests/other")))
    assert len(mock.uploads.open) == 1
    await target.close()
    assert not mock.uploads.open


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500])
async def test_a_mount_that_is_refused_is_no_failure(
    mock: MockRegistry, registry: HttpRegistry, status: int
) -> None:
    mock.fault(Status(status), method="POST", when=lambda request: "mount" in dict(request.query))
    content = small()
    source, target = registry.repository(name("tests/other")), registry.repository(name())
    assert not await target.mount(content.descriptor, source)
    await target.put_blob(content)
    assert is_there(mock, content)


async def test_a_cancelled_push_is_continued_by_the_next_process(
    mock: MockRegistry, tmp_path: Path
) -> None:
    """The notes are what a killed process leaves, too; see `test_uploads_killed`."""
    standing = mock.fault(Stall(12_000_000, at="upload"), method="PATCH")
    async with remote(mock.host, uploads=tmp_path) as registry:
        push = asyncio.create_task(registry.repository(name()).put_blob(large()))
        await asyncio.to_thread(standing.wait)
        await asyncio.to_thread(wait_until, lambda: farthest(mock) > 0)
        push.cancel()
        with pytest.raises(asyncio.CancelledError):
            await push
    (note,) = files(tmp_path)
    assert note.stat().st_mode & 0o777 == 0o600
    mock.heal()
    mock.clear_requests()
    async with remote(mock.host, uploads=tmp_path) as registry:
        content = large()
        await registry.repository(name()).put_blob(content)
    assert is_there(mock, content)
    assert methods(mock) == ["GET", "PATCH", "PUT"]
    assert content.offsets[0] > 0
    assert mock.bytes_received < len(CONTENT)
    assert not files(tmp_path)


async def test_a_stale_note_does_no_harm(mock: MockRegistry, tmp_path: Path) -> None:
    async with remote(mock.host, uploads=tmp_path) as registry:
        with pytest.raises(ConnectionLost):
            await registry.repository(name()).put_blob(blob(CONTENT, breaks_at=MIB))
    mock.uploads.lose("")
    async with remote(mock.host, uploads=tmp_path) as registry:
        content = large()
        await registry.repository(name()).put_blob(content)
    assert is_there(mock, content)
    assert not files(tmp_path)


async def test_damaged_bytes_of_an_earlier_attempt_are_sent_anew(
    mock: MockRegistry, tmp_path: Path
) -> None:
    wrong = blob(CONTENT[::-1], large().descriptor, breaks_at=12_000_000)
    async with remote(mock.host, uploads=tmp_path) as registry:
        with pytest.raises(ConnectionLost):
            await registry.repository(name()).put_blob(wrong)
        content = large()
        await registry.repository(name()).put_blob(content)
    assert is_there(mock, content)
    assert not mock.uploads.open


async def test_no_note_of_a_location_elsewhere(mock: MockRegistry, tmp_path: Path) -> None:
    other = mock.other_origin()

    async def elsewhere(exchange: Exchange) -> Reply:
        reply = await exchange.proceed()
        location = (reply.header("location") or "").replace(mock.url, "")
        return reply.but("Location", f"{other.url}{location}")

    mock.fault(elsewhere, method="POST", times=None)
    async with remote(mock.host, uploads=tmp_path) as registry:
        with pytest.raises(Unavailable, match="lost the upload"):
            await registry.repository(name()).put_blob(large())
    assert other.count("PATCH") > 1
    assert not files(tmp_path)
    assert all(one.authorization is None for one in other.requests)
