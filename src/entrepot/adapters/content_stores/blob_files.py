"""Content under its digest: `<root>/blobs/<algorithm>/<first 2 hex>/<hex>`.

A file appears there by one rename, verified and whole, and is read-only from then on. Its
modification time is that of its last use. Whoever uses content holds a shared lock on its
directory while doing so, whoever deletes it an exclusive one: both take microseconds.
Everything here blocks; a `stat` takes microseconds and is also done on the event loop.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from entrepot.adapters.content_stores.disk_errors import disk_errors
from entrepot.adapters.content_stores.durability import sync_directory
from entrepot.oci.digest import HEX_LENGTH, Digest
from entrepot.oci.errors import BlobUnknown, DigestInvalid, RegistryError

READABLE: Final = 0o444
"""Content's permissions, less what the process's umask takes away."""


class Place(Protocol):
    """Where bytes lie before they are content."""

    @property
    def path(self) -> str: ...

    def remove(self) -> None:
        """Drop them."""

    def clear(self) -> object:
        """Remove what is left where they were."""

    def unknown(self) -> RegistryError:
        """Return the error that says that they are gone."""


class VerifiedFile(Protocol):
    """A file of `size` bytes that are what a digest says, open and locked."""

    @property
    def place(self) -> Place: ...
    @property
    def descriptor(self) -> int: ...
    @property
    def size(self) -> int: ...


class BlobFiles:
    """The content files below `root`. With `durable`, what is placed survives a power loss."""

    def __init__(self, root: str, *, durable: bool) -> None:
        """Make the directories. Raise Unavailable if that is not possible."""
        self.root = f"{root}/blobs"
        self.durable = durable
        self._synced: set[str] = set()
        with disk_errors():
            for algorithm in HEX_LENGTH:
                os.makedirs(f"{self.root}/{algorithm}", exist_ok=True)
            if durable:
                sync_directory(self.root)
                sync_directory(root)

    def path(self, digest: Digest) -> str:
        """Return where the content lies, or would. Raise DigestInvalid for a forged digest."""
        # Digest is verified by its parser; a path is worth checking twice.
        if digest.algorithm not in HEX_LENGTH or not digest.hex.isalnum():
            raise DigestInvalid("that is no digest; build digests with Digest.parse")
        return f"{self.root}/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"

    def size(self, digest: Digest) -> int:
        """Return the content's size in bytes. Raise BlobUnknown."""
        with disk_errors():
            try:
                return os.stat(self.path(digest)).st_size
            except FileNotFoundError:
                raise _unknown(digest) from None

    def stamp(self, digest: Digest) -> str:
        """Return size, time of the last write or use, and inode of the file. Raise BlobUnknown."""
        with disk_errors():
            try:
                found = os.stat(self.path(digest))
            except FileNotFoundError:
                raise _unknown(digest) from None
        return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}"

    def read(self, digest: Digest) -> bytes:
        """Return the whole content. Raise BlobUnknown."""
        with disk_errors():
            try:
                return Path(self.path(digest)).read_bytes()
            except FileNotFoundError:
                raise _unknown(digest) from None

    def place(self, file: VerifiedFile, digest: Digest) -> int | None:
        """Make a verified file the content, or drop it where the content exists.

        Return the time of this use (Unix nanoseconds) if the file became the content, None if
        it was dropped. Raise what its place says if it is gone meanwhile, StoreFull or
        Unavailable if the disk refuses.
        """
        target = self.path(digest)
        directory = os.path.dirname(target)
        with disk_errors():
            placed_at = None
            if _use(target, file.size):
                file.place.remove()
            else:  # absent, or cut short by a power loss while not durable
                self._sync(file)
                self._make(directory)
                placed_at = self._rename(file, target)
                file.place.clear()
            if self.durable:
                # Also for content that was there: who placed it may not have come to this yet.
                sync_directory(directory)
        return placed_at

    def _rename(self, file: VerifiedFile, target: str) -> int:
        with _locked(os.path.dirname(target), fcntl.LOCK_SH):
            now = time.time_ns()
            os.utime(file.descriptor, ns=(now, now))
            try:
                os.rename(file.place.path, target)
            except FileNotFoundError:
                raise file.place.unknown() from None
        os.fchmod(file.descriptor, os.fstat(file.descriptor).st_mode & READABLE)
        return now

    def _sync(self, file: VerifiedFile) -> None:
        """Make the file's bytes durable."""
        if not self.durable:
            return
        try:
            os.fdatasync(file.descriptor)
        except OSError:
            # The kernel reports a lost write once and calls the pages clean afterwards:
            # a second commit would succeed without the bytes. So there is none.
            file.place.remove()
            raise

    def _make(self, directory: str) -> None:
        """Make a fan-out directory, and its name durable."""
        try:
            os.mkdir(directory)
        except FileExistsError:
            if directory in self._synced:
                return
        if self.durable:
            sync_directory(os.path.dirname(directory))
            self._synced.add(directory)

    def delete(self, digest: Digest, unused_since: float | None = None) -> bool:
        """Remove the content, unless it was used at or after a time in Unix seconds; return
        whether it was removed. Raise BlobUnknown."""
        target = self.path(digest)
        with disk_errors():
            try:
                with _locked(os.path.dirname(target), fcntl.LOCK_EX):
                    if unused_since is not None and os.stat(target).st_mtime >= unused_since:
                        return False
                    os.unlink(target)
            except FileNotFoundError:
                raise _unknown(digest) from None
        return True

    def withdraw(self, digest: Digest, placed_at: int) -> None:
        """Remove the content if its last use was when it was placed (Unix nanoseconds)."""
        target = self.path(digest)
        lock = _locked(os.path.dirname(target), fcntl.LOCK_EX)
        with disk_errors(), suppress(FileNotFoundError), lock:
            if os.stat(target).st_mtime_ns == placed_at:
                os.unlink(target)

    def fan_out(self) -> list[tuple[str, str]]:
        """Return (algorithm, path) of the directories that hold content."""
        with disk_errors():
            return [
                (algorithm, entry.path)
                for algorithm in HEX_LENGTH
                for entry in os.scandir(f"{self.root}/{algorithm}")
                if entry.is_dir()
            ]

    def held(self, algorithm: str, directory: str) -> list[Digest]:
        """Return the digests in one of these directories; strangers' files are passed over."""
        digests = []
        with disk_errors():
            for name in os.listdir(directory):
                with suppress(DigestInvalid):
                    digests.append(Digest.parse(f"{algorithm}:{name}"))
        return digests


def _use(path: str, size: int) -> bool:
    """Note a use of the file; return whether it is there whole and this could be noted.

    It cannot be where the file is another user's; then it is to be replaced.
    """
    try:
        with _locked(os.path.dirname(path), fcntl.LOCK_SH):
            if os.stat(path).st_size != size:
                return False
            now = time.time_ns()
            os.utime(path, ns=(now, now))
    except (FileNotFoundError, PermissionError):
        return False
    return True


@contextmanager
def _locked(directory: str, how: int) -> Iterator[None]:
    """Lock a directory, waiting for it, between processes too. Raise OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # by name, as in `IngestFile.close`
        os.close(descriptor)


def _unknown(digest: Digest) -> BlobUnknown:
    return BlobUnknown(
        f"the store holds no content {digest}; push it, or check the digest",
        detail={"digest": str(digest)},
    )
