"""The search for credentials: in which files, in which order, and where a login is kept.

1. credentials given on the command line, for all that the command reaches
2. the file of `--authfile`, and then no other; else the file `$REGISTRY_AUTH_FILE`
3. `$XDG_RUNTIME_DIR/containers/auth.json`, podman's (`/run/containers/UID` without the variable)
4. `$XDG_CONFIG_HOME/containers/auth.json`, or in `~/.config`
5. `$DOCKER_CONFIG/config.json`, or in `~/.docker`

The first file that has a login wins. A new login goes to the file that is named, else to the
first of these that exists, else to docker's.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from entrepot.adapters.credentials.files import CredentialFile
from entrepot.ports.credential_store import Credentials, CredentialStore


def find_credentials(
    environ: Mapping[str, str],
    *,
    given: Credentials | None = None,
    authfile: Path | None = None,
    anonymous: bool = False,
) -> CredentialStore:
    """Return the credentials that a command uses. `anonymous` finds none, and saves as usual."""
    stored = StoredCredentials(credential_files(environ, authfile), named=_named(environ, authfile))
    if anonymous:
        return GivenCredentials(None, stored)
    return stored if given is None else GivenCredentials(given, stored)


class StoredCredentials:
    """Logins in files and helpers. With `named`, new ones go to the first file, there or not."""

    def __init__(self, files: Sequence[CredentialFile], *, named: bool) -> None:
        self._files = tuple(files)
        self._named = named

    async def find(self, registry: str, repository: str = "") -> Credentials | None:
        """Return the login of the first file that has one (see the port)."""
        return await asyncio.to_thread(self._find, registry, repository)

    async def save(self, registry: str, credentials: Credentials) -> str:
        """Keep a login; return where (see the port)."""
        return await asyncio.to_thread(self._save, registry, credentials)

    async def erase(self, registry: str) -> bool:
        """Forget a login in the first file that has one (see the port)."""
        return await asyncio.to_thread(self._erase, registry)

    def _find(self, registry: str, repository: str) -> Credentials | None:
        for file in self._files:
            found = file.find(registry, repository)
            if found is not None:
                return found
        return None

    def _save(self, registry: str, credentials: Credentials) -> str:
        there = [file for file in self._files if file.exists()]
        file = self._files[0] if self._named else there[0] if there else self._files[-1]
        return file.save(registry, credentials)

    def _erase(self, registry: str) -> bool:
        return any(file.erase(registry) for file in self._files)


class GivenCredentials:
    """One login for every registry, or none; what is saved goes to the store behind."""

    def __init__(self, given: Credentials | None, behind: CredentialStore) -> None:
        self._given = given
        self._behind = behind

    async def find(self, registry: str, repository: str = "") -> Credentials | None:
        """Return what was given."""
        return self._given

    async def save(self, registry: str, credentials: Credentials) -> str:
        """Keep a login in the store behind."""
        return await self._behind.save(registry, credentials)

    async def erase(self, registry: str) -> bool:
        """Forget a login of the store behind."""
        return await self._behind.erase(registry)


def credential_files(
    environ: Mapping[str, str], authfile: Path | None = None
) -> tuple[CredentialFile, ...]:
    """Return the files to look into, in their order."""
    if authfile is not None:
        return (_file(authfile, environ),)
    paths = [Path(environ["REGISTRY_AUTH_FILE"])] if environ.get("REGISTRY_AUTH_FILE") else []
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    runtime = environ.get("XDG_RUNTIME_DIR")
    podman = Path(runtime) / "containers" if runtime else Path(f"/run/containers/{os.getuid()}")
    configuration = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    docker = Path(environ.get("DOCKER_CONFIG") or home / ".docker")
    paths += [podman / "auth.json", configuration / "containers" / "auth.json"]
    return (*(_file(path, environ) for path in [*paths, docker / "config.json"]),)


def _file(path: Path, environ: Mapping[str, str]) -> CredentialFile:
    return CredentialFile(path, environ, docker=path.name == "config.json")


def _named(environ: Mapping[str, str], authfile: Path | None) -> bool:
    return authfile is not None or bool(environ.get("REGISTRY_AUTH_FILE"))
