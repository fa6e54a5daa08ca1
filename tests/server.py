"""A running `entrepot serve`: a real process on a free loopback port, with a data directory."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final

from entrepot.testing.free_ports import free_port
from tests.databases import migrated_file
from tests.http_client import Client

START_SECONDS: Final = 30
STOP_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.02
_SHOWN: Final = 8000


class RunningServer:
    """One server process group. It is ready when the constructor returns.

    `settings` maps `section.key` to text, as the environment would give it; `config` is TOML;
    `listen` are addresses beside the TCP one. With `tls` the server is one whose certificate
    that context trusts. Unless `data` names its folder, its database has the schema already:
    a server that has to make it takes four times as long to start.
    After `stop` or `kill`, `start` serves the same data on the same address again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 1,
        settings: Mapping[str, str] | None = None,
        config: str = "",
        data: Path | None = None,
        listen: Iterable[str] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data = data or folder / "data"
        self.host = f"127.0.0.1:{free_port()}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self.tls = tls
        self._log = folder / "server.log"
        self._command = [self.program(), "serve", "--listen", self.host, "--data", str(self.data)]
        self._command += ["--workers", str(workers)]
        for address in listen:
            self._command += ["--listen", address]
        if config:
            file = folder / "entrepot.toml"
            file.write_text(config)
            self._command += ["--config", str(file)]
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("ENTREPOT_")
        } | {
            f"ENTREPOT_{name.replace('.', '_').upper()}": value
            for name, value in (settings or {}).items()
        }
        self._process: subprocess.Popen[bytes] | None = None
        if data is None and not self.data.exists():
            self.data.mkdir()
            shutil.copy(migrated_file(), self.data)
        self.start()

    def start(self) -> None:
        """Start the process and wait until it is ready. Raise RuntimeError if it never is."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended at once:\n{self.log()[-4000:]}")
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"not ready in {START_SECONDS} s:\n{self.log()[-4000:]}")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> int:
        """Send SIGTERM and return the exit code. What is still left after a while is killed."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._process = None
        return code

    def kill(self) -> None:
        """End all its processes at once, as a power failure would."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to the process or one of its workers."""
        assert pid in (self.process.pid, *self.workers)
        os.kill(pid, number)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started; with several workers, their parent."""
        assert self._process is not None, "the server is stopped"
        return self._process

    @property
    def workers(self) -> list[int]:
        """The ids of the processes that handle requests now."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children] or [pid]

    def client(self, *, timeout: float = 30.0) -> Client:
        """Return a client with a connection of its own."""
        host, _, port = self.host.partition(":")
        return Client(host, int(port), timeout=timeout)

    @property
    def listens(self) -> bool:
        """Whether a new connection is taken, or at least left waiting, and not refused."""
        host, _, port = self.host.partition(":")
        try:
            socket.create_connection((host, int(port)), 1).close()
        except ConnectionRefusedError:
            return False
        except OSError:  # at this moment it stops, or is too busy
            return True
        return True

    def log(self) -> str:
        """Return all that the server has written so far, over restarts too."""
        return self._log.read_text(errors="replace")

    def print_log(self) -> None:
        """Print the end of its log, which pytest shows below a test that has failed."""
        print(f"the log of {self.url}:\n{self.log()[-_SHOWN:]}")

    @staticmethod
    def program() -> str:
        """Return the path of the program."""
        return str(Path(sys.executable).with_name("entrepot"))

    def _ready(self) -> bool:
        connection = HTTPConnection(self.host, timeout=5)
        if self.tls:
            connection = HTTPSConnection(self.host, timeout=5, context=self.tls)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
