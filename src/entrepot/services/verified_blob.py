"""The blob on its way: bytes from a source, hashed while the target handles them."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import aclosing, closing
from typing import Final

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Hasher
from entrepot.oci.errors import DigestInvalid, SizeInvalid
from entrepot.ports.image_end import ImageSource, PoursBlobs, Sink, StoresBlobs
from entrepot.services.progress import BlobAdvanced, BlobStarted, Report, Retried
from entrepot.services.trailing_hash import TrailingHash

_PIECE: Final = 1 << 20
"""Most bytes that are yielded at a time from content that is in memory."""


_TELL_SECONDS: Final = 0.1
"""How often a blob that is poured tells how far it is: waking the event loop for each piece slows
the threads that do the work."""


class VerifiedBlob:
    """See `ports.image_end.BlobContent`.

    Hashing runs in a thread, a few chunks behind the reader, and goes on over several reads: states
    of the hash are kept at the ends of chunks. A read that starts between two of them first reads,
    hashes and drops what is missing: mostly less than a chunk, at most a chunk more than 1/64 of
    the blob. `read_bytes` is how many bytes the target took in all reads together.
    """

    def __init__(self, source: ImageSource, descriptor: Descriptor, report: Report) -> None:
        self.read_bytes = 0
        self._source = source
        self._descriptor = descriptor
        self._report = report
        self._started = False
        self._stream: AsyncIterator[bytes] | None = None
        self._hash = TrailingHash(descriptor.digest.algorithm, descriptor.size)

    @property
    def descriptor(self) -> Descriptor:
        """What is read."""
        return self._descriptor

    async def read(self, offset: int = 0, prefix: Hasher | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `offset` to the end, and verify the whole. See the port."""
        start, hasher = await self._begin(offset, prefix)
        at = start
        async with aclosing(self._chunks(start)) as chunks:
            async for chunk in chunks:
                at = self._behind(at, len(chunk))
                if hasher is not None:
                    await self._hash.add(hasher, chunk, at)
                if at <= offset:
                    continue
                wanted = chunk if at - len(chunk) >= offset else chunk[offset - at :]
                yield wanted
                self._advance(len(wanted))
        await self._hash.done()
        self._verify(at, hasher)

    async def _begin(self, offset: int, prefix: Hasher | None) -> tuple[int, Hasher | None]:
        """Tell that a read begins; return from where on to read, and the hash of all before."""
        size = self._descriptor.size
        if not 0 <= offset <= size:
            raise SizeInvalid(
                f"blob {self._descriptor.digest} has {size} bytes and was asked for from byte "
                f"{offset} on; remove what is left of it in the target and start again",
                detail={"size": size, "offset": offset},
            )
        state = await self._state(offset, prefix)
        told = Retried if self._started else BlobStarted
        self._started = True
        self._report(told(self._descriptor, offset))
        return state

    def _behind(self, at: int, length: int) -> int:
        """Return the offset behind `length` more bytes. Raise SizeInvalid beyond the end."""
        if at + length > self._descriptor.size:
            raise self._wrong_size(f"more than {self._descriptor.size}")
        return at + length

    def _hash_here(self, hasher: Hasher | None, piece: bytes | memoryview, at: int) -> int:
        """Hash a piece in the thread that calls; return the offset behind it."""
        at = self._behind(at, len(piece))
        if hasher is not None:
            hasher.update(piece)
            self._hash.marks.add(at, hasher.copy())
        return at

    def _advance(self, length: int) -> None:
        self.read_bytes += length
        self._report(BlobAdvanced(self._descriptor.digest, length))

    def _verify(self, at: int, hasher: Hasher | None) -> None:
        """Raise SizeInvalid or DigestInvalid unless the bytes up to `at` were the blob."""
        if at != self._descriptor.size:
            raise self._wrong_size(str(at))
        if hasher is not None and hasher.digest() != self._descriptor.digest:
            self._hash.marks.restart()
            raise DigestInvalid(
                f"the bytes of blob {self._descriptor.digest} have the digest {hasher.digest()}; "
                "the source is damaged or changed them on the way; try again, or copy from "
                "another place",
                detail={
                    "expected": str(self._descriptor.digest),
                    "received": str(hasher.digest()),
                },
            )

    async def _state(self, offset: int, prefix: Hasher | None) -> tuple[int, Hasher | None]:
        """Return from where on to read, and the hash of all before; None if it is not known."""
        await self._hash.done()
        if prefix is not None and prefix.algorithm == self._descriptor.digest.algorithm:
            self._hash.marks.restart()
            if offset > 0:
                self._hash.marks.add(offset, prefix.copy())
            return offset, prefix
        # Bytes that no read has passed are known to the target only.
        return self._hash.marks.before(offset) or (offset, None)

    async def close(self) -> None:
        """Give back the source's connection or file, also if a target left a read unfinished."""
        stream, self._stream = self._stream, None
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()

    async def _chunks(self, offset: int) -> AsyncGenerator[bytes, None]:
        """Yield what the descriptor embeds or the source sends, from `offset` on."""
        if offset == self._descriptor.size:
            return
        if self._descriptor.data is not None:
            for start in range(offset, self._descriptor.size, _PIECE):
                yield self._descriptor.data[start : start + _PIECE]
            return
        self._stream = self._source.blob(self._descriptor, offset)
        try:
            async for chunk in self._stream:
                if chunk:
                    yield chunk
        finally:
            await self.close()

    def _wrong_size(self, received: str) -> SizeInvalid:
        return SizeInvalid(
            f"blob {self._descriptor.digest} has {received} bytes at its source, and its manifest "
            f"says {self._descriptor.size}; the source or the manifest is damaged",
            detail={"expected": self._descriptor.size, "received": received},
        )


