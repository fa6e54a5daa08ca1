"""Programs that `dev.py` runs without showing what they print."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def quietly(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run `command`, which can ask nothing; return its exit code and, as `stdout`, all it said.

    Raise OSError if it cannot be started, TimeoutExpired after `seconds`.
    """
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=seconds,
    )
