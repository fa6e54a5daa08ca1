"""The client's composition root: addresses in, Ends and registries out. With `bootstrap` the only
place that knows adapters; it imports each of them only when an address asks for it, because a
command must start at once."""

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from entrepot.oci.address import Address, Kind
from entrepot.oci.errors import NameInvalid, Unauthorized
from entrepot.ports.credential_store import Credentials, CredentialStore
from entrepot.ports.image_end import ImageSource, ImageTarget
from entrepot.ports.remote_registry import RemoteRegistry, RemoteRepository
from entrepot.ports.root_file_system import RootFileSystem
from entrepot.rules.retries import RetryPolicy

if TYPE_CHECKING:
    from entrepot.adapters.ends.layout import LayoutEnd
    from entrepot.adapters.remotes.exchange import Transport
    from entrepot.adapters.remotes.registry import HttpRegistry
    from entrepot.adapters.remotes.session import Session
    from entrepot.bootstrap.proxy import OpenedProxy
    from entrepot.config import Settings
    from entrepot.config.proxy import CacheSettings
    from entrepot.config.upstreams import UpstreamSettings
    from entrepot.ports.cache_index import Usage
    from entrepot.ports.probe import DirectoryProbe
    from entrepot.rules.source_routing import RoutingTable
    from entrepot.services.cache import Cache
    from entrepot.services.doctor import Patient
    from entrepot.services.registry import Registry
    from entrepot.services.store_end import StoreEnd


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """How registries are reached on one side of a command.

    `username` and `password` go before every credential file. `allowed_realms` are hosts whose
    token servers may be sent logins of other registries. `proxy` is an egress proxy's URL (http,
    https, socks5, socks5h), None what the environment says.
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
    allowed_realms: tuple[str, ...] = ()
    retries: int = 5
    referrers_tag_fallback: bool = True


class Client:
    """All Ends and registries that one command opens; its end closes them.

    `warn` gets what registries and the client have to tell a person, once each. An archive that
    was not committed by the end has no name.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        debug: bool = False,
        warn: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._environ = environ
        self._debug = debug
        self._warn = warn
        self._opened = AsyncExitStack()
        self._transports: dict[RemoteOptions, Transport] = {}
        self._registries: dict[tuple[str, RemoteOptions], HttpRegistry] = {}
        self._stores: dict[str, Registry] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._opened.aclose()

    async def source(self, address: Address, options: RemoteOptions) -> ImageSource:
        """Open an End to read from. Raise what opening it raises."""
        place = await self._place(address, options)
        if place is not None:
            return place
        from entrepot.adapters.ends.archive_source import open_archive_source

        archive = await open_archive_source(
            address.path,
            address.repository,
            address.reference,
            docker=address.kind == "docker-archive",
        )
        self._opened.push_async_callback(archive.close)
        return archive

    async def target(self, address: Address, options: RemoteOptions) -> ImageTarget:
        """Open an End to write to, making folders and files that are not there."""
        place = await self._place(address, options)
        if place is not None:
            return place
        archive: ImageTarget
        if address.kind == "oci-archive":
            from entrepot.adapters.ends.oci_archive import OciArchiveTarget

            archive = OciArchiveTarget(address.path)
        else:
            from entrepot.adapters.ends.docker_archive_target import DockerArchiveTarget

            archive = DockerArchiveTarget(address.path, address.repository)
        self._opened.push_async_callback(archive.close)
        return archive

    async def _place(
        self, address: Address, options: RemoteOptions
    ) -> "RemoteRepository | StoreEnd | LayoutEnd | None":
        """Open an End that is both read from and written to; None for an archive."""
        if address.kind == "docker":
            return self.repository(address, options)
        if address.kind == "store":
            return await self._store(address)
        if address.kind == "oci":
            from entrepot.adapters.ends.layout import LayoutEnd

            return LayoutEnd(Path(address.path), address.reference)
        return None

    def registry(self, host: str, options: RemoteOptions) -> RemoteRegistry:
        """Return a registry; the same one for the same host and options."""
        return self._registry(host, options)

    def repository(self, address: Address, options: RemoteOptions) -> RemoteRepository:
        """Return a repository of a registry. Raise NameInvalid for any other address."""
        if address.kind != "docker" or address.repository is None:
            raise NameInvalid(f"{address} is not in a registry; name one as host/name:tag")
        registry = self._registry(address.host, options)
        return registry.repository(address.repository, address.reference)

    def credentials(self, options: RemoteOptions) -> CredentialStore:
        """Return where logins are found and kept."""
        from entrepot.adapters.credentials.search import find_credentials

        given = Credentials(options.username, options.password) if options.username else None
        return find_credentials(
            self._environ, given=given, authfile=options.authfile, anonymous=options.anonymous
        )

    async def log_in(self, host: str, options: RemoteOptions) -> Credentials:
        """Try the name and password of the options; return what is to be kept: them, or an
        identity token where the registry hands one out. Raise Unauthorized."""
        session = self._session(host, options, offline=True)
        registry = self._registry_over(session, options)
        answer = await registry.ping()
        if not answer.authorised:
            raise Unauthorized(f"{host} does not accept this name and password; try again")
        if session.identity_token:
            return Credentials(options.username, identity_token=session.identity_token)
        return Credentials(options.username, options.password)

    def _registry(self, host: str, options: RemoteOptions) -> "HttpRegistry":
        known = self._registries.get((host, options))
        if known is None:
            known = self._registry_over(self._session(host, options), options)
            self._registries[host, options] = known
        return known

    def _registry_over(self, session: "Session", options: RemoteOptions) -> "HttpRegistry":
        from entrepot.adapters.remotes.registry import HttpRegistry
        from entrepot.adapters.remotes.retries import Retries

        registry = HttpRegistry(
            session,
            self.credentials(options),
            uploads=_upload_notes(self._environ),
            retries=Retries(RetryPolicy(options.retries)),
            referrers_tag_fallback=options.referrers_tag_fallback,
        )
        self._opened.push_async_callback(registry.close)
        return registry

    def _session(self, host: str, options: RemoteOptions, *, offline: bool = False) -> "Session":
        from entrepot.adapters.remotes.session import Session

        return Session(
            host,
            self._transport(options),
            self.credentials(options),
            plain_http=options.plain_http,
            tls_verify=options.tls_verify,
            # A login that was given must count; one that was found may be out of date.
            anonymous_fallback=not options.username,
            allowed_realms=options.allowed_realms,
            offline=offline,
            retry_policy=RetryPolicy(options.retries),
            on_warning=self._warn,
            debug=self._debug,
        )

    def _transport(self, options: RemoteOptions) -> "Transport":
        known = self._transports.get(options)
        if known is None:
            from entrepot.adapters.remotes.transport import CurlTransport
            from entrepot.adapters.remotes.transport_settings import TransportSettings

            settings = TransportSettings(
                verify=options.tls_verify,
                ca_file=options.ca_file,
                client_certificate=options.client_certificate,
                client_key=options.client_key,
                proxy=options.proxy,
            )
            known = self._transports[options] = CurlTransport(settings, self._environ)
            self._opened.push_async_callback(known.close)
        return known

    async def _store(self, address: Address) -> "StoreEnd":
        """Open our own store once, whatever is asked of it, making it if it is not there."""
        from entrepot.services.store_end import StoreEnd

        assert address.repository is not None, "an address in a store names a repository"
        registry = self._stores.get(address.path)
        if registry is None:
            registry = await self._opened.enter_async_context(
                open_store(address.path or None, self._environ)
            )
            self._stores[address.path] = registry
        return StoreEnd(registry, address.repository, address.reference)

    async def patients(self, name: str, settings: "UpstreamSettings") -> "Sequence[Patient]":
        """Return each endpoint of an upstream, and the way to it. Raise NameInvalid, Unsupported
        or CertificateRefused where they cannot even be tried, and HostUnknown or ConnectionLost
        where they have to be discovered and cannot."""
        from entrepot.adapters.remotes.discovery import resolve
        from entrepot.adapters.remotes.probe import SocketProbe
        from entrepot.adapters.remotes.transport_settings import TransportSettings
        from entrepot.adapters.remotes.upstream_endpoints import open_endpoint
        from entrepot.services.doctor import Patient
        from entrepot.services.upstream_addresses import completed, endpoints_of

        full = completed(name, settings)
        way = TransportSettings(
            ca_file=full.ca_file,
            client_certificate=full.client_certificate,
            client_key=full.client_key,
            proxy=full.proxy,
            proxy_all=True,
            connect_timeout=full.connect_timeout,
        )
        urls = [one.url for one in endpoints_of(name, full)]
        if full.discovery:
            urls += [one.url for one in (await resolve(full.discovery)).endpoints]
        patients = []
        for url in urls:
            endpoint = open_endpoint(
                url, full, environ=self._environ, on_warning=self._warn, debug=self._debug
            )
            self._opened.push_async_callback(endpoint.close)
            probe = SocketProbe(url, way, self._environ)
            patients.append(Patient(name, full, probe, endpoint))
        return patients

    def directories(self) -> "DirectoryProbe":
        """Return what looks at directories."""
        from entrepot.adapters.remotes.probe import FileDirectoryProbe

        return FileDirectoryProbe()

    async def caches(self, paths: Iterable[Path], settings: "CacheSettings") -> "list[Cache]":
        """Open the caches at `paths`, which a server may be using. Raise Unavailable, OSError."""
        from entrepot.bootstrap import SystemClock
        from entrepot.bootstrap.caches import open_cache
        from entrepot.ports.mirror_books import NoBooks

        books, clock = NoBooks(), SystemClock()
        return [
            await open_cache(path, settings, books=books, clock=clock, stack=self._opened)
            for path in paths
        ]

    async def proxy(self, settings: "Settings") -> "OpenedProxy":
        """Open all upstreams and their caches, which a server may be using, as it does.

        Raise ConfigError, NameInvalid, Unavailable.
        """
        from entrepot import logs
        from entrepot.bootstrap import SystemClock
        from entrepot.bootstrap.proxy import opened_proxy
        from entrepot.config import LogSettings
        from entrepot.ports.mirror_books import NoBooks

        if not self._debug:  # which upstreams a server opens is no news to a command
            logs.configure(LogSettings(level="warning"))
        return await self._opened.enter_async_context(
            opened_proxy(settings, environ=self._environ, books=NoBooks(), clock=SystemClock())
        )

    def routes(
        self, settings: "Settings", upstreams: "Mapping[str, UpstreamSettings]"
    ) -> "RoutingTable":
        """Return the routes to all upstreams. Raise NameInvalid."""
        from entrepot.bootstrap.upstreams import routing_table

        return routing_table(settings, upstreams)

    async def cache_usage(self, path: Path) -> "Mapping[str, Usage]":
        """Return what each upstream takes in the cache at `path`; nothing where there is none.
        Raise Unavailable."""
        from entrepot.adapters.cache_indexes.sqlite import SqliteCacheIndex

        file = path / "index.db"
        if not file.is_file():
            return {}
        index = await SqliteCacheIndex.open(file)
        try:
            return await index.upkeep.usage()
        finally:
            await index.close()

    async def root_file_system(self, directory: Path) -> RootFileSystem:
        """Prepare to unpack an image to a directory that is new or empty. Raise Unsupported if
        it is in use."""
        from entrepot.adapters.rootfs.unpacked_directory import UnpackedDirectory

        return await UnpackedDirectory.open(directory)


