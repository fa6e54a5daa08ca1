"""Real egress proxies on loopback: squid (HTTP, CONNECT) and microsocks (SOCKS5)."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from entrepot.testing.free_ports import free_port
from tests.certificates import Certificate
from tests.programs import require_program
from tests.waiting import wait_until

NAME, PASSWORD = "me@work", "s/e:c@ret"
"""Credentials that must be percent-encoded in a URL."""

CREDENTIALS = "me%40work:s%2Fe%3Ac%40ret"


@dataclass
class EgressProxy:
    """A running proxy; `stop` ends it before its time."""

    host: str
    tls_host: str
    process: subprocess.Popen[bytes]
    record: Path

    def log(self) -> str:
        """Return what it wrote about the requests it served."""
        return self.record.read_text(errors="replace")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def squid(
    *, certificate: Certificate | None = None, account: bool = False, parent: str = ""
) -> Iterator[EgressProxy]:
    """Run squid; with `account` it lets in nobody else, with `certificate` it has a TLS port.
    All that it does goes through the proxy `parent` (`host:port`), if there is one."""
    program = require_program("squid")
    host, tls_host = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    with _folder_of_nobody() as folder:
        lines = [f"http_port {host}"]
        if certificate is not None:
            for file in (certificate.certificate, certificate.key):
                shutil.copy(file, folder)
                (folder / file.name).chmod(0o644)
            names = f"tls-cert={folder / certificate.certificate.name}"
            lines.append(f"https_port {tls_host} {names} tls-key={folder / certificate.key.name}")
        if account:
            helper = Path("/usr/lib/squid/basic_ncsa_auth")
            hashed = subprocess.run(
                ["openssl", "passwd", "-apr1", PASSWORD], capture_output=True, check=True
            )
            (folder / "users").write_text(f"{NAME}:{hashed.stdout.decode().strip()}\n")
            lines.append(f"auth_param basic program {helper} {folder / 'users'}")
            lines += ["acl known proxy_auth REQUIRED", "http_access allow known"]
            lines.append("http_access deny all")
        else:
            lines.append("http_access allow all")
        if parent:
            name, _, port = parent.rpartition(":")
            lines += [
                f"cache_peer {name} parent {port} 0 no-query default",
                "never_direct allow all",
            ]
        lines += ["pid_filename none", f"access_log stdio:{folder / 'access.log'}"]
        lines += [f"cache_log {folder / 'cache.log'}", "cache deny all", f"coredump_dir {folder}"]
        lines += ["shutdown_lifetime 0 seconds", "via off", "forwarded_for delete"]
        (folder / "squid.conf").write_text("\n".join([*lines, ""]))
        service = f"egress{host.rpartition(':')[2]}"  # names its shared memory
        command = [str(program), "-N", "-n", service, "-f", str(folder / "squid.conf")]
        try:
            with _running(command, folder, host) as process:
                yield EgressProxy(host, tls_host, process, folder / "access.log")
        finally:
            for left in Path("/dev/shm").glob(f"{service}-*"):
                left.unlink()


@contextmanager
def microsocks(*, account: bool = False) -> Iterator[EgressProxy]:
    """Run microsocks; with `account` it lets in nobody else."""
    port = free_port()
    command = [str(require_program("microsocks")), "-i", "127.0.0.1", "-p", str(port)]
    if account:
        command += ["-u", NAME, "-P", PASSWORD]
    with _folder_of_nobody() as folder, _running(command, folder, f"127.0.0.1:{port}") as process:
        yield EgressProxy(f"127.0.0.1:{port}", "", process, folder / "output")


@contextmanager
def _folder_of_nobody() -> Iterator[Path]:
    # squid refuses to run as root, and nobody may not enter pytest's own folders.
    folder = Path(tempfile.mkdtemp(prefix="entrepot-egress-"))
    try:
        if os.getuid() == 0:
            shutil.chown(folder, "nobody")
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def _running(command: list[str], folder: Path, host: str) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            user="nobody" if os.getuid() == 0 else None,
        )
    try:
        wait_until(lambda: _listens(host) or process.poll() is not None)
        assert process.poll() is None, (folder / "output").read_text()
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


def _listens(host: str) -> bool:
    name, _, port = host.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((name, int(port))) == 0
