"""What the numbers were measured on."""

import os
import platform
import subprocess
from pathlib import Path

from tools.environment import ROOT


def facts(folder: Path) -> dict[str, object]:
    """Return facts about this machine, and the file system that `folder` is in."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu(),
        "sha_extensions": " sha_ni " in _cpu_text() or " sha2 " in _cpu_text(),
        "usable_cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "python": platform.python_version(),
        "file_system": _output("stat", "--file-system", "--format=%T", str(folder)),
        "load_average": os.getloadavg(),
        "commit": _output("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
    }


def _cpu_text() -> str:
    return Path("/proc/cpuinfo").read_text()


def _cpu() -> str:
    names = [line for line in _cpu_text().splitlines() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.machine()


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except OSError:
        return ""
