"""Content of the mock registry: bytes that are held, kept in a file, or made when they are read.

Layers of many GiB cost no memory: their bytes follow from a seed and an offset. Those wrapped as
gzip or zstd are valid streams of stored blocks, so they too can be read from anywhere.
"""

import hashlib
import io
import shutil
import tarfile
import threading
import zlib
from collections.abc import Iterator
from functools import lru_cache
from tempfile import TemporaryFile
from typing import IO, Final, Literal, Protocol

from entrepot.oci.digest import Digest, Hasher

Compression = Literal["gzip", "zstd", "none"]

_BLOCK: Final = 1 << 20
_READ: Final = 256 << 10
_IN_MEMORY: Final = 8 << 20
"""Pushed content above this many bytes goes to a temporary file."""


class Content(Protocol):
    """Bytes of a known size that can be read from anywhere."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Return at most `length` bytes from `offset`, all there are if None; fewer only at
        the end."""
        ...


class Held:
    """Content that is held in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        end = self.size if length is None else offset + length
        return self._content[offset:end]


class Made:
    """Content made from a seed: no two of its MiB are alike, and nothing makes it smaller."""

    def __init__(self, size: int, seed: str) -> None:
        self.size = size
        self._pattern = _pattern(seed)

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        end = self.size if length is None else min(self.size, offset + length)
        parts = []
        while offset < end:
            number, start = divmod(offset, _BLOCK)
            stop = min(_BLOCK, start + end - offset)
            # Only the first bytes of a block differ from those of the others.
            head = number.to_bytes(8, "big")[start:stop]
            parts += [head, self._pattern[start + len(head) : stop]]
            offset += stop - start
        return b"".join(parts)


@lru_cache(maxsize=8)
def _pattern(seed: str) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(_BLOCK)


class Joined:
    """Pieces of content one behind the other."""

    def __init__(self, *parts: Content) -> None:
        self._parts = parts
        self.size = sum(part.size for part in parts)

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        end = self.size if length is None else min(self.size, offset + length)
        found, start = [], 0
        for part in self._parts:
            first, last = max(offset - start, 0), min(end - start, part.size)
            if first < last:
                found.append(part.read(first, last - first))
            start += part.size
        return b"".join(found)


def tar(name: str, content: Content) -> Content:
    """Return a tar archive of one file."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = content.size, 0o644
    head = entry.tobuf(tarfile.GNU_FORMAT)
    return Joined(Held(head), content, Held(bytes(-content.size % 512 + 1024)))


class _Stored:
    """Content cut into blocks of `step` bytes, each behind a head of `head_size` bytes."""

    step: int
    head_size: int

    def __init__(self, content: Content) -> None:
        self._content = content
        self._blocks = max(1, -(-content.size // self.step))
        self.size = content.size + self._blocks * self.head_size

    def head(self, length: int, last: bool) -> bytes:
        raise NotImplementedError

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        end = self.size if length is None else min(self.size, offset + length)
        parts = []
        while offset < end:
            number, start = divmod(offset, self.step + self.head_size)
            held = min(self.step, self._content.size - number * self.step)
            stop = min(self.head_size + held, start + end - offset)
            if start < self.head_size:
                head = self.head(held, number == self._blocks - 1)
                parts.append(head[start:stop])
            first = max(start - self.head_size, 0)
            if stop > self.head_size:
                at = number * self.step + first
                parts.append(self._content.read(at, stop - self.head_size - first))
            offset += stop - start
        return b"".join(parts)


class _DeflateStored(_Stored):
    """RFC 1951, section 3.2.4."""

    step, head_size = 65535, 5

    def head(self, length: int, last: bool) -> bytes:
        size, inverse = length.to_bytes(2, "little"), (length ^ 0xFFFF).to_bytes(2, "little")
        return bytes([last]) + size + inverse


class _ZstdRaw(_Stored):
    """RFC 8878, section 3.1.1.2; blocks of a frame without a window may have 128 KiB."""

    step, head_size = 128 << 10, 3

    def head(self, length: int, last: bool) -> bytes:
        return (length << 3 | last).to_bytes(3, "little")


def compressed(content: Content, compression: Compression) -> Content:
    """Wrap content as a valid stream of this kind, without making it smaller."""
    if compression == "none":
        return content
    if compression == "zstd":
        # Magic number; one segment, its size in eight bytes, no checksum (RFC 8878, 3.1.1.1)
        head = bytes.fromhex("28b52ffd") + b"\xe0" + content.size.to_bytes(8, "little")
        return Joined(Held(head), _ZstdRaw(content))
    checksum = 0
    for block in _blocks(content):
        checksum = zlib.crc32(block, checksum)
    tail = checksum.to_bytes(4, "little") + (content.size % (1 << 32)).to_bytes(4, "little")
    head = bytes.fromhex("1f8b08000000000000ff")
    return Joined(Held(head), _DeflateStored(content), Held(tail))


def digest_of(content: Content, algorithm: str = "sha256") -> Digest:
    """Hash content in constant memory."""
    hasher = Hasher(algorithm)
    for block in _blocks(content):
        hasher.update(block)
    return hasher.digest()


def _blocks(content: Content) -> Iterator[bytes]:
    return (content.read(at, _READ) for at in range(0, content.size, _READ))


class Received:
    """Content as it arrives; large content goes to a file that has no name.

    Reading is safe from every thread.
    """

    def __init__(self) -> None:
        self.size = 0
        self._file: IO[bytes] = io.BytesIO()
        self._in_memory = True
        self._lock = threading.Lock()

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        with self._lock:
            if self._in_memory and self.size + len(data) > _IN_MEMORY:
                self._file.seek(0)
                file = TemporaryFile()  # noqa: SIM115 - closed in `close`
                shutil.copyfileobj(self._file, file)
                self._file, self._in_memory = file, False
            self._file.seek(0, io.SEEK_END)
            self._file.write(data)
            self.size += len(data)

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        with self._lock:
            self._file.seek(offset)
            return self._file.read(-1 if length is None else length)

    def close(self) -> None:
        """Give back the file. What was small enough for memory can still be read."""
        if not self._in_memory:
            self._file.close()
