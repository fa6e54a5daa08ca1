"""Values in files that several processes share: the format of prometheus_client's multiprocess
mode, written in plain numbers first and moved to the file on `flush`."""

import os
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.utils import INF, floatToGoString

_FILE_BYTES: Final = 512 * 1024
"""More than all combinations of handlers, methods and usual codes take in one file."""


class Counter:
    """A count on its way to a file."""

    __slots__ = ("_file", "_key", "pending")

    def __init__(self, file: MmapedDict, key: str) -> None:
        self._file = file
        self._key = key
        self.pending = 0

    def flush(self) -> None:
        if self.pending:
            increase(self._file, self._key, self.pending)
            self.pending = 0


class Histogram:
    """Observations on their way to a file, which keeps buckets apart, not cumulated."""

    __slots__ = ("_bounds", "_counts", "_file", "_keys", "_sum", "_sum_key")

    def __init__(
        self,
        file: MmapedDict,
        name: str,
        labels: Mapping[str, str],
        meaning: str,
        bounds: Sequence[float],
    ) -> None:
        self._file = file
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._sum_key = series_key(name, labels, meaning, suffix="_sum")
        self._keys = [
            series_key(name, {**labels, "le": floatToGoString(bound)}, meaning, suffix="_bucket")
            for bound in (*bounds, INF)
        ]
        # Every bucket is there from the start: Prometheus wants whole histograms.
        for one in (self._sum_key, *self._keys):
            file.read_value(one)

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def flush(self) -> None:
        if not any(self._counts):
            return
        for bucket, count in enumerate(self._counts):
            if count:
                increase(self._file, self._keys[bucket], count)
                self._counts[bucket] = 0
        increase(self._file, self._sum_key, self._sum)
        self._sum = 0.0


def open_values(path: Path) -> MmapedDict:
    """Open a file of values with its space taken beforehand.

    Writing to a mapped page that finds no room on a full disk would kill the process.
    """
    with path.open("ab") as file:
        os.posix_fallocate(file.fileno(), 0, _FILE_BYTES)
    return MmapedDict(str(path))


def series_key(name: str, labels: Mapping[str, str], meaning: str, *, suffix: str = "") -> str:
    return mmap_key(name, name + suffix, list(labels), list(labels.values()), meaning)


def increase(file: MmapedDict, key: str, amount: float) -> None:
    file.write_value(key, file.read_value(key)[0] + amount, 0.0)


def value_path(directory: Path, kind: str, slot: int) -> Path:
    """Return the file of one worker's values of a kind, as multiprocess mode names it."""
    return directory / f"{kind}_{slot}.db"
