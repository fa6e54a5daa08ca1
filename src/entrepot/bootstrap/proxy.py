"""The proxy of one process: upstreams, caches and redirects put together, kept in step with the
file of upstreams that `entrepot upstream` writes, and kept in order while it runs."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from entrepot import logs
from entrepot.bootstrap.caches import open_cache
from entrepot.bootstrap.upstreams import (
    open_upstream,
    redirect_places,
    routing_table,
    rules_of,
)
from entrepot.config import ConfigError, Settings
from entrepot.config.runtime_upstreams import (
    merged_upstreams,
    read_runtime_upstreams,
    runtime_upstreams_path,
    unlisted_upstream,
)
from entrepot.config.upstreams import UpstreamSettings
from entrepot.oci.errors import RegistryError
from entrepot.oci.platform import Platform
from entrepot.ports.clock import Clock
from entrepot.ports.mirror_books import MirrorBooks
from entrepot.rules.mirrored_images import mirrored_image
from entrepot.rules.source_routing import RoutingTable
from entrepot.services.cache import Cache
from entrepot.services.cache_upkeep import CacheUpkeep
from entrepot.services.mirror import Mirror
from entrepot.services.mirror_place import MirrorPlace
from entrepot.services.proxy import Proxy
from entrepot.services.redirects import Redirects, Site
from entrepot.services.upstream import Upstream
from entrepot.services.upstreams import Upstreams
from entrepot.services.warming import Warming, WarmOptions

if TYPE_CHECKING:
    from entrepot.adapters.remotes.transport import CurlTransport
    from entrepot.adapters.remotes.upstream_endpoints import Transports

_LOOK: Final = 1.0
"""Seconds between two looks at the file of upstreams, and between two writings of uses."""

_UPKEEP: Final = 60.0
"""Seconds between two rounds of upkeep."""


class OpenedProxy:
    """The proxy of one process. Make one by `opened_proxy`."""

    def __init__(
        self,
        settings: Settings,
        *,
        environ: Mapping[str, str],
        books: MirrorBooks,
        clock: Clock,
        stack: AsyncExitStack,
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._books = books
        self._clock = clock
        self._stack = stack
        self._log = logs.get_logger("proxy")
        self._file = runtime_upstreams_path(settings)
        self._seen: tuple[int, int] | None = None
        self._upstreams: Mapping[str, UpstreamSettings] = {}
        self._caches: dict[Path, Cache] = {}
        self._opening: dict[Path, asyncio.Lock] = {}
        self._said = ""
        self._check: CurlTransport | None = None
        self._places: dict[str, MirrorPlace] = {}
        self._transports: Transports | None = None
        unlisted = unlisted_upstream(settings) if settings.proxy.open else None
        self._pool = Upstreams(self._open, unlisted=unlisted)
        self.proxy = Proxy(RoutingTable(), Mirror(self, random.random), Redirects({}))

    # What the mirror asks for.

    @asynccontextmanager
    async def place(self, upstream: str) -> AsyncIterator[MirrorPlace]:
        """See `services.mirror.Places`."""
        opened = self._pool.get(upstream)
        with opened.held():
            place = self._places.get(upstream)
            if place is None or place.upstream is not opened:
                settings = self._of(upstream)
                cache = await self._cache(settings)
                place = MirrorPlace(opened, cache, rules_of(self._settings, settings))
                if upstream in self._upstreams:  # of unlisted ones there may be any number
                    self._places[upstream] = place
            yield place

    def caches(self) -> Iterable[Cache]:
        """See `services.mirror.Places`."""
        return tuple(self._caches.values())

    # What the faces ask for.

    @property
    def upstreams(self) -> Mapping[str, UpstreamSettings]:
        """The upstreams in force, by name."""
        return self._upstreams

    @property
    def opened(self) -> Mapping[str, Upstream]:
        """The upstreams that are open in this process."""
        return self._pool.opened()

    # Its life.

    async def look(self) -> bool:
        """Put the upstreams in force that are written now; return whether anything changed.

        What cannot be put in force, a file that is wrong or a cache that cannot be opened, changes
        nothing, is told of once, and is tried again the next time.
        """
        seen = _state(self._file)
        if seen == self._seen:
            return False
        try:
            upstreams, table = upstreams_in_force(self._settings)
            await self._apply(upstreams, table)
        except (ConfigError, RegistryError, OSError) as error:
            cause = str(error)
            if cause != self._said:
                self._log.error("upstreams not changed", file=str(self._file), cause=cause)
            self._said = cause
            return False
        self._seen, self._said = seen, ""
        return True

    async def start(self) -> None:
        """Put the upstreams in force that are written now. Raise ConfigError, or a
        RegistryError."""
        self._seen = _state(self._file)
        await self._apply(*upstreams_in_force(self._settings), first=True)

    async def _apply(
        self,
        upstreams: Mapping[str, UpstreamSettings],
        table: RoutingTable,
        *,
        first: bool = False,
    ) -> None:
        mirrored = {name: one for name, one in upstreams.items() if one.mode == "mirror"}
        for one in mirrored.values():
            await self._cache(one)
        self._upstreams = upstreams
        replaced = self._pool.replace(mirrored)
        for name, error in replaced.failed.items():
            self._log.error("upstream cannot be opened", upstream=name, cause=error.message)
        for what in () if first else ("added", "changed", "removed"):
            for name in getattr(replaced, what):
                self._log.info(f"upstream {what}", upstream=name)
        self._places.clear()
        before, self.proxy.redirects = self.proxy.redirects, self._redirects(upstreams)
        self.proxy.table = table
        await before.close()

    async def keep(self, *, first: bool) -> None:
        """Do what is to be done from time to time, until cancelled; `first` in one process only
        does what one is enough for."""
        jobs: list[Coroutine[Any, Any, None]] = [self._often(), self._pool.watch()]
        if first:
            jobs += [self._seldom(), self._warm()]
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)

    async def close(self) -> None:
        """Stop what is being fetched (what has come is kept) and close all."""
        await self.proxy.mirror.close()
        await self.proxy.redirects.close()
        await self._pool.close()
        await self.flush()

    async def flush(self) -> None:
        """Write how the caches were used."""
        for cache in self.caches():
            await cache.use.flush()

    async def _often(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            try:
                await self.flush()
                await self.look()
            except Exception:
                self._log.exception("looking after the upstreams failed")

    async def _seldom(self) -> None:
        while True:
            for cache in self.caches():
                try:
                    await self._tend(CacheUpkeep(cache))
                except Exception:
                    self._log.exception("upkeep of the cache failed")
            await asyncio.sleep(_UPKEEP)

    async def _warm(self) -> None:
        """Bring the images of `cache.warm` again and again; none of them ends that."""
        settings, warming = self._settings.cache, Warming(self.proxy.mirror)
        options = WarmOptions(tuple(map(Platform.parse, settings.warm_platforms)))
        while settings.warm:
            for text in settings.warm:
                try:
                    image = mirrored_image(self.proxy.table, text)
                    done = await warming.warm(image.source, image.reference, options)
                except RegistryError as error:
                    self._log.error("warming failed", image=text, cause=error.message)
                except Exception:
                    self._log.exception("warming failed", image=text)
                else:
                    if done.fetched:
                        fetched = {"blobs": done.fetched, "bytes": done.fetched_bytes}
                        self._log.info("image warmed", image=text, **fetched)
            await asyncio.sleep(settings.warm_interval)

    async def _tend(self, upkeep: CacheUpkeep) -> None:
        await upkeep.compare()
        await upkeep.set_back()
        await upkeep.expire()
        await upkeep.drop_leftovers()
        await upkeep.drop_names()
        await upkeep.drop_unlinked()
        interval = self._settings.cache.scrub_interval
        if interval:
            await upkeep.scrub(interval, _UPKEEP)

    # Putting it together.

    def _of(self, upstream: str) -> UpstreamSettings:
        return self._upstreams.get(upstream) or unlisted_upstream(self._settings)

    def _open(self, name: str, settings: UpstreamSettings) -> Upstream:
        from entrepot.adapters.remotes.upstream_endpoints import Transports

        if self._transports is None:
            self._transports = Transports(self._environ)
        return open_upstream(
            name,
            settings,
            environ=self._environ,
            books=self._books,
            transports=self._transports,
            listed=name in self._upstreams,
        )

    async def _cache(self, settings: UpstreamSettings) -> Cache:
        """Return the cache of an upstream. The first time it is opened, and what a crash has left
        in it is put right before anybody uses it."""
        path = self._settings.cache_path(settings)
        if path not in self._caches:
            async with self._opening.setdefault(path, asyncio.Lock()):
                if path not in self._caches:
                    self._caches[path] = await self._opened_cache(path)
        return self._caches[path]

    async def _opened_cache(self, path: Path) -> Cache:
        async with AsyncExitStack() as stack:  # what is opened of it closes if the rest cannot be
            cache = await open_cache(
                path, self._settings.cache, books=self._books, clock=self._clock, stack=stack
            )
            mended = await CacheUpkeep(cache).recover()
            if mended:
                self._log.info("cache mended after a crash", contents=mended)
            self._stack.push_async_callback(stack.pop_all().aclose)
        return cache

    def _redirects(self, upstreams: Mapping[str, UpstreamSettings]) -> Redirects:
        sites = _sites(self._settings)
        settings = self._settings.redirect
        check = None
        if sites:
            from entrepot.adapters.remotes.blob_check import HttpBlobCheck
            from entrepot.adapters.remotes.transport import CurlTransport
            from entrepot.adapters.remotes.transport_settings import TransportSettings

            if self._check is None:  # the sites do not change while it runs
                self._check = CurlTransport(TransportSettings(), self._environ)
                self._stack.push_async_callback(self._check.close)
            check = HttpBlobCheck(self._check, settings.check_timeout)
        return Redirects(
            redirect_places(self._settings, upstreams),
            sites=sites,
            check=check,
            remembered=settings.remembered,
        )


@asynccontextmanager
async def opened_proxy(
    settings: Settings, *, environ: Mapping[str, str], books: MirrorBooks, clock: Clock
) -> AsyncIterator[OpenedProxy]:
    """Open all upstreams and caches that are configured; close them at the end.

    Raise ConfigError, NameInvalid, Unavailable.
    """
    async with AsyncExitStack() as stack:
        opened = OpenedProxy(settings, environ=environ, books=books, clock=clock, stack=stack)
        try:
            await opened.start()
            yield opened
        finally:
            await opened.close()


def upstreams_in_force(
    settings: Settings,
) -> tuple[Mapping[str, UpstreamSettings], RoutingTable]:
    """Return the upstreams of the settings and of run time, and the routes to them.

    Raise ConfigError or a RegistryError for what cannot be put in force.
    """
    runtime = read_runtime_upstreams(runtime_upstreams_path(settings))
    upstreams = merged_upstreams(settings, runtime)
    Redirects(redirect_places(settings, upstreams), sites=_sites(settings), check=_NeverAsked())
    return upstreams, routing_table(settings, upstreams)


def _sites(settings: Settings) -> list[Site]:
    return [
        Site(name, one.url, one.networks, one.cloud, one.region)
        for name, one in settings.sites.items()
    ]


class _NeverAsked:
    """A check of blobs for redirects that are only looked over."""

    async def has(self, url: str) -> bool:
        return False


def _state(file: Path) -> tuple[int, int] | None:
    """Return what changes with a file's content; None if it is not there."""
    with contextlib.suppress(OSError):
        found = file.stat()
        return found.st_mtime_ns, found.st_ino
    return None