@asynccontextmanager
async def open_store(path: str | None, environ: Mapping[str, str]) -> "AsyncIterator[Registry]":
    """Open a data directory as `entrepot serve` would, without serving: that of the settings in
    force unless `path` names another. Raise ConfigError, Unavailable or OSError."""
    import asyncio

    from entrepot import bootstrap

    settings = _store_settings(path, environ)
    await asyncio.to_thread(bootstrap.prepare_storage, settings)
    async with bootstrap.opened(settings) as registry:
        yield registry


def _upload_notes(environ: Mapping[str, str]) -> Path | None:
    """Return the folder of the notes by which uploads go on; None for who has no home."""
    home = environ.get("HOME") or os.path.expanduser("~")  # stays `~` for a user of no name
    cache = Path(environ.get("XDG_CACHE_HOME") or f"{home}/.cache")
    return cache / "entrepot" / "uploads" if cache.is_absolute() else None


def _store_settings(path: str | None, environ: Mapping[str, str]) -> "Settings":
    from entrepot.config import load

    return load(None, environ, {"storage.path": path and Path(path).expanduser()})


def recognise(path: str, prefer: Kind = "oci-archive") -> Address:
    """Return the End that a folder or file is, seen by its content; see `ends.recognition`."""
    from entrepot.adapters.ends import recognition

    return recognition.recognise(path, prefer)
