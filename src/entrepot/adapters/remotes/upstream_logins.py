"""Logins to upstreams, as their settings give them: a name and password, a fixed header field, or
what a program prints.

The program speaks as docker's credential helpers do for `get`: the registry's host on standard
input, `{"Username": …, "Secret": …}` on standard output; the user `<token>` means that the secret
is an identity token. Source: docker-credential-helpers, "Development".
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from entrepot.config.upstreams import UpstreamSettings
from entrepot.logs import scrub
from entrepot.oci.errors import Unauthorized, Unsupported
from entrepot.ports.credential_store import Credentials, CredentialStore
from entrepot.protocol.challenges import render_basic

SECONDS: Final = 30.0
"""How long a program may take."""

FAILED_FOR: Final = 10.0
"""How long a program that has failed is not started again, in seconds."""

_TOKEN_USER: Final = "<token>"  # noqa: S105 - the user name of an identity token
_NOTHING: Final = ("credentials not found", "no credentials")
_MAX_SHOWN: Final = 200
_MAX_OUTPUT: Final = 1 << 20
_NOT_OURS: Final = frozenset(
    {
        "accept", "accept-encoding", "connection", "content-length", "content-type", "host",
        "range", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Login:
    """How to log in: with what a store has when the registry asks, and with header fields that
    go with every request."""

    store: CredentialStore | None
    headers: Mapping[str, str]
    changes: bool = False
    """Whether the store may have another login next time."""


def login_of(settings: UpstreamSettings, environ: Mapping[str, str]) -> Login:
    """Return how an upstream's settings log in. Raise Unsupported for settings that lack what
    their `auth` needs."""
    headers = parse_headers(settings.headers)
    given = bool(settings.username or settings.password)
    if settings.auth == "basic":
        if not given:
            raise _lacking("basic", "username and password")
        basic = render_basic(settings.username, settings.password)
        return Login(None, {**headers, "Authorization": basic})
    if settings.auth == "header" and not headers:
        raise _lacking("header", "headers")
    if settings.auth == "exec":
        if not settings.exec:
            raise _lacking("exec", "exec")
        program = ProgramLogin(settings.exec, environ, ttl=settings.credentials_ttl)
        return Login(program, headers, changes=True)
    if settings.auth == "auto" and given:
        return Login(FixedLogin(_credentials(settings.username, settings.password)), headers)
    return Login(None, headers)


def parse_headers(lines: Sequence[str]) -> Mapping[str, str]:
    """Read `Name: value` lines. Raise Unsupported, without the value."""
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not name or not value or name.lower() in _NOT_OURS:
            raise Unsupported(
                f"the header field {name[:40]!r} of an upstream cannot be sent; write `Name: "
                "value`, of fields that are not the transfer's own"
            )
        headers[name] = value
    return headers


class FixedLogin:
    """A `CredentialStore` of one login."""

    def __init__(self, login: Credentials) -> None:
        self._login = login

    async def find(self, registry: str, repository: str = "") -> Credentials | None:
        """Return the login."""
        return self._login

    async def save(self, registry: str, credentials: Credentials) -> str:
        """Raise Unsupported."""
        raise _fixed()

    async def erase(self, registry: str) -> bool:
        """Raise Unsupported."""
        raise _fixed()


class ProgramLogin:
    """A `CredentialStore` that asks a program, and keeps what it says for `ttl` seconds.

    `clock` counts seconds from any time on.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        ttl: float,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = tuple(command)
        self._environ = dict(environ)
        self._ttl = ttl
        self._seconds = seconds
        self._clock = clock
        self._asking = asyncio.Lock()
        self._known: Credentials | Unauthorized | None = None
        self._until = float("-inf")

    async def find(self, registry: str, repository: str = "") -> Credentials | None:
        """Return the login; None if the program has none. Raise Unauthorized if it fails."""
        async with self._asking:
            if self._clock() >= self._until:
                try:
                    self._known = await asyncio.to_thread(self._ask, registry)
                    self._until = self._clock() + self._ttl
                except Unauthorized as error:
                    self._known = error
                    self._until = self._clock() + min(FAILED_FOR, self._ttl)
            if isinstance(self._known, Unauthorized):
                raise Unauthorized(self._known.message)
            return self._known

    async def save(self, registry: str, credentials: Credentials) -> str:
        """Raise Unsupported."""
        raise _fixed()

    async def erase(self, registry: str) -> bool:
        """Raise Unsupported."""
        raise _fixed()

    def _ask(self, registry: str) -> Credentials | None:
        status, output, errors = self._run(registry)
        if status:
            if any(words in output.lower() for words in _NOTHING):
                return None
            text = "".join(c if c.isprintable() else " " for c in errors.strip())
            words = f": {scrub(text)[:_MAX_SHOWN]}" if text else ""
            raise self._says(f"failed with status {status}{words}")
        try:
            found = json.loads(output)
            user, secret = found["Username"], found["Secret"]
        except (ValueError, TypeError, KeyError, RecursionError):
            user = secret = None
        if not isinstance(user, str) or not isinstance(secret, str):
            # What it said is not shown: it may be a secret in an unexpected shape.
            raise self._says('did not print {"Username": "…", "Secret": "…"}')
        return _credentials(user, secret) if user or secret else None

    def _run(self, registry: str) -> tuple[int, str, str]:
        """Return exit status, standard output and standard error."""
        path = self._environ.get("PATH", os.defpath)
        found = shutil.which(self._command[0], path=path)
        if found is None:
            raise self._says("is no program that can be found; name it with its path")
        try:
            running = subprocess.Popen(
                [found, *self._command[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environ,
                start_new_session=True,  # so that what it starts ends with it
            )
        except OSError as error:
            raise self._says(f"cannot be started: {error.strerror}") from None
        with running:
            try:
                output, errors = running.communicate(registry.encode(), self._seconds)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)
                raise self._says(f"gave no answer in {self._seconds:g} s") from None
        return (
            running.returncode,
            output[:_MAX_OUTPUT].decode("utf-8", "replace"),
            errors[:_MAX_OUTPUT].decode("utf-8", "replace"),
        )

    def _says(self, problem: str) -> Unauthorized:
        # Its arguments are not shown: they may hold a secret.
        return Unauthorized(
            f"the program for credentials, {self._command[0][:_MAX_SHOWN]}, {problem}; try it by "
            "hand, or change `exec` of the upstream"
        )


def _credentials(user: str, secret: str) -> Credentials:
    if user == _TOKEN_USER:
        return Credentials(identity_token=secret)
    return Credentials(user, secret)


def _lacking(auth: str, needed: str) -> Unsupported:
    return Unsupported(
        f'an upstream with auth = "{auth}" needs {needed}; set them, or another auth'
    )


def _fixed() -> Unsupported:
    return Unsupported("an upstream's login stands in the configuration; change it there")