class PouredBlob(VerifiedBlob):
    """See `ports.image_end.PouredContent`: hashed in the thread that it is poured in."""

    def __init__(self, source: PoursBlobs, descriptor: Descriptor, report: Report) -> None:
        super().__init__(source, descriptor, report)
        self._spring = source

    async def pour(self, sink: Sink, offset: int = 0, prefix: Hasher | None = None) -> None:
        """Give a sink the bytes from `offset` to the end, and verify the whole."""
        start, hasher = await self._begin(offset, prefix)
        at = start
        meter = _Meter(self._advance)

        def take(piece: memoryview) -> None:
            nonlocal at
            at = self._hash_here(hasher, piece, at)
            if at > offset:
                wanted = piece if at - len(piece) >= offset else piece[offset - at :]
                sink(wanted)
                meter.count(len(wanted))

        try:
            if start < self._descriptor.size:
                await self._spring.pour(self._descriptor, start, take)
        finally:
            meter.settle()
        self._verify(at, hasher)


class StoredBlob(VerifiedBlob):
    """See `ports.image_end.StoredContent`: hashed in the thread that reads it."""

    def __init__(self, source: StoresBlobs, descriptor: Descriptor, report: Report) -> None:
        super().__init__(source, descriptor, report)
        self._store = source

    async def blocks(self, offset: int = 0) -> Generator[bytes, None, None]:
        """Return what yields the bytes from `offset` to the end, and verifies the whole."""
        start, hasher = await self._begin(offset, None)
        return self._blocks(start, offset, hasher, _Meter(self._advance))

    def _blocks(
        self, start: int, offset: int, hasher: Hasher | None, meter: "_Meter"
    ) -> Generator[bytes, None, None]:
        at = start
        with closing(self._store.blocks(self._descriptor, start)) as blocks:
            for block in blocks:
                at = self._hash_here(hasher, block, at)
                if at > offset:
                    wanted = block if at - len(block) >= offset else block[offset - at :]
                    yield wanted
                    meter.count(len(wanted), last=at == self._descriptor.size)
        self._verify(at, hasher)


class _Meter:
    """Tells the event loop how much a thread has moved, not more often than it matters."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance
        self._loop = asyncio.get_running_loop()
        self._untold = 0
        self._told_at = time.monotonic()

    def count(self, length: int, *, last: bool = False) -> None:
        """Count bytes. In the thread."""
        self._untold += length
        if last or time.monotonic() - self._told_at > _TELL_SECONDS:
            self._loop.call_soon_threadsafe(self._advance, self._untold)
            self._untold, self._told_at = 0, time.monotonic()

    def settle(self) -> None:
        """Tell the rest. On the event loop."""
        untold, self._untold = self._untold, 0
        if untold:
            self._advance(untold)


def verified_blob(source: ImageSource, descriptor: Descriptor, report: Report) -> VerifiedBlob:
    """Return a source's blob in the form in which it moves with the least work."""
    if isinstance(source, PoursBlobs) and descriptor.data is None:
        return PouredBlob(source, descriptor, report)
    if isinstance(source, StoresBlobs) and descriptor.data is None:
        return StoredBlob(source, descriptor, report)
    return VerifiedBlob(source, descriptor, report)
