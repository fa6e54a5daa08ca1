"""Content under its digest: `<root>/blobs/<algorithm>/<first 2 hex>/<hex>`.

A file appears there by one rename, verified and whole, and is read-only from then on.
Everything here blocks; a `stat` takes microseconds and is also done on the event loop.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from entrepot.adapters.content_stores.disk_errors import disk_errors
from entrepot.adapters.content_stores.durability import sync_directory
from entrepot.adapters.content_stores.ingest_file import IngestFile
from entrepot.oci.digest import HEX_LENGTH, Digest
from entrepot.oci.errors import BlobUnknown, DigestInvalid

READABLE: Final = 0o444
"""Content's permissions, less what the process's umask takes away."""


class BlobFiles:
    """The content files below `root`. With `durable`, what is placed survives a power loss."""

    def __init__(self, root: str, *, durable: bool) -> None:
        """Make the directories. Raise Unavailable if that is not possible."""
        self._root = f"{root}/blobs"
        self.durable = durable
        self._synced: set[str] = set()
        with disk_errors():
            for algorithm in HEX_LENGTH:
                os.makedirs(f"{self._root}/{algorithm}", exist_ok=True)
            if durable:
                sync_directory(self._root)
                sync_directory(root)

    def path(self, digest: Digest) -> str:
        """Return where the content lies, or would. Raise DigestInvalid for a forged digest."""
        # Digest is verified by its parser; a path is worth checking twice.
        if digest.algorithm not in HEX_LENGTH or not digest.hex.isalnum():
            raise DigestInvalid("that is no digest; build digests with Digest.parse")
        return f"{self._root}/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"

    def size(self, digest: Digest) -> int:
        """Return the content's size in bytes. Raise BlobUnknown."""
        with disk_errors():
            try:
                return os.stat(self.path(digest)).st_size
            except FileNotFoundError:
                raise _unknown(digest) from None

    def read(self, digest: Digest) -> bytes:
        """Return the whole content. Raise BlobUnknown."""
        with disk_errors():
            try:
                return Path(self.path(digest)).read_bytes()
            except FileNotFoundError:
                raise _unknown(digest) from None

    def place(self, file: IngestFile, digest: Digest) -> None:
        """Make an ingest's verified file the content, or drop it where the content exists.

        Raise BlobUploadUnknown if the ingest was aborted meanwhile, StoreFull or Unavailable
        if the disk refuses.
        """
        target = self.path(digest)
        directory = os.path.dirname(target)
        with disk_errors():
            if _size(target) == file.size:
                file.place.remove()
            else:  # absent, or cut short by a power loss while not durable
                self._sync(file)
                self._make(directory)
                try:
                    os.rename(file.place.path, target)
                except FileNotFoundError:
                    raise file.place.unknown() from None
                os.fchmod(file.descriptor, os.fstat(file.descriptor).st_mode & READABLE)
                file.place.clear()
            if self.durable:
                # Also for content that was there: who placed it may not have come to this yet.
                sync_directory(directory)

    def _sync(self, file: IngestFile) -> None:
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

    def delete(self, digest: Digest) -> None:
        """Remove the content. Raise BlobUnknown."""
        with disk_errors():
            try:
                os.unlink(self.path(digest))
            except FileNotFoundError:
                raise _unknown(digest) from None

    def fan_out(self) -> list[tuple[str, str]]:
        """Return (algorithm, path) of the directories that hold content."""
        with disk_errors():
            return [
                (algorithm, entry.path)
                for algorithm in HEX_LENGTH
                for entry in os.scandir(f"{self._root}/{algorithm}")
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


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def _unknown(digest: Digest) -> BlobUnknown:
    return BlobUnknown(
        f"the store holds no content {digest}; push it, or check the digest",
        detail={"digest": str(digest)},
    )
