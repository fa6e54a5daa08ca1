"""The platform of this machine, as images are named for it."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from entrepot.oci.platform import Platform

_CPU: Final = Path("/proc/cpuinfo")
_LEVELS: Final = (
    ("v2", frozenset(["cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"])),
    ("v3", frozenset(["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"])),
    ("v4", frozenset(["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"])),
)
"""What each level of x86-64 adds, as Linux names it. Source: x86-64 psABI, "Micro-Architecture
Levels"."""


def local_platform() -> Platform:
    """Return the platform to choose images for here, with the processor's level.

    The system is always Linux: on others containers run in a Linux machine of their own.
    """
    platform = Platform("linux", os.uname().machine).normalised()
    if platform.architecture != "amd64":
        return platform
    try:
        flags = next(line for line in _CPU.read_text().splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):
        return platform
    return Platform("linux", "amd64", amd64_level(flags.partition(":")[2].split()))


def amd64_level(flags: Iterable[str]) -> str:
    """Return the highest level of x86-64, `v1` to `v4`, that a processor with these flags has."""
    present, level = frozenset(flags), "v1"
    for name, needed in _LEVELS:
        if not needed <= present:
            break
        level = name
    return level
