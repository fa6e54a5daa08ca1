"""A server that a file of oci-proxy, or the environment of the redirecting proxy, tells where to
listen: started as the missions start theirs."""

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
        """Start the process without an address on its command line."""
        port = self.host.rpartition(":")[2]
        if "--listen" in self._command:
            place = self._command.index("--listen")
            del self._command[place : place + 2]
            if self._file:
                path = self.folder / "config.yaml"
                path.write_text(self._file.replace("{port}", port))
                self._command += ["--config", str(path)]
        self._environment |= {
            name: text.replace("{port}", port) for name, text in self._given.items()
        }
        super().start()
