"""Upload bodies: a blob's content in the pieces that requests need, verified before its last
bytes leave."""

from collections.abc import AsyncIterator, Generator
from contextlib import closing, suppress

from entrepot.adapters.remotes.exchange import Body
from entrepot.oci.errors import SizeInvalid
from entrepot.ports.image_end import BlobContent, StoredContent


class UploadBody:
    """Reads a blob's content forwards over as many requests as an upload takes.

    The last chunk is given only after the content has verified itself, so content that is not
    what it says is never whole in the registry. `failure` is what reading it raised: the
    registry had no part in that.
    """

    def __init__(self, content: BlobContent) -> None:
        self._content = content
        self._chunks: AsyncIterator[bytes] | None = None
        self._rest = b""
        self._position = 0
        self.failure: Exception | None = None

    def part(self, offset: int, length: int) -> Body:
        """Return the request body of `length` bytes from `offset`."""
        content = self._content
        to_the_end = offset + length == content.descriptor.size
        if not (isinstance(content, StoredContent) and length and to_the_end):
            return Body(length, lambda: self._read(offset, length))
        return Body(
            length, lambda: self._read(offset, length), lambda: self._blocks(content, offset)
        )

    async def whole(self) -> bytes:
        """Return the content of a small blob."""
        size = self._content.descriptor.size
        return b"".join([chunk async for chunk in self._read(0, size)])

    async def close(self) -> None:
        """Give back what the content was read from."""
        chunks, self._chunks = self._chunks, None
        await _close(chunks)

    async def _read(self, offset: int, length: int) -> AsyncIterator[bytes]:
        if self._chunks is None or self._position != offset:
            await self.close()
            self._chunks, self._rest, self._position = self._verified(offset), b"", offset
        left = length
        while left:
            chunk = self._rest or await self._next()
            part, self._rest = chunk[:left], chunk[left:]
            left -= len(part)
            self._position += len(part)
            yield part
        if length == 0:
            await self._verify_nothing()

    async def _blocks(self, content: StoredContent, offset: int) -> Generator[bytes, None, None]:
        return self._noted(await content.blocks(offset))

    def _noted(self, blocks: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
        """Yield what a thread reads, and keep what reading it raises."""
        try:
            with closing(blocks):
                yield from blocks
        except Exception as error:
            self.failure = error
            raise

    async def _next(self) -> bytes:
        chunks = self._chunks
        try:
            assert chunks is not None
            return await anext(chunks)
        except StopAsyncIteration:
            self._chunks = None
            self.failure = SizeInvalid(
                f"the blob {self._content.descriptor.digest} ended after {self._position} of "
                f"{self._content.descriptor.size} bytes where it is read from; copy it again"
            )
            raise self.failure from None
        except BaseException as error:
            self._chunks = None  # it has ended; what follows is read anew
            if isinstance(error, Exception):
                self.failure = error
            raise

    async def _verify_nothing(self) -> None:
        """Read an empty blob to its end, which verifies it."""
        try:
            async for _ in self._content.read(0):
                pass
        except Exception as error:
            self.failure = error
            raise

    async def _verified(self, offset: int) -> AsyncIterator[bytes]:
        """Yield the content, the chunk with its last byte only after it has verified itself."""
        descriptor = self._content.descriptor
        at, last = offset, b""
        chunks = self._content.read(offset)
        try:
            async for chunk in chunks:
                at += len(chunk)
                if at > descriptor.size:
                    raise SizeInvalid(
                        f"the blob {descriptor.digest} has more than {descriptor.size} bytes where "
                        "it is read from; copy it again"
                    )
                if at == descriptor.size:
                    last = last or chunk
                elif chunk:
                    yield chunk
        finally:
            await _close(chunks)
        if last:
            yield last


async def _close(chunks: AsyncIterator[bytes] | None) -> None:
    aclose = getattr(chunks, "aclose", None)
    if aclose is not None:
        with suppress(RuntimeError):  # a request that was cancelled is still letting go of it
            await aclose()
