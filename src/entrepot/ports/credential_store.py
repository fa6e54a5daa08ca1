"""Credentials: where logins to registries are kept."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Credentials:
    """A login. With an `identity_token` (OAuth2 refresh token) name and password are unused;
    `registry_token` is a bearer token that is sent as it is."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


class CredentialStore(Protocol):
    """Logins by registry and, where the store knows namespaces, by repository."""

    async def find(self, registry: str, repository: str = "") -> Credentials | None:
        """Return the login of the longest entry that names `registry` or a namespace of
        `registry/repository`; None to be anonymous.

        `registry` is `host[:port]`, `docker.io` for Docker Hub under all its names. Raise
        Unauthorized if a helper fails, saying which and what it said (never a secret).
        """
        ...

    async def save(self, registry: str, credentials: Credentials) -> str:
        """Keep a login; return where, for people to read."""
        ...

    async def erase(self, registry: str) -> bool:
        """Forget a login; say whether there was one."""
        ...
