"""Clients in a process of their own, which hash what they read and keep none of it.

Run as a program it reads what to ask for, a JSON list of `Pull`s, and writes a list of `Pulled`s.
All begin at once, each in a thread with a connection of its own.
"""

import hashlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Pull:
    """A GET of `path`; with `accept`, of a manifest and then of all that it leads to."""

    host: str
    path: str
    accept: str = ""
    leave_after: int | None = None
    """Bytes of the body after which the client hangs up."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came of one request: `length` bytes of the `announced` ones, and their hash."""

    path: str
    status: int
    announced: int
    length: int
    sha256: str
    seconds: float

    @property
    def whole(self) -> bool:
        return self.status in (200, 206) and self.length == self.announced


class Pullers:
    """The process, begun at once; `results` waits for it."""

    def __init__(self, pulls: Sequence[Pull]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.mirror.pullers"],
            cwd=Path(__file__).parents[3],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        json.dump([asdict(pull) for pull in pulls], self._process.stdin)
        self._process.stdin.close()
        self._process.stdin = None

    def results(self, timeout: float = 300.0) -> list[Pulled]:
        """Return all responses, once there are no more to come."""
        try:
            output, _ = self._process.communicate(timeout=timeout)
        except BaseException:
            self._process.kill()
            self._process.communicate()
            raise
        return [Pulled(**one) for one in json.loads(output)]


class _Puller(threading.Thread):
    def __init__(self, pull: Pull) -> None:
        super().__init__()
        self.pull = pull
        self.pulled: list[Pulled] = []

    def run(self) -> None:
        self._get(self.pull.path)

    def _get(self, path: str) -> None:
        began = time.monotonic()
        hasher, kept, length, status, announced = hashlib.sha256(), b"", 0, 0, -1
        host, _, port = self.pull.host.rpartition(":")
        with (
            suppress(OSError),
            socket.create_connection((host, int(port)), 120) as sock,
            sock.makefile("rb") as stream,
        ):
            accept = f"Accept: {self.pull.accept}\r\n" if self.pull.accept else ""
            head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{accept}Connection: close\r\n\r\n"
            sock.sendall(head.encode())
            status = int(stream.readline().split()[1])
            while line := stream.readline().strip():
                name, _, value = line.partition(b": ")
                if name.lower() == b"content-length":
                    announced = int(value)
            buffer = memoryview(bytearray(BLOCK))
            while length < announced and (count := stream.readinto1(buffer)):  # type: ignore[attr-defined]
                hasher.update(buffer[:count])
                length += count
                if self.pull.accept and "/manifests/" in path:
                    kept += bytes(buffer[:count])
                if self.pull.leave_after is not None and length >= self.pull.leave_after:
                    break
        seconds = time.monotonic() - began
        self.pulled.append(Pulled(path, status, announced, length, hasher.hexdigest(), seconds))
        if kept and status == 200 and length == announced:
            self._follow(path.partition("/manifests/")[0], json.loads(kept))

    def _follow(self, repository: str, document: dict[str, object]) -> None:
        for child in _list(document.get("manifests")):
            self._get(f"{repository}/manifests/{child['digest']}")
        for blob in [*_list([document.get("config")]), *_list(document.get("layers"))]:
            self._get(f"{repository}/blobs/{blob['digest']}")


def _list(found: object) -> list[dict[str, str]]:
    return [one for one in found if one] if isinstance(found, list) else []


def main() -> None:
    pullers = [_Puller(Pull(**one)) for one in json.load(sys.stdin)]
    for puller in pullers:
        puller.start()
    for puller in pullers:
        puller.join()
    json.dump([asdict(one) for puller in pullers for one in puller.pulled], sys.stdout)


if __name__ == "__main__":
    main()
