"""Layers on this side: a blob fetched whole and verified to an unnamed file, then read as often as
needed, decompressed and checked against its diff ID.

Reading blocks: it belongs in a thread, where `read_ahead` shares the work with another.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator
from contextlib import aclosing
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import BinaryIO, Final, TypeVar, cast

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.errors import ContentInvalid, DigestInvalid, StoreFull
from entrepot.oci.layer_compression import Compression, compression_of, decompressed
from entrepot.ports.image_end import ImageSource
from entrepot.services.progress import Report
from entrepot.services.verified_blob import VerifiedBlob

Item = TypeVar("Item")

_READ: Final = 64 * 1024
_AHEAD: Final = 4
_POLL_SECONDS: Final = 0.1


class SpooledLayer:
    """A layer's blob in a file without a name; it is gone when closed. The bytes are verified."""

    def __init__(self, descriptor: Descriptor, file: BinaryIO, where: str) -> None:
        self.descriptor = descriptor
        self.where = where
        self._file = file

    def packed(self, offset: int = 0) -> Iterator[bytes]:
        """Yield the blob's bytes from `offset`."""
        fd = self._file.fileno()
        while chunk := os.pread(fd, _READ, offset):
            offset += len(chunk)
            yield chunk

    def content(
        self, diff_id: Digest | None = None, *, ratio: int | None = None, ratio_from: int = 0
    ) -> Iterator[bytes]:
        """Yield the layer's tar. Raise ContentInvalid if it is not packed as its media type says,
        or unpacks to more than `ratio` times its size (and `ratio_from` bytes); at its end raise
        DigestInvalid if it is not what `diff_id` says."""
        hasher = None if diff_id is None else Hasher(diff_id.algorithm)
        most = None if ratio is None else max(ratio_from, ratio * self.descriptor.size)
        size = 0
        declared = compression_of(self.descriptor.media_type)
        for chunk in decompressed(self.packed(), declared, self.where):
            size += len(chunk)
            if most is not None and size > most:
                raise ContentInvalid(
                    f"{self.where} unpacks to more than {most} bytes from "
                    f"{self.descriptor.size}: that is a decompression bomb, or very empty; raise "
                    "the limit if you trust it"
                )
            if hasher is not None:
                hasher.update(chunk)
            yield chunk
        if hasher is not None and hasher.digest() != diff_id:
            raise DigestInvalid(
                f"{self.where} unpacks to {hasher.digest()}, but the image's config says "
                f"{diff_id}; the image was put together wrongly, so do not use it, or rebuild it",
                detail={"expected": str(diff_id), "received": str(hasher.digest())},
            )

    def described(self, descriptor: Descriptor) -> "SpooledLayer":
        """Return the same file under another descriptor of it."""
        return SpooledLayer(descriptor, self._file, self.where)

    @property
    def compression(self) -> Compression:
        """How its media type says it is packed. Raise Unsupported if it is no layer of files."""
        return compression_of(self.descriptor.media_type)

    def close(self) -> None:
        """Give the space back."""
        self._file.close()


async def spool_layer(
    source: ImageSource, descriptor: Descriptor, folder: Path | None, where: str, report: Report
) -> SpooledLayer:
    """Fetch a layer to a file in `folder` (None: where temporary files go), verified.

    Raise BlobUnknown, DigestInvalid, SizeInvalid, StoreFull, and what the source raises.
    """
    compression_of(descriptor.media_type)  # before anything is fetched
    file = await _unnamed_file(folder)
    try:
        async with aclosing(_stream(source, descriptor, report)) as chunks:
            async for chunk in chunks:
                await asyncio.to_thread(write_spooled, file, chunk)
    except BaseException:
        file.close()
        raise
    return SpooledLayer(descriptor, file, where)


async def _stream(
    source: ImageSource, descriptor: Descriptor, report: Report
) -> AsyncGenerator[bytes, None]:
    blob = VerifiedBlob(source, descriptor, report)
    try:
        async for chunk in blob.read():
            yield chunk
    finally:
        await blob.close()


async def _unnamed_file(folder: Path | None) -> BinaryIO:
    """Open a temporary file in a thread; who is cancelled meanwhile leaves none open."""
    opening = asyncio.ensure_future(asyncio.to_thread(unnamed_file, folder))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait([opening])
        if opening.exception() is None:
            opening.result().close()
        raise


def unnamed_file(folder: Path | None) -> BinaryIO:
    """Open a temporary file that nobody else sees and that its end removes. Raise StoreFull."""
    try:
        return cast(BinaryIO, tempfile.TemporaryFile(dir=folder, buffering=0))
    except OSError as error:
        raise _no_space(error) from error


def write_spooled(file: BinaryIO, chunk: bytes) -> None:
    """Write all of a chunk. Raise StoreFull."""
    view = memoryview(chunk)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        raise _no_space(error) from error


def read_ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """Yield `items`, which another thread makes a few ahead: reading and hashing there, using
    here. What that thread raises is raised here.

    Who may stop early closes it (`contextlib.closing`), which ends the thread.
    """
    queue: Queue[tuple[bool, Item | BaseException | None]] = Queue(_AHEAD)
    left = Event()

    def put(more: bool, item: Item | BaseException | None) -> None:
        while not left.is_set():
            try:
                queue.put((more, item), timeout=_POLL_SECONDS)
            except Full:
                continue
            return

    def produce() -> None:
        try:
            for item in items:
                put(True, item)
                if left.is_set():
                    return
            put(False, None)
        except BaseException as error:
            put(False, error)

    thread = Thread(target=produce, name="layer-reading", daemon=True)
    thread.start()
    try:
        while True:
            more, item = queue.get()
            if more:
                yield cast(Item, item)
            elif item is None:
                return
            else:
                raise cast(BaseException, item)
    finally:
        left.set()
        try:
            while True:
                queue.get_nowait()
        except Empty:
            pass
        thread.join()


def _no_space(error: OSError) -> StoreFull:
    return StoreFull(
        f"a layer cannot be kept while it is checked ({error.strerror}); free space, or set "
        "TMPDIR to a folder that has some"
    )
