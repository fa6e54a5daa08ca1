"""A tar written entry by entry, into a file that gets its name in the end, or down a pipe.

The same content in the same order gives the same bytes: no times, no owners.
"""

import asyncio
import fcntl
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from entrepot.adapters.ends.archive_input import STREAM
from entrepot.adapters.ends.block_reading import BLOCK, Region, hash_from
from entrepot.adapters.ends.block_writing import BlockWriter, write_all
from entrepot.adapters.ends.disk_errors import KEPT, disk_errors
from entrepot.adapters.ends.kept_archive import KeptEntries, UnfinishedEntry, read_kept
from entrepot.adapters.ends.partial_blob import is_at
from entrepot.adapters.ends.tar_reading import BLOCK_SIZE
from entrepot.adapters.ends.thread_work import stoppable
from entrepot.oci.digest import Hasher
from entrepot.oci.errors import DigestInvalid, SizeInvalid, Unavailable, Unsupported
from entrepot.ports.image_end import BlobContent

_END: Final = bytes(2 * BLOCK_SIZE)
_RECORD: Final = 20 * BLOCK_SIZE
"""What the size of a whole tar is a multiple of."""


def header(name: str, size: int) -> bytes:
    """Return the header of a file of `size` bytes, in pax format where ustar has no room."""
    import tarfile

    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry.tobuf(tarfile.PAX_FORMAT)


