"""Running the commands of a document, with the servers that they start."""

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


def run_script(
    script: str, folder: Path, environment: Mapping[str, str], *, seconds: float
) -> "subprocess.CompletedProcess[str]":
    """Run a script to its end, then end the servers that it left running; a command that fails
    ends it. It runs in a folder, where its outputs stay as well. Raise TimeoutExpired."""
    outputs = [(folder / name).open("w+") for name in (".stdout", ".stderr")]
    with outputs[0] as out, outputs[1] as err:
        process = subprocess.Popen(
            ["sh", "-euxc", script],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return subprocess.CompletedProcess(
            script, code, (folder / ".stdout").read_text(), (folder / ".stderr").read_text()
        )
