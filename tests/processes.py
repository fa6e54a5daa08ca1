"""What the operating system says about a running server: memory, open files."""

import os
from collections.abc import Iterable
from pathlib import Path


def own_memory(processes: Iterable[int]) -> int:
    """Return the bytes of memory that these processes hold for themselves.

    Pages of files, which the kernel shares and drops as it likes, are not counted.
    """
    return sum(_field(pid, "RssAnon") for pid in processes)


def reset_peak_memory(processes: Iterable[int]) -> int:
    """Let `peak_memory` begin anew; return the bytes that are resident now."""
    for pid in (known := list(processes)):
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    return sum(_field(pid, "VmRSS") for pid in known)


def peak_memory(processes: Iterable[int]) -> int:
    """Return the most bytes that were resident in these processes, pages of files included."""
    return sum(_field(pid, "VmHWM") for pid in processes)


def open_files(processes: Iterable[int]) -> int:
    """Return how many descriptors these processes have open."""
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in processes)


def _field(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)
