"""Request bodies of an upload: read once, forwards, and verified before the last byte."""

import random
from collections.abc import Generator

import pytest

from entrepot.adapters.remotes.exchange import Body
from entrepot.adapters.remotes.upload_body import UploadBody
from entrepot.oci.errors import ConnectionLost, DigestInvalid, SizeInvalid
from entrepot.testing.image_end_contents import ScriptedContent, blob

CONTENT = random.Random(7).randbytes(1_000_000)


async def read(body: Body) -> bytes:
    return b"".join([chunk async for chunk in body.open()])


@pytest.mark.parametrize("step", [1_000_000, 999_999, 300_000, 262_144, 100_001])
async def test_parts_come_from_one_read(step: int) -> None:
    content = blob(CONTENT)
    body = UploadBody(content)
    parts = [
        await read(body.part(at, min(step, len(CONTENT) - at)))
        for at in range(0, len(CONTENT), step)
    ]
    assert b"".join(parts) == CONTENT
    assert content.offsets == [0]
    await body.close()


async def test_another_offset_is_read_anew() -> None:
    content = blob(CONTENT)
    body = UploadBody(content)
    assert await read(body.part(0, 500_000)) == CONTENT[:500_000]
    assert await read(body.part(123, 1000)) == CONTENT[123:1123]
    assert await read(body.part(1123, len(CONTENT) - 1123)) == CONTENT[1123:]
    assert content.offsets == [0, 123]
    await body.close()


async def test_a_body_is_opened_again_from_its_start() -> None:
    body = UploadBody(blob(CONTENT))
    part = body.part(0, len(CONTENT))
    begun = part.open()
    await anext(begun)
    await begun.aclose()  # type: ignore[attr-defined]
    assert await read(part) == CONTENT
    await body.close()


@pytest.mark.parametrize("chunk", [1000, 262_144, 1_000_000])
async def test_the_last_chunk_waits_for_the_verification(chunk: int) -> None:
    body = UploadBody(blob(CONTENT[::-1], blob(CONTENT).descriptor, chunk=chunk))
    parts: list[bytes] = []

    async def read() -> None:
        async for part in body.part(0, len(CONTENT)).open():
            parts.append(part)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(DigestInvalid):
        await read()
    assert sum(map(len, parts)) < len(CONTENT)
    assert isinstance(body.failure, DigestInvalid)


@pytest.mark.parametrize("wrong", [CONTENT[:-1], CONTENT + b"!", b""])
async def test_another_size_is_refused(wrong: bytes) -> None:
    body = UploadBody(blob(wrong, blob(CONTENT).descriptor))
    with pytest.raises(SizeInvalid):
        await read(body.part(0, len(CONTENT)))
    assert isinstance(body.failure, SizeInvalid)


async def test_what_reading_raises_is_kept() -> None:
    body = UploadBody(blob(CONTENT, breaks_at=500_000))
    with pytest.raises(ConnectionLost):
        await read(body.part(0, len(CONTENT)))
    assert isinstance(body.failure, ConnectionLost)


@pytest.mark.parametrize("size", [0, 1, 1000])
async def test_a_small_blob_is_read_whole(size: int) -> None:
    body = UploadBody(blob(CONTENT[:size]))
    assert await body.whole() == CONTENT[:size]
    await body.close()
    wrong = UploadBody(blob(b"", blob(b"").descriptor))
    assert await wrong.whole() == b""


class InBlocks(ScriptedContent):
    """Content that a thread could read; `wrong` is what it raises at its end."""

    wrong: Exception | None = None

    async def blocks(self, offset: int = 0) -> Generator[bytes, None, None]:
        return self._blocks(offset)

    def _blocks(self, offset: int) -> Generator[bytes, None, None]:
        yield b"".join(self._chunks())[offset:]
        if self.wrong is not None:
            raise self.wrong


async def test_a_thread_may_read_what_goes_to_the_end() -> None:
    content = InBlocks(blob(CONTENT).descriptor, lambda: [CONTENT])
    body = UploadBody(content)
    assert body.part(0, 5).blocks is None
    assert UploadBody(blob(CONTENT)).part(0, len(CONTENT)).blocks is None
    rest = body.part(7, len(CONTENT) - 7)
    assert rest.blocks is not None
    for _ in range(2):
        assert b"".join(await rest.blocks()) == CONTENT[7:]
    assert await read(rest) == CONTENT[7:]
    content.wrong = DigestInvalid("not what it says")
    with pytest.raises(DigestInvalid):
        b"".join(await rest.blocks())
    assert body.failure is content.wrong
