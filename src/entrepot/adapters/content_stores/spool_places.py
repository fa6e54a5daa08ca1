"""Where spools lie, and the right to write one.

    <root>/spools/<algorithm>-<hex>/<size>    the bytes that have come so far
    <root>/locks                              who writes which spool, see name_locks.py

The file's name is the size it will have in the end, so that every process knows it. Its owner may
write to the file until all of it has been verified, and nobody after that: this is how other
processes learn that the last bytes may be read. Then it is renamed, and is content.

Everything here blocks; what only looks takes microseconds and is also done on the event loop.
"""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from entrepot.adapters.content_stores.disk_errors import disk_errors
from entrepot.adapters.content_stores.name_locks import NameLock, NameLocks
from entrepot.oci.digest import HEX_LENGTH, Digest
from entrepot.oci.errors import DigestInvalid, RegistryError, StoreFull, Unavailable

_WRITABLE: Final = 0o644
_ANY_WRITES: Final = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class SpoolPlace:
    """Where one spool of `size` bytes lies."""

    digest: Digest
    directory: str
    size: int

    @property
    def path(self) -> str:
        return f"{self.directory}/{self.size}"

    def remove(self) -> None:
        """Drop the spool. Raise Unavailable; what is gone already is no error."""
        with disk_errors(), suppress(FileNotFoundError):
            os.unlink(self.path)
        self.clear()

    def clear(self) -> bool:
        """Remove the directory that the spool has left."""
        try:
            os.rmdir(self.directory)
        except OSError:
            return False
        return True

    def unknown(self) -> RegistryError:
        """Return the error that says that the file is gone."""
        return Unavailable(
            f"the spool of {self.digest} was removed while it was written; ask again",
            detail={"digest": str(self.digest)},
        )


class SpoolFile:
    """A spool's file, open for the one who holds its `lock`. `size` are the bytes in it."""

    __slots__ = ("_lock", "descriptor", "place", "size")

    def __init__(self, place: SpoolPlace, lock: NameLock, descriptor: int) -> None:
        self.place = place
        self.descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self._lock = lock

    def append(self, piece: memoryview) -> None:
        """Write bytes behind those that are there. Raise StoreFull or Unavailable; what was
        written before the disk refused stays."""
        with disk_errors():
            if os.fstat(self.descriptor).st_nlink == 0:
                raise self.place.unknown()
            while piece:
                written = os.write(self.descriptor, piece)
                self.size += written
                piece = piece[written:]

    def seal(self) -> None:
        """Let everybody see that the bytes are verified: nobody may write to them any more."""
        with disk_errors():
            mode = os.fstat(self.descriptor).st_mode
            os.fchmod(self.descriptor, stat.S_IMODE(mode) & ~_ANY_WRITES)

    def close(self) -> None:
        """Close the file and give up the right to write it."""
        os.close(self.descriptor)
        self._lock.release()


class SpoolPlaces:
    """The spools below `root`."""

    def __init__(self, root: str) -> None:
        """Make the directory. Raise Unavailable if that is not possible."""
        self.root = f"{root}/spools"
        with disk_errors():
            os.makedirs(self.root, exist_ok=True)
        self.locks = NameLocks(f"{root}/locks")

    def is_written(self, digest: Digest) -> bool:
        """Tell whether anybody, in any process, writes a digest's spool."""
        return self.locks.is_held(_lock_of(digest))

    def claim(self, digest: Digest, size: int) -> SpoolFile | None:
        """Return a digest's spool of `size` bytes, made if need be; None if another writes it.

        One of another size is dropped. Raise StoreFull if the disk has no room for the rest.
        """
        place = SpoolPlace(digest, self._directory(digest), size)
        lock = self.locks.take(_lock_of(digest))
        if lock is None:
            return None
        try:
            with disk_errors():
                return SpoolFile(place, lock, self._opened(place))
        except BaseException:
            lock.release()
            raise

    def _opened(self, place: SpoolPlace) -> int:
        os.makedirs(place.directory, exist_ok=True)
        present = 0
        for entry in os.scandir(place.directory):
            found = entry.stat(follow_symlinks=False)
            if entry.path != place.path or found.st_size > place.size:
                os.unlink(entry.path)
                continue
            present = found.st_size
            if not found.st_mode & stat.S_IWUSR:  # its process died after the verification
                os.chmod(entry.path, _WRITABLE)
        disk = os.statvfs(place.directory)
        free = disk.f_bavail * disk.f_frsize
        if place.size - present > free:
            if not present:
                place.clear()
            raise StoreFull(
                f"{place.digest} needs {place.size - present} bytes more, and the cache's disk "
                f"has {free} left; free space, then ask again",
                detail={"size": place.size, "free": free},
            )
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(place.path, flags, _WRITABLE)

    def find(self, digest: Digest) -> tuple[SpoolPlace, int] | None:
        """Return a spool's place and a descriptor to read it, None if there is none."""
        directory = self._directory(digest)
        with disk_errors(), suppress(FileNotFoundError):
            for name in os.listdir(directory):
                if name.isdecimal():
                    place = SpoolPlace(digest, directory, int(name))
                    return place, os.open(place.path, os.O_RDONLY | os.O_CLOEXEC)
        return None

    def leftovers(self) -> list[tuple[Digest, int, float]]:
        """Return (digest, bytes, time of the last write) of spools that nobody writes."""
        found = []
        with disk_errors():
            for entry in os.scandir(self.root):
                with suppress(DigestInvalid, FileNotFoundError):
                    digest = Digest.parse(entry.name.replace("-", ":", 1))
                    if not self.is_written(digest):
                        files = [file.stat() for file in os.scandir(entry.path)]
                        newest = max([f.st_mtime for f in files] or [entry.stat().st_mtime])
                        found.append((digest, sum(f.st_size for f in files), newest))
        return found

    def drop(self, digest: Digest) -> bool:
        """Remove a spool that nobody writes; return whether that was possible."""
        lock = self.locks.take(_lock_of(digest))
        if lock is None:
            return False
        directory = self._directory(digest)
        try:
            with disk_errors(), suppress(FileNotFoundError):
                for name in os.listdir(directory):
                    os.unlink(f"{directory}/{name}")
                os.rmdir(directory)
        finally:
            lock.release()
        return True

    def _directory(self, digest: Digest) -> str:
        # Digest is verified by its parser; a path is worth checking twice.
        if digest.algorithm not in HEX_LENGTH or not digest.hex.isalnum():
            raise DigestInvalid("that is no digest; build digests with Digest.parse")
        return f"{self.root}/{digest.algorithm}-{digest.hex}"


def is_sealed(found: os.stat_result) -> bool:
    """Tell whether a spool's file has been verified."""
    return not found.st_mode & _ANY_WRITES


def _lock_of(digest: Digest) -> str:
    return f"spool {digest}"
