"""The digest an append leaves beside its data, for the process that commits.

An upload is often finished by another process than the one that hashed it. With the digest of
all that was written at hand, that process need not read the data again.
"""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from entrepot.adapters.content_stores.running_hash import RunningHash
from entrepot.oci.digest import Digest
from entrepot.oci.errors import DigestInvalid

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The digest of the first `offset` bytes of the file named `data`.

    It counts only while the same kernel runs (`boot`): neither it nor the data are synced to
    disk before the commit, so after a power loss the data may have holes it knows nothing of.
    """

    data: str
    offset: int
    digest: Digest
    boot: str

    @classmethod
    def note(cls, path: str, data: str, running: RunningHash) -> None:
        """Write to `path` how far the hash of `data` has come. Raise OSError."""
        line = f"{data} {running.offset} {running.digest()} {_boot()}\n"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    @classmethod
    def read(cls, path: str) -> "Checkpoint | None":
        """Return the checkpoint at `path`, or None where there is no readable one."""
        try:
            text = Path(path).read_text("ascii")
            data, offset, digest, boot = text.removesuffix("\n").split(" ")
            return cls(data, int(offset), Digest.parse(digest), boot)
        except (OSError, ValueError, DigestInvalid):
            return None

    def covers(self, data: str, size: int, algorithm: str) -> bool:
        """Tell whether this is the `algorithm` digest of all `size` bytes of the file `data`."""
        return (
            self.data == data
            and self.offset == size
            and self.digest.algorithm == algorithm
            and self.boot == _boot() != ""
        )


@cache
def _boot() -> str:
    """Return what names this run of the kernel; empty where the kernel does not tell."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""
