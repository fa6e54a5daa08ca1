"""Credential files: docker's `config.json` and podman's `auth.json`, which share a format.

    {"auths": {"ghcr.io": {"auth": "base64 of user:password", "identitytoken": "…"}},
     "credHelpers": {"ghcr.io": "pass"}, "credsStore": "secretservice"}

What is unknown in a file stays as it is. Everything here blocks; call it in a thread.
Source: containers-auth.json(5); docker's "config.json" reference.
"""

import base64
import binascii
import contextlib
import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from entrepot.adapters.credentials.keys import candidates, plain_key, server_name
from entrepot.adapters.credentials.programs import Helper
from entrepot.oci.errors import Unauthorized
from entrepot.ports.credential_store import Credentials

_OURS: Final = ("auth", "username", "password", "identitytoken", "registrytoken")
_NOT_REPLACED: Final = frozenset({errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM})


class CredentialFile:
    """One file, and the helpers it names. `docker` says whose words new entries are written in."""

    def __init__(self, path: Path, environ: Mapping[str, str], *, docker: bool) -> None:
        self.path = path
        self._environ = environ
        self._docker = docker

    def exists(self) -> bool:
        """Say whether there is such a file."""
        return os.path.exists(self.path)

    def find(self, registry: str, repository: str) -> Credentials | None:
        """Return the login of the longest name that covers a repository.

        A helper for a name comes before an entry of it, and one for all names before entries.
        Raise Unauthorized if the file or a helper is broken.
        """
        document = self._read()
        names = candidates(registry, repository)
        helpers = _by_plain_key(_section(document, "credHelpers"))
        for name in names:
            for key, helper in helpers.get(name, {}).items():
                found = self._helper(helper).get(_asked_of_helper(key))
                if found is not None:
                    return found
        if document.get("credsStore"):
            found = self._helper(document["credsStore"]).get(server_name(registry))
            if found is not None:
                return found
        entries = _by_plain_key(_section(document, "auths"))
        for name in names:
            for key, entry in entries.get(name, {}).items():
                credentials = self._credentials(key, entry)
                if credentials is not None:
                    return credentials
        return None

    def save(self, registry: str, credentials: Credentials) -> str:
        """Keep a login, through the file's helper if it names one; return where.

        Raise Unauthorized if the file or a helper is broken, or cannot be written.
        """
        with self._exclusively():
            document = self._read()
            helper = self._helper_for(document, registry)
            if helper is not None and not credentials.registry_token:
                helper.store(server_name(registry), credentials)
                if document.get("credsStore"):
                    self._put_entry(document, registry, {})
                    self._write(document)
                return f"{helper.program}, as {self.path} says"
            self._put_entry(document, registry, _entry(credentials))
            self._write(document)
        return str(self.path)

    def erase(self, registry: str) -> bool:
        """Forget a registry's login, here and in its helper; say whether there was one.

        Raise Unauthorized as `save` does.
        """
        if not self.exists():
            return False
        with self._exclusively():
            document = self._read()
            helper = self._helper_for(document, registry)
            erased = helper.erase(server_name(registry)) if helper is not None else False
            auths = _section(document, "auths")
            keys = [key for key in auths if plain_key(key) == plain_key(registry)]
            for key in keys:
                erased = self._credentials(key, auths.pop(key)) is not None or erased
            if keys:
                self._write(document)
        return erased

    def _credentials(self, key: str, entry: object) -> Credentials | None:
        if not isinstance(entry, dict):
            raise self._broken(f"the entry {key!r} is no object")
        user, password = entry.get("username") or "", entry.get("password") or ""
        if entry.get("auth"):
            try:
                decoded = base64.b64decode(str(entry["auth"]), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError, ValueError):
                raise self._broken(f"`auth` of the entry {key!r} is not base64") from None
            user, colon, password = decoded.partition(":")
            if not colon:
                raise self._broken(f"`auth` of the entry {key!r} is not user:password")
        found = Credentials(
            str(user),
            str(password).strip("\0"),
            str(entry.get("identitytoken") or ""),
            str(entry.get("registrytoken") or ""),
        )
        empty = not (found.password or found.identity_token or found.registry_token)
        return None if empty else found

    def _helper_for(self, document: Mapping[str, Any], registry: str) -> Helper | None:
        own = _by_plain_key(_section(document, "credHelpers")).get(plain_key(registry), {})
        name = next(iter(own.values()), None) or document.get("credsStore")
        return self._helper(name) if name else None

    def _helper(self, name: object) -> Helper:
        return Helper(str(name), self._environ)

    def _put_entry(self, document: dict[str, Any], registry: str, entry: Mapping[str, str]) -> None:
        """Put a registry's entry in the place of all that mean it, keeping what else they say."""
        auths = _section(document, "auths")
        document["auths"] = auths
        kept: dict[str, Any] = {}
        for key in [key for key in auths if plain_key(key) == plain_key(registry)]:
            old = auths.pop(key)
            if isinstance(old, dict):
                kept |= {name: value for name, value in old.items() if name not in _OURS}
        key = server_name(registry) if self._docker else plain_key(registry)
        auths[key] = kept | dict(entry)

    def _read(self) -> dict[str, Any]:
        """Return what the file says, nothing where there is none."""
        try:
            content = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            if not os.access(self.path.parent, os.X_OK):
                return {}  # another user's folder, as after `su` with the old environment
            raise self._broken(f"it cannot be read: {error.strerror}") from None
        if not content.strip():
            return {}
        try:
            document = json.loads(content)
        except (ValueError, RecursionError) as error:
            line = getattr(error, "lineno", None)
            where = f" in line {line}" if line else ""
            raise self._broken(f"it is not JSON{where}") from None
        if not isinstance(document, dict):
            raise self._broken("it is no JSON object")
        for name in ("auths", "credHelpers"):
            if not isinstance(document.get(name) or {}, dict):
                raise self._broken(f"`{name}` is no object")
        return document

    def _write(self, document: Mapping[str, Any]) -> None:
        """Replace the file at once, for its owner's eyes only; a link to it stays a link."""
        content = (json.dumps(document, indent="\t", ensure_ascii=False) + "\n").encode()
        path = os.path.realpath(self.path)
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=".auth-", dir=os.path.dirname(path))
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(descriptor)
                os.replace(temporary, path)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
                raise
        except OSError as error:
            if error.errno not in _NOT_REPLACED or not os.path.exists(path):
                raise self._unwritable(error) from None
            self._write_in_place(path, content)

    def _write_in_place(self, path: str, content: bytes) -> None:
        """Write a file that cannot be replaced, such as one mounted into a container."""
        try:
            with open(path, "r+b") as file:
                file.write(content)
                file.truncate()
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._unwritable(error) from None

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Keep other logins of ours away between reading and writing, by a lock on the folder."""
        folder = os.path.dirname(os.path.realpath(self.path))
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            with contextlib.suppress(OSError):  # not every file system has locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _broken(self, what: str) -> Unauthorized:
        return Unauthorized(
            f"the credential file {self.path} is broken: {what}; mend it, or move it away and log "
            "in again"
        )

    def _unwritable(self, error: OSError) -> Unauthorized:
        return Unauthorized(
            f"the credential file {self.path} cannot be written: {error.strerror}; name another "
            "with --authfile"
        )


def _entry(credentials: Credentials) -> dict[str, str]:
    if ":" in credentials.username:
        raise Unauthorized("a user name with ':' cannot be kept; use another")
    if credentials.registry_token:
        return {"registrytoken": credentials.registry_token}
    # docker keeps the user's name beside an identity token, with an empty password.
    password = "" if credentials.identity_token else credentials.password
    auth = base64.b64encode(f"{credentials.username}:{password}".encode()).decode("ascii")
    if credentials.identity_token:
        return {"auth": auth, "identitytoken": credentials.identity_token}
    return {"auth": auth}


def _section(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = document.get(name)
    return section if isinstance(section, dict) else {}


def _by_plain_key(section: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return entries by what their keys mean; one that is written plainly comes first."""
    found: dict[str, dict[str, Any]] = {}
    for key in sorted(section, key=lambda key: plain_key(key) != key):
        found.setdefault(plain_key(key), {})[key] = section[key]
    return found


def _asked_of_helper(key: str) -> str:
    """Return what to ask a helper for: the key as its file has it, but Docker Hub's one name."""
    plain = plain_key(key)
    return server_name(plain) if server_name(plain) != plain else key
