"""The client's composition root: addresses in, Ends and registries out. With `bootstrap` the only
place that knows adapters; it imports each of them only when an address asks for it, because a
command must start at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from entrepot.oci.address import Address, Kind
from entrepot.ports.credential_store import CredentialStore
from entrepot.ports.image_end import ImageSource, ImageTarget
from entrepot.ports.remote_registry import RemoteRegistry, RemoteRepository
from entrepot.ports.root_file_system import RootFileSystem


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """How registries are reached on one side of a command.

    `username` and `password` go before every credential file; `proxy` is an egress proxy's URL
    (http, https, socks5, socks5h), None what the environment says.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    authfile: Path | None = None
    anonymous: bool = False
    tls_verify: bool = True
    plain_http: bool = False
    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    proxy: str | None = field(default=None, repr=False)
    retries: int = 5
    referrers_tag_fallback: bool = True


class Client:
    """All Ends and registries that one command opens; its end closes them.

    An archive that was not committed by then disappears.
    """

    def __init__(self, environ: Mapping[str, str], *, debug: bool = False) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    async def source(self, address: Address, options: RemoteOptions) -> ImageSource:
        """Open an End to read from. Raise what opening it raises."""
        ...

    async def target(self, address: Address, options: RemoteOptions) -> ImageTarget:
        """Open an End to write to, making folders and files that are not there."""
        ...

    def registry(self, host: str, options: RemoteOptions) -> RemoteRegistry:
        """Return a registry; the same one for the same host and options."""
        ...

    def repository(self, address: Address, options: RemoteOptions) -> RemoteRepository:
        """Return a repository of a registry. Raise NameInvalid for any other address."""
        ...

    def credentials(self, options: RemoteOptions) -> CredentialStore:
        """Return where logins are found and kept."""
        ...

    async def root_file_system(self, directory: Path) -> RootFileSystem:
        """Prepare to unpack an image to a directory that is new or empty. Raise Unsupported if
        it is in use."""
        from entrepot.adapters.rootfs.unpacked_directory import UnpackedDirectory

        return await UnpackedDirectory.open(directory)


def recognise(path: str, prefer: Kind = "oci-archive") -> Address:
    """Return the End that a folder or file is, seen by its content; see `ends.recognition`."""
    from entrepot.adapters.ends import recognition

    return recognition.recognise(path, prefer)
