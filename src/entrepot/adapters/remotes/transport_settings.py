"""How connections are made: what the caller of the transport may choose."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from entrepot import __version__

CERTIFICATE_FOLDERS: Final = (
    Path("~/.config/containers/certs.d"),
    Path("/etc/containers/certs.d"),
    Path("/etc/docker/certs.d"),
)
"""Where podman and docker keep the certificates of one registry each, in podman's order."""


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """Settings of a transport; times are seconds.

    `ca_file` (PEM) is trusted beside the system's authorities, and `verify` off trusts anybody.
    `client_certificate` and `client_key` (PEM; the key may stand in the certificate's file) are
    shown to every server that asks for one; certificates meant for one registry belong below
    `certificate_folders`, in `<host[:port]>/`.

    `proxy` is the URL of an egress proxy: http, https, socks5 or socks5h, with credentials if it
    wants them. None reads the environment's `http_proxy`, `https_proxy` and `all_proxy`; an empty
    text means no proxy. What `no_proxy` names is asked directly, unless `proxy_all` wants nothing
    to go another way than by `proxy`.

    `stall_timeout` ends a transfer that stands still because of the other side, and
    `response_timeout` the wait for the answer to a write that has been sent: a registry moves or
    hashes a large blob before it answers. `connections` is how many are kept open when idle;
    no request ever waits for one, since a copy holds a download while it uploads.

    `only_global` connects to addresses on the internet only, whatever a name means and wherever an
    answer leads. An egress proxy resolves names by itself: it is not asked for addresses inside of
    a network, nor for names that only such a network knows.

    `connect_to` opens connections meant for one `host:port` to an address instead; requests and
    certificates go by the name all the same.
    """

    verify: bool = True
    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    certificate_folders: tuple[Path, ...] = CERTIFICATE_FOLDERS
    proxy: str | None = field(default=None, repr=False)  # it may hold a password
    proxy_all: bool = False
    connect_timeout: float = 10.0
    stall_timeout: float = 60.0
    response_timeout: float = 300.0
    only_global: bool = False
    connect_to: tuple[str, str] | None = None
    http2: bool = True
    connections: int = 16
    user_agent: str = f"entrepot/{__version__}"
