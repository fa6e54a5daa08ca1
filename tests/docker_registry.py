"""Registries of others, with their data in a folder of the test's: docker-registry (the CNCF's
distribution, as Debian packages it), and zot."""

import json
import os
import subprocess
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, ClassVar, Final

from entrepot.testing.free_ports import free_port
from tests.programs import require_program

START_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.05


class RunningDockerRegistry:
    """One process on a free loopback port, ready when the constructor returns. The test is
    reported not run where the program is missing.

    `delete` is whether it deletes; with `users`, lines of an htpasswd file (bcrypt), nobody else
    gets in. After `kill`, `start` serves the same data at the same place.
    """

    PROGRAM: ClassVar = "docker-registry"

    def __init__(self, folder: Path, *, delete: bool = True, users: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.host = f"127.0.0.1:{free_port()}"
        self._program = require_program(self.PROGRAM)
        self._config = folder / "config.json"
        self._log = folder / "registry.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._config.write_text(json.dumps(self._settings(delete, users)))
        self.start()

    def _settings(self, delete: bool, users: str) -> dict[str, Any]:
        passwords = self.folder / "htpasswd"
        passwords.write_text(users)
        guard = {"htpasswd": {"realm": "a test", "path": str(passwords)}}
        return {
            "version": "0.1",
            "auth": guard if users else {},
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": str(self.folder / "data")},
                "delete": {"enabled": delete},
            },
            "http": {"addr": self.host, "secret": "test"},
        }

    def start(self) -> None:
        """Start the process and wait until it answers."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("REGISTRY_")}
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._program, "serve", self._config],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.PROGRAM} does not start:\n{self.log()[-4000:]}")
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """End it at once, as a power failure would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self) -> str:
        """Return all that it has written so far."""
        return self._log.read_text(errors="replace")

    def _ready(self) -> bool:
        connection = HTTPConnection(self.host, timeout=5)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status in (200, 401)
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


class RunningZot(RunningDockerRegistry):
    """The same with zot, which lets everybody in and deletes."""

    PROGRAM: ClassVar = "zot"

    def _settings(self, delete: bool, users: str) -> dict[str, Any]:
        address, _, port = self.host.partition(":")
        return {
            "storage": {"rootDirectory": str(self.folder / "data")},
            "http": {"address": address, "port": port},
            "log": {"level": "info"},
        }
