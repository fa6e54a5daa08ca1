"""The upstreams by name, added, changed and removed while the server runs.

Who asks for an upstream by name gets the one in force; what it has begun with an older one comes
to its end there, then its connections are closed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from entrepot.config.upstreams import UpstreamSettings
from entrepot.oci.errors import Denied, RegistryError
from entrepot.oci.reference import is_host
from entrepot.services.upstream import Upstream
from entrepot.services.upstream_attempts import PooledBlob
from entrepot.services.upstream_pool import PooledEndpoint
from entrepot.services.upstream_watch import Discover, Discovered

__all__ = [
    "Discover",
    "Discovered",
    "OpenUpstream",
    "PooledBlob",
    "PooledEndpoint",
    "Replaced",
    "Upstream",
    "Upstreams",
]

OpenUpstream = Callable[[str, UpstreamSettings], Upstream]
"""Makes an upstream of its name and settings, without asking anybody. May raise errors of
`entrepot.oci.errors`, e.g. where a file of certificates cannot be read."""

MOST_ON_DEMAND: Final = 256
"""Registries that are open at once although they are not configured."""

IDLE: Final = 600.0
"""Seconds after which such a registry is closed when nobody asks for it."""

_LOOKED_AT: Final = 60.0


@dataclass(frozen=True, slots=True)
class Replaced:
    """What has become different; `failed` are those that could not be opened, which stay as they
    were (or are left out if they are new), and why."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    failed: Mapping[str, RegistryError] = field(default_factory=dict)


class Upstreams:
    """All upstreams of this process.

    `unlisted` are the settings of registries that are not configured, which are then opened when
    they are asked for; None denies them. `clock` counts seconds. Needs a running event loop.
    """

    def __init__(
        self,
        open_upstream: OpenUpstream,
        *,
        unlisted: UpstreamSettings | None = None,
        most_on_demand: int = MOST_ON_DEMAND,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._open = open_upstream
        self._unlisted = unlisted
        self._most = most_on_demand
        self._clock = clock
        self._sleep = sleep
        self._settings: dict[str, UpstreamSettings] = {}
        self._configured: dict[str, Upstream] = {}
        self._on_demand: dict[str, Upstream] = {}  # who was asked for last stands last
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def get(self, name: str) -> Upstream:
        """Return an upstream. Raise Denied if it is not configured, and Unavailable and others
        if it has to be opened and cannot be."""
        known = self._configured.get(name)
        if known is not None:
            return known
        if self._unlisted is None or not is_host(name):
            raise Denied(
                f"{name} is no upstream of this server; whoever runs it can add it: "
                f"entrepot upstream add {name}",
                detail={"upstream": name},
            )
        known = self._on_demand.pop(name, None) or self._open(name, self._unlisted)
        self._on_demand[name] = known
        self._bound()
        return known

    def names(self) -> tuple[str, ...]:
        """Return the names of the configured ones, in their order."""
        return tuple(self._configured)

    def opened(self) -> Mapping[str, Upstream]:
        """Return all that are open, also those opened on demand."""
        return {**self._on_demand, **self._configured}

    def replace(self, settings: Mapping[str, UpstreamSettings]) -> Replaced:
        """Put these upstreams in force. What has not changed stays as it is, with its connections
        and its health."""
        old, failed = self._settings, dict[str, RegistryError]()
        added, changed = list[str](), list[str]()
        configured, in_force = dict[str, Upstream](), dict[str, UpstreamSettings]()
        for name, one in settings.items():
            known = self._configured.get(name)
            if known is not None and old[name] == one:
                configured[name], in_force[name] = known, one
                continue
            try:
                configured[name] = self._open(name, one)
            except RegistryError as error:
                failed[name] = error
                if known is not None:
                    configured[name], in_force[name] = known, old[name]
                continue
            in_force[name] = one
            (added if known is None else changed).append(name)
        removed = [name for name in old if name not in configured]
        leaving = [self._configured[name] for name in (*changed, *removed)]
        # Configured now, so not on demand any more.
        leaving += [self._on_demand.pop(name) for name in added if name in self._on_demand]
        self._configured, self._settings = configured, in_force
        for name in (*changed, *removed):
            self._watches.pop(name).cancel()
        for name in (*added, *changed):
            self._watches[name] = asyncio.create_task(configured[name].watch())
        for upstream in leaving:
            self._end(upstream)
        return Replaced(tuple(added), tuple(changed), tuple(removed), failed)

    def sweep(self) -> None:
        """Close registries opened on demand that nobody has asked for a while."""
        before = self._clock() - IDLE
        idle = [one for one in self._on_demand.values() if not one.busy and one.used_at < before]
        for upstream in idle:
            self._end(self._on_demand.pop(upstream.name))

    async def watch(self) -> None:
        """Sweep from time to time, until cancelled."""
        while True:
            await self._sleep(_LOOKED_AT)
            self.sweep()

    async def close(self) -> None:
        """Close all; what runs is waited for, so cancel it before if it must end now."""
        for task in self._watches.values():
            task.cancel()
        await asyncio.gather(*self._watches.values(), return_exceptions=True)
        self._watches.clear()
        for upstream in (*self._configured.values(), *self._on_demand.values()):
            self._end(upstream)
        self._configured, self._settings = {}, {}
        self._on_demand.clear()
        while self._ending:
            await asyncio.gather(*self._ending)

    def _bound(self) -> None:
        """Make room: the one not asked for longest goes, those at work last of all."""
        while len(self._on_demand) > self._most:
            *others, _newest = self._on_demand
            idle = (name for name in others if not self._on_demand[name].busy)
            self._end(self._on_demand.pop(next(idle, others[0])))

    def _end(self, upstream: Upstream) -> None:
        task = asyncio.create_task(upstream.retire())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
