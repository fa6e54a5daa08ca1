"""A daemon of our own, of any make: started, waited for, and stopped."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

START_SECONDS: Final = 30
STOP_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.05
_LOG_CHARACTERS: Final = 4000


class DoesNotStart(Exception):
    """The daemon ended, or is not ready in time; the message is the last that it said."""


class RunningDaemon:
    """One daemon. It takes commands at `address` when the constructor returns.

    It is ready once `question`, a command, succeeds. What it says goes to a file in its folder,
    whose path has to be short, as that of a socket is. Without an `environment` it has that of
    this process. Raise DoesNotStart.
    """

    def __init__(
        self,
        folder: Path,
        address: str,
        command: Sequence[str],
        question: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.address = address
        self._log = folder / f"{Path(command[0]).name}.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._wait(question)

    def stop(self) -> None:
        """End the daemon, and with it what it has started."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait(self, question: Sequence[str]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run(question, capture_output=True).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise self._failure()
            time.sleep(_POLL_SECONDS)

    def _failure(self) -> DoesNotStart:
        said = self._log.read_text().strip()
        *_, last = ["it says nothing", *said.splitlines()]
        failure = DoesNotStart(last)
        failure.add_note(said[-_LOG_CHARACTERS:])
        return failure
