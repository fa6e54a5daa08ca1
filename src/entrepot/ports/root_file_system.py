"""Root file systems: where the layers of an image become files.

A directory is filled in a staging place of its own and gets its name when all is done, so nothing
half-written looks whole. Whatever a layer holds, nothing outside of it is touched.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

GIB: Final = 1024**3


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """What an image may grow to before it is taken for a bomb; None is no limit.

    `total_bytes` counts the files' lengths in all layers, holes of sparse files too. `entries`
    counts members of all layers. A layer may unpack to `ratio` times its compressed size once it
    is above `ratio_from` bytes.
    """

    total_bytes: int | None = 256 * GIB
    entries: int | None = 5_000_000
    ratio: int | None = 250
    ratio_from: int = GIB // 4


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something of an image that could not be made here, and stops nothing.

    `reason` says why, for people; `name` is the member's, printable.
    """

    layer: str
    name: str
    reason: str


class RootFileSystem(Protocol):
    """A directory being filled. One layer at a time, from the lowest to the highest."""

    @property
    def scratch(self) -> Path:
        """A folder on the same disk for what is on its way; it disappears with `close`."""
        ...

    async def apply(self, content: Iterable[bytes], where: str) -> None:
        """Apply a layer's tar, whiteouts and all; `content` is read in a thread, to its end.

        `where` is how messages call the layer. Raise ContentInvalid for what is no layer, would
        leave the directory or exceeds the limits, StoreFull, Unavailable, and what `content`
        raises.
        """
        ...

    async def commit(self) -> None:
        """Give the directory its modes and times, and then its name."""
        ...

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What could not be made, in order; at most the first thousand."""
        ...

    @property
    def entries(self) -> int:
        """How many members have been applied so far."""
        ...

    @property
    def total_bytes(self) -> int:
        """How long the files are together that have been written so far."""
        ...

    async def close(self) -> None:
        """Remove what has not been committed."""
        ...
