"""What a layer's tar says about one file: the value that readers make and writers take.

Names are bytes, as on Linux. How names, links and whiteouts are to be understood stands in
`layer_path`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["file", "directory", "symlink", "link", "fifo", "char", "block"]

MOST_ID: Final = 2**32 - 2
"""Largest user or group id; the next one means "unchanged" to chown(2)."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a tar. `kind` "link" is a hard link to the member called `target`.

    `mode` are the twelve permission bits, `mtime` is nanoseconds since 1970, `size` the file's
    length in bytes. `stored` bytes of it are in the archive: less than `size` where `regions`
    (offset, length) tell that only these hold data. `device` is (major, minor).
    """

    name: bytes
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = field(default_factory=dict, hash=False)
    regions: tuple[tuple[int, int], ...] | None = None
    stored: int = 0


def shown(name: bytes) -> str:
    """Return a name for a message: quoted, unprintable bytes escaped, at most 200 characters."""
    text = repr(name.decode("utf-8", "backslashreplace"))
    return text if len(text) <= 200 else f"{text[:199]}…"
