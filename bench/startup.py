"""`dev.py bench startup`: how long until a warm start answers, and until a command has answered.

"Warm" is every start but the first: `.venv` is filled, the database is migrated and the files
are in the page cache. Both are started as people do, with `dev.py` in the case of the server.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Final

from bench.harness import commands, layered_image, machine, servers
from bench.harness.exchange import MeasurementFailed
from tools.environment import ROOT

ROUNDS: Final = 5
_GIVE_UP_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.005


@dataclass(frozen=True, slots=True)
class Start:
    """Something that starts: `take` does it once and returns the seconds; `target` bounds their
    median."""

    name: str
    target: float
    take: Callable[[], float]

    def verdict(self, taken: Sequence[float]) -> str:
        """Return "reached" or "MISSED"."""
        return "reached" if median(taken) <= self.target else "MISSED"


def starts(folder: Path, image: str) -> list[Start]:
    """Return what is timed; the server's data lie in `folder`, and `image` in a registry."""
    program = str(Path(sys.executable).with_name("entrepot"))
    return [
        Start("dev.py serve, to its first answer", 2.0, lambda: serve(folder)),
        Start("entrepot --version", 0.12, lambda: run([program, "--version"])),
        Start("entrepot digest", 0.3, lambda: run([program, "digest", image])),
    ]


@contextlib.contextmanager
def image_in_a_registry(folder: Path) -> Iterator[str]:
    """Have a small image in a registry that runs. Raise RuntimeError if that cannot be had."""
    program = servers.find(servers.OURS)
    clients, _ = commands.present()
    if not isinstance(program, servers.Program):
        raise RuntimeError(str(program))
    layered_image.make(folder / "layout", layers=1, layer_mib=1, tag="bench")
    with servers.running(program, folder / "registry") as server:
        image = f"{server.address[0]}:{server.address[1]}/bench/small:bench"
        commands.run(clients[0], clients[0].push(str(folder / "layout"), image), folder / "home")
        yield image


def serve(folder: Path) -> float:
    """Return the seconds from starting `dev.py serve` to its answer to `GET /v2/`; stop it.

    Raise RuntimeError if it ends or says nothing.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    # Not the virtualenv's Python: dev.py has to find that by itself.
    command = [getattr(sys, "_base_executable", sys.executable), str(ROOT / "dev.py"), "serve"]
    command += ["--listen", address, "--data", str(folder / "data")]
    settings = {key: value for key, value in os.environ.items() if not key.startswith("ENTREPOT_")}
    with (folder / "log").open("w+") as log:
        begun = time.monotonic()
        process = subprocess.Popen(
            command, env=settings, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        with _stopped_at_the_end(process):
            while not _answers(address):
                if process.poll() is not None or time.monotonic() - begun > _GIVE_UP_SECONDS:
                    log.seek(0)
                    raise RuntimeError(f"dev.py serve does not answer:\n{log.read()[-2000:]}")
                time.sleep(_POLL_SECONDS)  # nothing tells us when it listens, so ask again
            return time.monotonic() - begun


def run(command: Sequence[str]) -> float:
    """Return how many seconds a command takes. Raise RuntimeError if it fails."""
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return time.monotonic() - begun


def _answers(address: str) -> bool:
    connection = HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def _stopped_at_the_end(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(_GIVE_UP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the group that was made for it
            process.wait()


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark as the arguments say; return the exit code."""
    parser = argparse.ArgumentParser("dev.py bench startup", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a target is missed")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="entrepot-startup-") as folder:
        facts = machine.facts(Path(folder))
        try:
            with image_in_a_registry(Path(folder)) as image:
                timed_starts = starts(Path(folder), image)
                timed = {start: _timed(start, options.rounds) for start in timed_starts}
        except (RuntimeError, MeasurementFailed, servers.ServerFailed) as failure:
            print(failure, file=sys.stderr)
            return 1
    for start, taken in timed.items():
        print(
            f"{start.name}: median {median(taken) * 1000:.0f} ms of {len(taken)} "
            f"({min(taken) * 1000:.0f} to {max(taken) * 1000:.0f}); "
            f"target {start.target * 1000:.0f} ms, {start.verdict(taken)}"
        )
    if options.json:
        values = {start.name: taken for start, taken in timed.items()}
        options.json.write_text(json.dumps({"machine": facts, "seconds": values}, indent=1) + "\n")
    missed = any(start.verdict(taken) == "MISSED" for start, taken in timed.items())
    return 1 if options.check and missed else 0


def _timed(start: Start, rounds: int) -> list[float]:
    start.take()  # the first start is not a warm one
    return [start.take() for _ in range(rounds)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
