"""The End `oci:DIR`: an image layout in a folder.

A blob is received in a hidden file beside its place (`blobs/sha256/.<hex>.partial`), which stays
when a transfer fails or is killed and is continued by the next one. `index.json` is replaced as a
whole, under a lock on `oci-layout`. So several processes may write to one layout.

Unless told to, nothing waits for the disk: after a power failure the newest files may be damaged,
and what reads them notices by their digests.
Source: image-spec, image-layout.md.
"""

import asyncio
import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from entrepot.adapters.ends.block_reading import Region, open_file
from entrepot.adapters.ends.disk_errors import disk_errors
from entrepot.adapters.ends.layout_index import LAYOUT, REF_NAME, LayoutIndex
from entrepot.adapters.ends.layout_source import MAX_MANIFEST, LayoutReader, LayoutSource, blob_name
from entrepot.adapters.ends.manifest_check import check_manifest, has_subject
from entrepot.adapters.ends.partial_blob import PartialBlob, is_whole, partial_blob, sync
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import NameUnknown, Unavailable
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import BlobContent

_PATIENCE: Final = 60.0
"""Seconds to wait for another process to give the index back; it needs milliseconds."""

_PAUSE: Final = 0.01
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS})


class FolderFiles:
    """A layout's files in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def where(self) -> str:
        return str(self.path)

    def open(self, name: str) -> Region | None:
        return open_file(f"{self.path}/{name}")


class LayoutEnd(LayoutSource):
    """See the port. The folder is made by the first write.

    `reference` is what the address names. With `durable`, `put_blob`, `put_manifest` and
    `publish` return only when the disk has the bytes.
    """

    def __init__(
        self,
        path: Path,
        reference: Tag | Digest | None = None,
        *,
        durable: bool = False,
        max_manifest_size: int = MAX_MANIFEST,
    ) -> None:
        super().__init__(LayoutReader(FolderFiles(path), max_manifest_size), reference)
        self._path = path
        self._durable = durable

    async def has_blob(self, descriptor: Descriptor) -> bool:
        return is_whole(self._place(descriptor), descriptor)

    async def has_manifest(self, descriptor: Descriptor) -> bool:
        return is_whole(self._place(descriptor), descriptor)

    async def put_blob(self, content: BlobContent) -> None:
        place = self._place(content.descriptor)
        if is_whole(place, content.descriptor):
            return
        async with partial_blob(place) as partial:
            if is_whole(place, content.descriptor):  # another writer was faster
                partial.discard()
                return
            await partial.receive(content)
            await asyncio.to_thread(partial.keep, durable=self._durable)

    async def put_manifest(self, descriptor: Descriptor, content: bytes) -> None:
        check_manifest(descriptor, content)
        await self._store(descriptor, content)
        if has_subject(descriptor, content):
            # Nothing else in the layout leads to it.
            await asyncio.to_thread(self._list, descriptor, ())

    async def publish(self, root: Descriptor, content: bytes, tags: Sequence[Tag]) -> None:
        check_manifest(root, content)
        await self._store(root, content)
        await asyncio.to_thread(self._list, root, tags)

    async def commit(self) -> None:
        """Nothing is left to do: what was published is visible."""

    async def close(self) -> None:
        """Nothing is open between two calls."""

    def _place(self, descriptor: Descriptor) -> Path:
        return self._path / blob_name(descriptor.digest)

    async def _store(self, descriptor: Descriptor, content: bytes) -> None:
        place = self._place(descriptor)
        async with partial_blob(place) as partial:
            await asyncio.to_thread(self._replace, partial, content)

    def _replace(self, partial: PartialBlob, content: bytes) -> None:
        partial.truncate()
        partial.write([content])
        partial.keep(durable=self._durable)

    def _list(self, root: Descriptor, tags: Sequence[Tag]) -> None:
        """Add a manifest to `index.json`, under its tags."""
        with self._locked():
            try:
                index = self._reader.index()
            except NameUnknown:
                index = LayoutIndex(str(self._path))
            changed = index.with_root(root, [{REF_NAME: tag} for tag in tags])
            if changed.document != index.document:
                self._write("index.json", changed.to_bytes())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Be the only one to change the index. The lock ends with its holder."""
        path = self._path / "oci-layout"
        with disk_errors(path):
            if not path.exists():
                self._begin(path)
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            _lock(descriptor, path)
            yield
        finally:
            os.close(descriptor)

    def _begin(self, path: Path) -> None:
        """Make `oci-layout`, whole from the first moment, unless another process is faster: then
        it stays, because it may be locked already."""
        self._path.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".oci-layout.{os.getpid()}.{threading.get_native_id()}")
        new.write_bytes(LAYOUT)
        try:
            os.link(new, path)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # exFAT and its like: for a moment somebody may see it empty.
            with suppress(FileExistsError), path.open("xb") as file:
                file.write(LAYOUT)
        finally:
            new.unlink()

    def _write(self, name: str, content: bytes) -> None:
        """Replace a file as a whole. Called under the lock."""
        new = self._path / f".{name}.new"
        with disk_errors(self._path / name):
            new.write_bytes(content)
            if self._durable:
                sync(new)
            new.rename(self._path / name)
            if self._durable:
                sync(self._path)


def _lock(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"another process has held the lock on {path} for {_PATIENCE:.0f} seconds; "
                    "end it, then try again"
                ) from None
            time.sleep(_PAUSE)
