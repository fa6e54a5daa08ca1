"""The program as people run it: a process with a home and a working directory of its own."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.server import RunningServer

_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Done:
    """What a run has left behind; output as bytes where an archive is written to it."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def out(self) -> str:
        return self.stdout.decode()

    @property
    def err(self) -> str:
        return self.stderr.decode()

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON lines of progress on standard error."""
        return [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]


class Program:
    """Runs `entrepot` in `folder`, which is also its home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {"PATH", "LANG", "COVERAGE_PROCESS_START"}
        self.environment = {name: os.environ[name] for name in kept if name in os.environ}
        self.environment |= {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder / "run")}

    def __call__(self, *words: object, input: bytes | str = b"", expect: int = 0) -> Done:
        """Run to the end. Fail with what it said unless the exit code is `expect`."""
        done = subprocess.run(
            [RunningServer.program(), *map(str, words)],
            cwd=self.folder,
            env=self.environment,
            input=input.encode() if isinstance(input, str) else input,
            capture_output=True,
            timeout=_SECONDS,
        )
        assert done.returncode == expect, f"{words}: {done.returncode}\n{done.stderr.decode()}"
        assert b"Traceback" not in done.stderr or "--debug" in words
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *words: object) -> subprocess.Popen[bytes]:
        """Start and do not wait; the caller ends it."""
        return subprocess.Popen(
            [RunningServer.program(), *map(str, words)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
