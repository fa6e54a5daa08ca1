"""Where an upload's files lie.

    <root>/ingests/<upload id>/<algorithm>-<16 hex>    the data
    <root>/ingests/<upload id>/checkpoint              see checkpoint.py

The data's name is new for every ingest, so nothing that still holds an old one can touch the
data of a later ingest with the same id. The size of the file is the offset of the upload.

Everything here blocks; what only looks takes microseconds and is also done on the event loop.
"""

import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from entrepot.adapters.content_stores.disk_errors import disk_errors
from entrepot.oci.digest import Hasher
from entrepot.oci.errors import BlobUploadInvalid, BlobUploadUnknown

_UPLOAD: Final = re.compile(r"[0-9a-zA-Z_-]{1,64}", re.ASCII)
_DATA: Final = re.compile(r"(?P<algorithm>sha256|sha512)-[0-9a-f]{16}", re.ASCII)
_LOST: Final = "sha256-lost"
"""Stands for the data of a directory that a crash left without; no data is ever called so."""


@dataclass(frozen=True, slots=True)
class IngestPlace:
    """Where an ingest's files lie: `directory`, and in it the file named `data`."""

    upload: str
    directory: str
    data: str

    @classmethod
    def create(cls, ingests: str, upload: str, algorithm: str) -> "IngestPlace":
        """Make an empty ingest. Raise BlobUploadInvalid if the id is malformed or in use,
        DigestInvalid for an unsupported algorithm."""
        if _UPLOAD.fullmatch(upload) is None:
            raise BlobUploadInvalid(
                f"{upload[:80]!r} is not an upload id; use 1 to 64 of letters, digits, _ and -"
            )
        algorithm = Hasher(algorithm).algorithm  # refuses what is not supported
        place = cls(upload, f"{ingests}/{upload}", f"{algorithm}-{secrets.token_hex(8)}")
        with disk_errors():
            try:
                os.mkdir(place.directory)
            except FileExistsError:
                raise BlobUploadInvalid(
                    f"upload {upload} exists already; begin again with a new upload"
                ) from None
            try:
                os.close(os.open(place.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
            except OSError:
                os.rmdir(place.directory)
                raise
        return place

    @classmethod
    def find(cls, ingests: str, upload: str) -> "IngestPlace":
        """Return an existing ingest's place. Raise BlobUploadUnknown if there is none."""
        if _UPLOAD.fullmatch(upload) is None:
            raise _unknown(upload[:80])
        directory = f"{ingests}/{upload}"
        with disk_errors():
            try:
                names = os.listdir(directory)
            except (FileNotFoundError, NotADirectoryError):
                raise _unknown(upload) from None
        data = next((name for name in names if _DATA.fullmatch(name)), _LOST)
        return cls(upload, directory, data)

    @property
    def path(self) -> str:
        return f"{self.directory}/{self.data}"

    @property
    def checkpoint(self) -> str:
        return f"{self.directory}/checkpoint"

    @property
    def algorithm(self) -> str:
        """How the bytes are hashed while they arrive."""
        return self.data.partition("-")[0]

    def stat(self) -> os.stat_result:
        """Return the data file's size and times. Raise BlobUploadUnknown if it is gone."""
        with disk_errors():
            try:
                return os.stat(self.path)
            except FileNotFoundError:
                raise self.unknown() from None

    def written_at(self) -> float:
        """Return when the data were last written to, in Unix seconds; for what a crash left
        without data, when that was. Raise BlobUploadUnknown if nothing is there."""
        with disk_errors():
            for path in (self.path, self.directory):
                with suppress(FileNotFoundError):
                    return os.stat(path).st_mtime
        raise self.unknown()

    def remove(self) -> None:
        """Drop the ingest. Raise BlobUploadUnknown if neither data nor remains are there."""
        with disk_errors():
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                if not self.clear():
                    raise self.unknown() from None
            else:
                self.clear()

    def clear(self) -> bool:
        """Remove what is left beside data that has gone; tell whether something was."""
        with suppress(FileNotFoundError):
            os.unlink(self.checkpoint)
        try:
            os.rmdir(self.directory)
        except OSError:  # gone already, or the home of a later ingest
            return False
        return True

    def unknown(self) -> BlobUploadUnknown:
        """Return the error that says that this ingest is gone."""
        return _unknown(self.upload)


def _unknown(upload: str) -> BlobUploadUnknown:
    return BlobUploadUnknown(
        f"upload {upload!r} does not exist or has ended; begin a new upload",
        detail={"upload": upload},
    )
