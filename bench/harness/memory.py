"""The memory of a server, all its processes together with shared pages counted once, and their
CPU time.

RSS charges a page to every process that has it, so forked workers look larger than they are.
PSS divides a page by all who have it, strangers too, so a server in the same language as its
load generator looks smaller. Here anonymous pages are summed by their PSS (only relatives by
fork can share them) and pages of files are charged in full, once per server.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_MAPPING: Final = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ ([0-9a-f]+) (\S+) (\d+)")
KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Peak:
    """The most that was seen, in bytes: `used` counts every page once; `pss` and `rss` are the
    kernel's own numbers summed over the processes."""

    used: int
    pss: int
    rss: int


class Gauge:
    """Watches the processes that descend from `pid`, itself included."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self._anonymous = self._files = self._pss = self._rss = 0

    def sample(self) -> None:
        """Look now; costs under a millisecond per process."""
        totals: dict[str, int] = defaultdict(int)
        for text in _texts(family(self._pid), "smaps_rollup"):
            for name, size in read_sizes(text).items():
                totals[name] += size
        self._anonymous = max(self._anonymous, totals["Pss_Anon"])
        self._pss = max(self._pss, totals["Pss"])
        self._rss = max(self._rss, totals["Rss"])

    def peak(self) -> Peak:
        """Return the most seen since `reset`; also looks at mapped files, which takes a while."""
        self.sample()
        files = file_bytes(_texts(family(self._pid), "smaps"))
        self._files = max(self._files, files)
        return Peak(self._anonymous + self._files, self._pss, self._rss)


def family(pid: int) -> list[int]:
    """Return a process and all its descendants that are alive."""
    found = [pid]
    for parent in found:
        for task in _PROC.glob(f"{parent}/task/*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue  # that thread or process has just ended
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its descendants that are alive, up to now."""
    ticks = 0
    for text in _texts(family(pid), "stat"):
        fields = text.rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def read_sizes(text: str) -> dict[str, int]:
    """Return the sizes in bytes of an smaps_rollup by name."""
    lines = (line.split() for line in text.splitlines()[1:])
    return {words[0].rstrip(":"): int(words[1]) * KIB for words in lines}


def file_bytes(smaps: Iterable[str]) -> int:
    """Return how many bytes of files processes have mapped and present, from their `smaps`.

    A part of a file that several have counts once, as large as in the one that has most of it.
    Pages changed since they were mapped are anonymous, and not counted here.
    """
    present: dict[tuple[str, ...], int] = defaultdict(int)
    for text in smaps:
        mapping: tuple[str, ...] = ()
        resident = 0
        for line in text.splitlines():
            if head := _MAPPING.match(line):
                mapping = head.groups() if head[3] != "0" else ()
            elif mapping and line.startswith("Rss:"):
                resident = int(line.split()[1])
            elif mapping and line.startswith("Anonymous:"):
                size = (resident - int(line.split()[1])) * KIB
                present[mapping] = max(present[mapping], size)
    return sum(present.values())


def _texts(pids: Iterable[int], name: str) -> list[str]:
    texts = []
    for pid in pids:
        try:
            texts.append((_PROC / str(pid) / name).read_text())
        except OSError:
            continue  # it has just ended
    return texts