class TarOutput:
    """Where a tar goes: a pipe (`-` is standard output), or a hidden file beside `path`, which
    gets its name with `commit`.

    One entry is written at a time; who comes meanwhile waits. A hidden file that was not
    committed stays, and whoever writes the same archive next takes over its blobs; those it has
    no use for are left out in the end.
    """

    def __init__(self, path: str) -> None:
        """Open it. Raise StoreFull or Unavailable."""
        self.where = "standard output" if path == STREAM else path
        self._path = Path(path)
        self._hidden: Path | None = None
        self._at = 0
        self._kept: KeptEntries | None = None
        self._asked: set[str] = set()
        self._broken = ""
        self._committed = False
        self._lock = asyncio.Lock()
        with disk_errors(self.where):
            self._file = self._open(path)

    @property
    def committed(self) -> bool:
        """Whether the archive is complete."""
        return self._committed

    @property
    def is_pipe(self) -> bool:
        """Whether what was written cannot be read back."""
        return self._hidden is None

    def region(self, name: str, size: int) -> Region:
        """Return where the `size` bytes of an entry are that was added, now or earlier."""
        assert self._kept is not None, "an entry was added"
        start = self._kept.whole[name][0] + len(header(name, size))
        return Region(self._file, start, size, self.where, shared=True)

    async def has(self, name: str) -> bool:
        """Say whether the entry is there, which is a use of it."""
        if self._kept is None:
            async with self._lock:
                await self._whole(name)
        # While another entry is written this one is not waited for.
        return name in await self._whole(name)

    async def add(self, name: str, content: BlobContent) -> None:
        """Write a blob under a name, once. What breaks off is continued by the next attempt in
        a file; in a pipe it is the end of the archive."""
        async with self._lock:
            if name in await self._whole(name):
                return None
            self._require_open()
            size = content.descriptor.size
            begun = self._take_unfinished(name, size)
            try:
                if begun is not None:
                    try:
                        return await self._receive(content, begun)
                    except (DigestInvalid, SizeInvalid):
                        self._forget()  # what was kept may have been wrong
                start = self._at + len(header(name, size))
                await self._receive(content, UnfinishedEntry(name, self._at, start, size, 0))
            except (DigestInvalid, SizeInvalid):
                self._forget()
                raise

    async def add_bytes(self, name: str, content: bytes) -> None:
        """Write a small file under a name, once."""
        async with self._lock:
            if name in await self._whole(name):
                return
            self._require_open()
            self._take_unfinished("", 0)
            padding = bytes(-len(content) % BLOCK_SIZE)
            begin, writer = self._at, BlockWriter(self._write)
            try:
                await writer.add(header(name, len(content)) + content + padding)
                await writer.finish()
            except BaseException:
                await writer.settle(keep=False)
                self._broken = name if self._hidden is None and self._at != begin else ""
                self._cut(begin)
                raise
            self._finished(name, begin)

    async def commit(self) -> None:
        """End the archive and give it its name. Raise Unavailable if a pipe has broken."""
        async with self._lock:
            if not self._committed:
                self._require_open()
                await self._whole("")
                self._take_unfinished("", 0)
                await asyncio.to_thread(self._complete)
                self._committed = True

    async def close(self) -> None:
        """Close it; a hidden file in which nothing is worth keeping is removed."""
        descriptor, self._file = self._file, -1
        if descriptor < 0:
            return
        if self._hidden is not None and not self._committed and not self._at:
            self._hidden.unlink(missing_ok=True)
        os.close(descriptor)

    def _open(self, path: str) -> int:
        if path == STREAM:
            return os.dup(1)
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                return os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        self._hidden = self._path.with_name(f".{self._path.name}.partial")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        while True:
            descriptor = os.open(self._hidden, flags, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise Unavailable(
                    f"another process is writing {path}; wait for its end, or choose another file"
                ) from None
            # Between opening and locking, its writer may have given it its name.
            if is_at(descriptor, self._hidden):
                break
            os.close(descriptor)
        self._at = os.fstat(descriptor).st_size
        return descriptor

    async def _whole(self, name: str) -> dict[str, tuple[int, int]]:
        """Return where the entries are, after looking at what was kept; note the use of one."""
        self._asked.add(name)
        if self._kept is None:
            if self._hidden is not None and self._at:
                descriptor, where = self._file, str(self._hidden)
                kept = await stoppable(lambda stop: read_kept(descriptor, where, stop))
            else:
                kept = KeptEntries()
            self._kept = kept
            self._cut(kept.end if kept.unfinished is None else None)
        return self._kept.whole

    def _take_unfinished(self, name: str, size: int) -> UnfinishedEntry | None:
        """Return the entry that broke off if it is this one; drop it if not."""
        assert self._kept is not None
        begun, self._kept.unfinished = self._kept.unfinished, None
        if begun is not None and (begun.name, begun.size) != (name, size):
            self._forget()
            begun = None
        return begun

    def _forget(self) -> None:
        """Drop what broke off behind the last whole entry."""
        assert self._kept is not None
        self._kept.unfinished = None
        self._cut(self._kept.end)

    async def _receive(self, content: BlobContent, entry: UnfinishedEntry) -> None:
        hasher = Hasher(content.descriptor.digest.algorithm)
        region = Region(self._file, entry.start, entry.have, self.where, shared=True)
        if entry.have:
            await stoppable(lambda _: hash_from(region, 0, hasher, entry.have))
        writer = BlockWriter(self._write)
        try:
            if not entry.have:
                await writer.add(header(entry.name, entry.size))
            async for chunk in content.read(entry.have, hasher):
                await writer.add(chunk)
            await writer.add(bytes(-entry.size % BLOCK_SIZE))
            await writer.finish()
        except BaseException:
            await writer.settle(keep=self._hidden is not None)
            self._keep(entry)
            raise
        self._finished(entry.name, entry.begin)

    def _keep(self, entry: UnfinishedEntry) -> None:
        """Note how far an entry came that broke off."""
        assert self._kept is not None
        if self._hidden is None:
            self._broken = entry.name if self._at != entry.begin else ""
            return
        self._at = os.lseek(self._file, 0, os.SEEK_CUR)  # a full disk takes a part of a block
        have = self._at - entry.start
        if 0 < have <= entry.size:
            self._kept.unfinished = UnfinishedEntry(
                entry.name, entry.begin, entry.start, entry.size, have
            )
        else:
            self._cut(entry.begin)

    def _finished(self, name: str, begin: int) -> None:
        assert self._kept is not None
        self._kept.whole[name] = begin, self._at
        self._kept.end = self._at

    def _write(self, chunks: Sequence[bytes]) -> None:
        with disk_errors(self.where, full=KEPT):
            self._at += write_all(self._file, chunks)

    def _cut(self, end: int | None) -> None:
        """Go on writing at `end`, or behind what is there; nothing stays behind it."""
        if self._hidden is None:
            return
        with disk_errors(self.where):
            self._at = os.fstat(self._file).st_size if end is None else end
            os.ftruncate(self._file, self._at)
            os.lseek(self._file, self._at, os.SEEK_SET)

    def _complete(self) -> None:
        self._leave_out_unasked()
        self._write([_END, bytes(-(self._at + len(_END)) % _RECORD)])
        if self._hidden is not None:
            with disk_errors(self.where):
                self._hidden.rename(self._path)

    def _leave_out_unasked(self) -> None:
        """Move entries to the front over those that an earlier attempt left and this one did
        not need."""
        assert self._kept is not None
        at = 0
        for name, (begin, end) in self._kept.whole.items():
            if name not in self._asked:
                continue
            if at != begin:
                self._move(begin, end - begin, at)
            at += end - begin
        if self._hidden is not None and at != self._at:
            self._cut(at)

    def _move(self, begin: int, length: int, target: int) -> None:
        with disk_errors(self.where):
            for at in range(0, length, BLOCK):
                block = os.pread(self._file, min(BLOCK, length - at), begin + at)
                os.pwrite(self._file, block, target + at)

    def _require_open(self) -> None:
        if self._broken:
            raise Unavailable(
                f"the archive on {self.where} ends in the middle of {self._broken}, and what was "
                "sent cannot be taken back; run the command again, or write to a file first"
            )
        if self._committed or self._file < 0:
            raise Unsupported(f"the archive {self.where} is complete; open it anew to replace it")
