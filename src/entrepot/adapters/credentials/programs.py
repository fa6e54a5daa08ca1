"""Credential helpers: programs `docker-credential-NAME` that keep logins in a keychain.

They are given a word (`get`, `store`, `erase`, `list`) and a line or a document on standard
input, and answer on standard output. Everything here blocks; call it in a thread.
Source: docker-credential-helpers, "Development".
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from typing import Final

from entrepot.logs import HIDDEN, scrub
from entrepot.oci.errors import Unauthorized
from entrepot.ports.credential_store import Credentials

SECONDS: Final = 30.0
"""How long a helper may take. Some ask their user to unlock the keychain."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_TOKEN_USER: Final = "<token>"  # noqa: S105 - the user name of an identity token
_NOTHING: Final = ("credentials not found", "no credentials", "not found in native keychain")
_MAX_SHOWN: Final = 200


class Helper:
    """The helper of a name; `environ` says where programs are, and is what it gets."""

    def __init__(self, name: str, environ: Mapping[str, str], *, seconds: float = SECONDS) -> None:
        self.program = f"docker-credential-{name}"
        self._valid = _NAME.fullmatch(name) is not None
        self._environ = dict(environ)
        self._seconds = seconds

    def get(self, server: str) -> Credentials | None:
        """Return a server's login, None if there is none. Raise Unauthorized."""
        status, output, _ = said = self._run("get", server)
        if status:
            if _is_nothing(output):
                return None
            raise self._failed("get", server, said)
        user, secret = self._document(output, "Username"), self._document(output, "Secret")
        if not isinstance(user, str) or not isinstance(secret, str):
            raise self._unreadable("get")
        if user == _TOKEN_USER:
            return Credentials(identity_token=secret)
        return Credentials(user, secret) if user or secret else None

    def store(self, server: str, credentials: Credentials) -> None:
        """Keep a login. Raise Unauthorized."""
        user, secret = credentials.username, credentials.password
        if credentials.identity_token:
            user, secret = _TOKEN_USER, credentials.identity_token
        document = {"ServerURL": server, "Username": user, "Secret": secret}
        said = self._run("store", json.dumps(document))
        if said[0]:
            raise self._failed("store", server, said, secret)

    def erase(self, server: str) -> bool:
        """Forget a login; say whether there was one. Raise Unauthorized."""
        there = self.get(server) is not None
        said = self._run("erase", server)
        if said[0] and not _is_nothing(said[1]):
            raise self._failed("erase", server, said)
        return there

    def list(self) -> Mapping[str, str]:
        """Return user names by server. Raise Unauthorized."""
        said = self._run("list", "")
        if said[0]:
            raise self._failed("list", "all servers", said)
        try:
            found = json.loads(said[1])
        except ValueError:
            raise self._unreadable("list") from None
        if not isinstance(found, dict):
            raise self._unreadable("list")
        return {str(server): str(user) for server, user in found.items()}

    def _run(self, word: str, given: str) -> tuple[int, str, str]:
        """Return the exit status, standard output and standard error."""
        path = self._environ.get("PATH", os.defpath)
        found = shutil.which(self.program, path=path) if self._valid else None
        if found is None:
            raise Unauthorized(
                f"the credential helper {self.program} is not on PATH; install it, or remove it "
                "from the configuration that names it"
            )
        try:
            running = subprocess.Popen(
                [found, word],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environ,
                start_new_session=True,  # so that what it starts ends with it
            )
        except OSError as error:
            raise Unauthorized(
                f"{found} cannot be started: {error.strerror}; mend or reinstall it"
            ) from None
        with running:
            try:
                output, errors = running.communicate(given.encode(), self._seconds)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)
                raise Unauthorized(
                    f"{self.program} {word} gave no answer in {self._seconds:g} s; does it wait "
                    "for a keychain to be unlocked?"
                ) from None
        return (
            running.returncode,
            output.decode("utf-8", "replace"),
            errors.decode("utf-8", "replace"),
        )

    def _document(self, output: str, name: str) -> object:
        try:
            found = json.loads(output)
        except ValueError:
            raise self._unreadable("get") from None
        return found.get(name) if isinstance(found, dict) else None

    def _failed(
        self, word: str, server: str, said: tuple[int, str, str], secret: str = ""
    ) -> Unauthorized:
        text = said[2].strip() or said[1].strip()
        for shape in (secret, json.dumps(secret)[1:-1]):
            text = text.replace(shape or "\0", HIDDEN)
        line = "".join(c if c.isprintable() else " " for c in text)
        words = f": {scrub(line)[:_MAX_SHOWN]}" if line else ""
        return Unauthorized(
            f"{self.program} {word} for {server} failed with status {said[0]}{words}; try it by "
            "hand, or remove it from the configuration that names it"
        )

    def _unreadable(self, word: str) -> Unauthorized:
        # The answer is not shown: it may be a secret in an unexpected shape.
        return Unauthorized(
            f"{self.program} {word} answered something that is not its protocol; mend or replace it"
        )


def _is_nothing(output: str) -> bool:
    return any(words in output.lower() for words in _NOTHING)
