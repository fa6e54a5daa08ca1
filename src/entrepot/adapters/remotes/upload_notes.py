"""Upload notes: where the uploads of large blobs go on, kept in files so that the next process
can continue what this one could not finish.

A note holds the path at the registry, which may be a secret for as long as the upload lives: only
its owner may read the file. It says nothing about the origin, so no note can send a blob to
another registry. Whoever uses a note has its file locked, and others do without.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from entrepot.oci.digest import Digest
from entrepot.oci.reference import RepositoryName

LIFETIME: Final = 7 * 24 * 3600.0
"""Seconds for which a note is believed; registries forget uploads after about as long."""

_NAME: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MOST_BYTES: Final = 64 * 1024


class UploadNote:
    """The note of one upload, locked until it is released.

    `location` is the path and query that the upload goes on at, None if there is nothing to
    continue.
    """

    def __init__(self, file: Path, descriptor: int, now: Callable[[], float]) -> None:
        self._file = file
        self._descriptor = descriptor
        self._now = now
        self._removed = False
        self.location = self._read()

    async def write(self, location: str) -> None:
        """Keep where the upload goes on. A disk that takes no note stops no upload."""
        if location != self.location and _is_path(location):
            self.location = location
            await asyncio.to_thread(self._write, location)

    async def remove(self) -> None:
        """Forget the upload: it has ended."""
        self.location, removed, self._removed = None, self._removed, True
        if not removed:
            await asyncio.to_thread(self._unlink)

    def release(self) -> None:
        """Let other processes have the note."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            if self.location is None and not self._removed:  # the name may be another's by now
                self._unlink()
            os.close(descriptor)

    def _read(self) -> str | None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(os.pread(self._descriptor, _MOST_BYTES, 0))
            location, age = str(note["location"]), self._now() - float(note["written"])
            if 0 <= age < LIFETIME and _is_path(location):
                return location
        return None

    def _write(self, location: str) -> None:
        content = json.dumps({"location": location, "written": self._now()}).encode()
        with suppress(OSError):
            os.pwrite(self._descriptor, content, 0)
            os.ftruncate(self._descriptor, len(content))

    def _unlink(self) -> None:
        with suppress(OSError):
            self._file.unlink()


class UploadNotes:
    """The notes in a folder, which is made when the first is written."""

    def __init__(self, folder: Path, *, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._now = now
        self._swept = False

    async def open(
        self, registry: str, repository: RepositoryName, digest: Digest
    ) -> UploadNote | None:
        """Return the note of an upload, a new one if there is none.

        None if another process is uploading the same, or no note can be kept here.
        """
        file = self._file(registry, repository, digest)
        opening = asyncio.ensure_future(asyncio.to_thread(self._open, file))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            # A callback might come too late: the end of the program cancels, too.
            await asyncio.wait([opening])
            _release(opening)
            raise

    async def forget(self, registry: str, repository: RepositoryName, digest: Digest) -> None:
        """Remove the note of an upload that has ended without us, unless somebody uses it."""
        if self._file(registry, repository, digest).exists():
            note = await self.open(registry, repository, digest)
            if note is not None:
                await note.remove()
                note.release()

    def _file(self, registry: str, repository: RepositoryName, digest: Digest) -> Path:
        name = f"{registry}\0{repository}\0{digest}"
        return self._folder / hashlib.sha256(name.encode()).hexdigest()

    def _open(self, file: Path) -> UploadNote | None:
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep()
            while True:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                descriptor = os.open(file, flags, 0o600)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if os.fstat(descriptor).st_nlink:
                        return UploadNote(file, descriptor, self._now)
                except OSError:
                    os.close(descriptor)
                    return None
                os.close(descriptor)  # its upload has just ended; the name is free again
        return None

    def _sweep(self) -> None:
        """Remove the notes that nobody came back for, once."""
        if self._swept:
            return
        self._swept = True
        with os.scandir(self._folder) as files:
            for file in files:
                with suppress(OSError):
                    if _NAME.fullmatch(file.name) is None:
                        continue
                    if self._now() - file.stat(follow_symlinks=False).st_mtime > LIFETIME:
                        os.unlink(file)


def _is_path(location: str) -> bool:
    """Say whether it is a path; `//host/path` would lead to another host."""
    return location.startswith("/") and not location.startswith("//")


def _release(opening: "asyncio.Future[UploadNote | None]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        note = opening.result()
        if note is not None:
            note.release()
