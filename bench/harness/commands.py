"""The clients that are compared, as command lines, and what one run of such a line costs."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.harness.exchange import MeasurementFailed
from tools.environment import PROGRAMS

OURS: Final = "entrepot"
LIMIT_SECONDS: Final = 300
_POLL_SECONDS: Final = 0.004
_HIGH_WATER: Final = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)

Words = Callable[[str, str], list[str]]
"""Makes the arguments of a program from a source and a destination."""


@dataclass(frozen=True, slots=True)
class ClientProgram:
    """A client: how it pulls an image to a layout (`host/name:tag`, folder), pushes one
    (folder, `host/name:tag`) and copies one between registries."""

    name: str
    file: Path
    version: str
    pull: Words
    push: Words
    copy: Words


@dataclass(frozen=True, slots=True)
class Cost:
    """What a whole process took: seconds of time and of CPU, and the most bytes that were
    resident."""

    wall: float
    cpu: float
    memory: int


def present() -> tuple[list[ClientProgram], list[str]]:
    """Return the clients that are on this machine, ours first, and the names of the others."""
    found, missing = [], []
    for name, (ask, pull, push, copy) in _KNOWN.items():
        places = os.pathsep.join([str(Path(sys.executable).parent), str(PROGRAMS), os.defpath])
        file = shutil.which(name, path=places)
        if file is None:
            missing.append(name)
            continue
        done = subprocess.run([file, *ask], capture_output=True, text=True, timeout=30)
        lines = (done.stdout or done.stderr).split("\n")
        version = next((line for line in lines if line.startswith("VCSTag")), lines[0])
        found.append(ClientProgram(name, Path(file), " ".join(version.split()), pull, push, copy))
    return found, missing


def run(program: ClientProgram, words: Sequence[str], home: Path) -> Cost:
    """Run a client to its end, knowing nothing of earlier runs. Raise MeasurementFailed."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home)}
    home.mkdir(parents=True, exist_ok=True)
    with (home / "output").open("w+") as output:
        begun = time.monotonic()
        process = subprocess.Popen(
            [str(program.file), *words],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        memory = 0
        while True:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            wall = time.monotonic() - begun
            if pid:
                break
            memory = max(memory, _high_water(process.pid))
            if wall > LIMIT_SECONDS:
                process.kill()
            time.sleep(_POLL_SECONDS)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            raise MeasurementFailed(f"{program.name} {' '.join(words)}: {output.read()[-2000:]}")
    return Cost(wall, used.ru_utime + used.ru_stime, memory)


def _high_water(pid: int) -> int:
    """Return the most memory that a process had resident so far, in bytes.

    Not `ru_maxrss`: that begins with the memory of the process that forked it.
    """
    try:
        return int(_HIGH_WATER.findall(Path(f"/proc/{pid}/status").read_text())[0]) * 1024
    except (OSError, IndexError):
        return 0  # it has just ended


def _regctl(source: str, target: str) -> list[str]:
    hosts = {place.partition("/")[0] for place in (source, target) if "://" not in place}
    plain = [word for host in sorted(hosts) for word in ("--host", f"reg={host},tls=disabled")]
    return [*plain, "image", "copy", source, target]


_KNOWN: Final[dict[str, tuple[list[str], Words, Words, Words]]] = {
    OURS: (
        ["version"],
        lambda image, folder: ["pull", "--quiet", image, f"oci:{folder}:bench"],
        lambda folder, image: ["push", "--quiet", f"oci:{folder}:bench", image],
        lambda source, target: ["cp", "--quiet", source, target],
    ),
    "skopeo": (
        ["--version"],
        lambda image, folder: [
            *("copy", "--quiet", "--insecure-policy", "--src-tls-verify=false"),
            *(f"docker://{image}", f"oci:{folder}:bench"),
        ],
        lambda folder, image: [
            *("copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"),
            *(f"oci:{folder}:bench", f"docker://{image}"),
        ],
        lambda source, target: [
            *("copy", "--quiet", "--insecure-policy", "--src-tls-verify=false"),
            *("--dest-tls-verify=false", f"docker://{source}", f"docker://{target}"),
        ],
    ),
    "crane": (
        ["version"],
        lambda image, folder: ["pull", "--insecure", "--format=oci", image, folder],
        lambda folder, image: ["push", "--insecure", folder, image],
        lambda source, target: ["copy", "--insecure", source, target],
    ),
    "regctl": (
        ["version"],
        lambda image, folder: _regctl(image, f"ocidir://{folder}:bench"),
        lambda folder, image: _regctl(f"ocidir://{folder}:bench", image),
        _regctl,
    ),
}
