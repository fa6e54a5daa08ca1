"""Probes: what stands between us and a registry, looked at one part at a time, and what a cache
directory is like. For diagnosis only; what is asked for content goes through an UpstreamEndpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Distrust = Literal["expired", "early", "name", "authority", "other"]
"""Why a certificate is not accepted: its time is over or has not come, it is for another name, or
who signed it is not known. It is `distrust` in the detail of CertificateRefused."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that was accepted: the names it is for, who signed it, and when it ends (Unix
    seconds)."""

    names: tuple[str, ...]
    issuer: str
    ends: float


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory, or where it is to be: whether it exists and can be written to (or made), and
    how many bytes are free there."""

    path: Path
    exists: bool
    writable: bool
    free: int


class EndpointProbe(Protocol):
    """Looks at the way to one endpoint, as its settings lead there."""

    @property
    def secure(self) -> bool:
        """Whether the endpoint is asked by HTTPS."""
        ...

    @property
    def place(self) -> str:
        """What is connected to, as `host:port`: the proxy if there is one, else the endpoint."""
        ...

    @property
    def proxy(self) -> str:
        """The egress proxy's URL without credentials; empty where there is none."""
        ...

    async def addresses(self) -> Sequence[str]:
        """Return the addresses of the place. Raise HostUnknown."""
        ...

    async def connect(self) -> float:
        """Connect to the place, and return how many seconds that took. Raise ConnectionLost."""
        ...

    async def certificate(self) -> Certificate:
        """Agree on TLS with the endpoint, without a proxy, and return its certificate.

        Raise CertificateRefused, ConnectionLost.
        """
        ...


class DirectoryProbe(Protocol):
    """Looks at directories."""

    async def directory(self, path: Path) -> Directory:
        """Return what is known of a directory; nothing stays changed."""
        ...
