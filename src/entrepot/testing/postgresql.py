"""A real PostgreSQL for tests: started in a temporary directory, gone afterwards.

It needs the server's programs (Debian: the package `postgresql`), no running service and no
account; started by root, it runs as an unprivileged user, because the server insists on one.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg import sql

from entrepot.testing.free_ports import free_port

PLACES: Final = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin")
UNPRIVILEGED: Final = ("postgres", "nobody")
SUPERUSER: Final = "entrepot"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0


class PostgresqlMissing(RuntimeError):
    """No PostgreSQL server is installed where this module looks, or it cannot be run here."""


@dataclass(slots=True)
class PostgresqlServer:
    """A running server; `programs` is the folder of `pg_dump` and its like."""

    programs: Path
    port: int
    _names: Iterator[int] = field(default_factory=count)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def create_database(self, like: str = "template1") -> str:
        """Create a database, empty or like another that nobody uses; return its name."""
        name = f"test_{next(self._names)}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(create.format(sql.Identifier(name), sql.Identifier(like)))
        return name


def find_programs() -> Path:
    """Return the folder of the newest installed server. Raise PostgresqlMissing if none."""
    root = Path("/")
    found = [
        folder
        for place in PLACES
        for folder in root.glob(place.removeprefix("/"))
        if (folder / "initdb").exists() and (folder / "postgres").exists()
    ]
    if on_path := shutil.which("initdb"):
        found.append(Path(on_path).resolve().parent)
    if not found:
        raise PostgresqlMissing(
            "no PostgreSQL server is installed (Debian: apt install postgresql)"
        )
    return max(found, key=_version)


def _version(folder: Path) -> int:
    digits = "".join(filter(str.isdigit, folder.parent.name))
    return int(digits or 0)


@contextmanager
def postgresql_server(*, durable: bool = False) -> Iterator[PostgresqlServer]:
    """Run a server on a free loopback port until the block ends.

    Unless `durable`, it never syncs: quicker, and enough for all but power cuts. Sorting is
    by ICU's English rules, so that a test sees where byte order was not asked for.
    Raise PostgresqlMissing if there is none.
    """
    programs, user = find_programs(), _user()
    with tempfile.TemporaryDirectory(prefix="entrepot-pg-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        if user is not None:
            shutil.chown(home, user)
        data = home / "data"
        _initialise(programs, data, user)
        port = free_port()
        process = _start(programs, data, port, user, durable=durable)
        try:
            server = PostgresqlServer(programs, port)
            _wait_until_ready(server, process, home / "log")
            yield server
        finally:
            _stop(process)


def postgresql_or_skip() -> Iterator[PostgresqlServer]:
    """Run a server for as long as a pytest fixture does (`yield from`), or skip its tests."""
    try:
        with postgresql_server() as server:
            yield server
    except PostgresqlMissing as missing:
        pytest.skip(f"not run: {missing}")


def _user() -> str | None:
    """Return whom to run as if we are root, else None."""
    if os.geteuid() != 0:
        return None
    accounts = {entry.pw_name for entry in pwd.getpwall()}
    for name in UNPRIVILEGED:
        if name in accounts:
            return name
    raise PostgresqlMissing("PostgreSQL does not run as root, and no unprivileged user is known")


def _group(user: str | None) -> int | None:
    return None if user is None else pwd.getpwnam(user).pw_gid


def _initialise(programs: Path, data: Path, user: str | None) -> None:
    command: list[str | Path] = [
        programs / "initdb",
        *("--pgdata", data, "--username", SUPERUSER, "--auth", "trust", "--no-sync"),
        *("--encoding", "UTF8", "--locale", "C.UTF-8"),
        *("--locale-provider", "icu", "--icu-locale", "en-US"),
    ]
    done = subprocess.run(
        command,
        user=user,
        group=_group(user),
        extra_groups=[] if user else None,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"initdb failed:\n{done.stdout}")


def _start(
    programs: Path, data: Path, port: int, user: str | None, *, durable: bool
) -> "subprocess.Popen[bytes]":
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "on" if durable else "off",
        "full_page_writes": "on" if durable else "off",
        "max_connections": "200",
    }
    command: list[str | Path] = [programs / "postgres", "-D", data, "-p", str(port)]
    for key, value in settings.items():
        command += ["-c", f"{key}={value}"]
    with (data.parent / "log").open("wb") as log:
        return subprocess.Popen(
            command,
            user=user,
            group=_group(user),
            extra_groups=[] if user else None,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _wait_until_ready(
    server: PostgresqlServer, process: "subprocess.Popen[bytes]", log: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(server.url(), connect_timeout=5).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}") from None
            time.sleep(0.05)  # it has no other way to say that it is ready
        else:
            return


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Stop without a last checkpoint: nobody will read the data again."""
    process.send_signal(signal.SIGQUIT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
