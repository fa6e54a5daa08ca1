"""A server that is configured by a file of oci-proxy, or by the environment of the redirecting
proxy."""

import ssl
from collections.abc import Mapping
from pathlib import Path

from tests.server import RunningServer


class ConfiguredServer(RunningServer):
    """Its port is in `host` before it starts. `{port}` in what it is given becomes that port;
    `file` is the text of a `config.yaml`."""

    def __init__(
        self,
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        file: str = "",
        settings: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._given = dict(environment or {})
        self._file = file
        super().__init__(folder, settings=settings, tls=tls)

    def start(self) -> None:
        """Start the process. Its command line keeps it on loopback, where the file or the
        environment would open the same port on every interface."""
        port = self.host.rpartition(":")[2]
        if self._file and "--config" not in self._command:
            path = self.folder / "config.yaml"
            path.write_text(self._file.replace("{port}", port))
            self._command += ["--config", str(path)]
        self._environment |= {
            name: text.replace("{port}", port) for name, text in self._given.items()
        }
        super().start()
