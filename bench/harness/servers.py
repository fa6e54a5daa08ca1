"""The servers that are compared, as real processes on a free loopback port.

Each writes one access log line per request, to /dev/null, and nothing else but warnings; each
keeps its data in a folder of the same file system. None asks for credentials.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from tools import go_programs

START_SECONDS: Final = 30
STOP_SECONDS: Final = 15
_POLL_SECONDS: Final = 0.02

Address = tuple[str, int]


class NotHere(Exception):
    """A server's program is not on this machine; the message says why."""


class ServerFailed(Exception):
    """A server did not start, or ended before it was told to; the message says which."""


@dataclass(frozen=True, slots=True)
class Program:
    """A server that can be started.

    `arguments` takes the address and an empty folder and returns what follows the program on
    its command line, after writing whatever configuration file that names. `notes` says how it
    was configured.
    """

    name: str
    file: Path
    version: str
    notes: str
    ready: str
    arguments: Callable[[Address, Path], list[str]]


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs and is ready: its `address`, and the `pid` of its first process."""

    name: str
    address: Address
    pid: int


def find(name: str) -> Program | NotHere:
    """Return the program of a server by its name in `KNOWN`, or why it is not to be had."""
    try:
        return KNOWN[name]()
    except NotHere as reason:
        return reason


@contextmanager
def running(program: Program, folder: Path) -> Iterator[Server]:
    """Run a server on a free port with its data inside `folder`; stop it at the end.

    Raise ServerFailed if it does not become ready.
    """
    folder.mkdir(parents=True)
    address = ("127.0.0.1", _free_port())
    command = [str(program.file), *program.arguments(address, folder)]
    environment = {key: value for key, value in os.environ.items() if not _configures(key)}
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Ours logs there, access lines too; the others only what is worth a warning.
            stderr=subprocess.DEVNULL if program.name.startswith(OURS) else errors,
            start_new_session=True,
        )
    try:
        if not _becomes_ready(process, address, program.ready):
            told = (folder / "errors").read_text(errors="replace")[-2000:]
            raise ServerFailed(f"{program.name} does not start: {' '.join(command)}\n{told}")
        yield Server(program.name, address, process.pid)
        if process.poll() is not None:
            raise ServerFailed(f"{program.name} ended by itself with code {process.returncode}")
    finally:
        _stop(process)


def _configures(variable: str) -> bool:
    """Whether an environment variable would change a server's configuration."""
    return variable.startswith(("ENTREPOT_", "REGISTRY_", "ZOT_"))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _becomes_ready(process: subprocess.Popen[bytes], address: Address, path: str) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if _answers(address, path):
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _answers(address: Address, path: str) -> bool:
    connection = HTTPConnection(*address, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the group that `running` made for it
        process.wait()


def _entrepot() -> Program:
    file = _found(str(Path(sys.executable).with_name("entrepot")))
    return Program(
        name=OURS,
        file=file,
        version=_first_line([str(file), "version"]),
        notes="default configuration: durable pushes (fsync), access log on, to /dev/null",
        ready="/readyz",
        arguments=lambda address, folder: [
            "serve",
            "--listen",
            f"{address[0]}:{address[1]}",
            "--data",
            str(folder / "data"),
        ],
    )


def _docker_registry() -> Program:
    file = _found("docker-registry")
    return Program(
        name="docker-registry",
        file=file,
        version=_first_line([str(file), "--version"]),
        notes=(
            "filesystem driver, in-memory descriptor cache, delete enabled, as Debian configures "
            "it but without htpasswd; log level warn, access log on, to /dev/null; it fsyncs blob "
            "files before it answers"
        ),
        ready="/v2/",
        arguments=_docker_registry_arguments,
    )


def _docker_registry_arguments(address: Address, folder: Path) -> list[str]:
    config = folder / "config.yml"
    config.write_text(
        f"""\
version: 0.1
log: {{level: warn, accesslog: {{disabled: false}}}}
storage:
  cache: {{blobdescriptor: inmemory}}
  filesystem: {{rootdirectory: {json.dumps(str(folder / "data"))}}}
  delete: {{enabled: true}}
http:
  addr: {address[0]}:{address[1]}
  secret: benchmark
  headers: {{X-Content-Type-Options: [nosniff]}}
health:
  storagedriver: {{enabled: true, interval: 10s, threshold: 3}}
"""
    )
    return ["serve", str(config)]


def _zot() -> Program:
    try:
        file = go_programs.install(go_programs.ZOT)
    except (go_programs.NotToBeHad, go_programs.BuildFailed) as reason:
        if (other := shutil.which("zot")) is None:
            raise NotHere(str(reason)) from None
        file = Path(other)
    return Program(
        name="zot",
        file=file,
        version=_first_line([str(file), "--version"]),
        notes="local storage with commit (fsync) on, log level info, to /dev/null",
        ready="/v2/",
        arguments=_zot_arguments,
    )


def _zot_arguments(address: Address, folder: Path) -> list[str]:
    config = folder / "config.json"
    settings = {
        "storage": {"rootDirectory": str(folder / "data"), "commit": True},
        "http": {"address": address[0], "port": str(address[1])},
        "log": {"level": "info", "output": os.devnull},
    }
    config.write_text(json.dumps(settings))
    return ["serve", str(config)]


def _found(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise NotHere(f"{name} is not on this machine")
    return Path(found)


def _first_line(command: list[str]) -> str:
    """Return the first line a program prints; some print their version to standard error."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return (done.stdout or done.stderr).strip().partition("\n")[0].removeprefix(f"{command[0]} ")


OURS: Final = "entrepot"
KNOWN: Final[dict[str, Callable[[], Program]]] = {
    OURS: _entrepot,
    "docker-registry": _docker_registry,
    "zot": _zot,
}
"""Every server by name; ours comes first."""
