"""A spool as its readers see it: how far it has come, and being told when it has come further.

Where this process writes the spool, its writer tells how far it is. Where another does, one timer
per spool looks at the file while somebody waits: at its size, at whether it has been sealed (all
is verified), at whether it still has a name (else it failed), and at whether anybody writes it.
"""

import asyncio
import os
import weakref
from collections.abc import Callable
from typing import Final

from entrepot.adapters.content_stores.disk_errors import disk_errors
from entrepot.adapters.content_stores.spool_places import SpoolPlace, SpoolPlaces, is_sealed
from entrepot.oci.errors import RegistryError, Unavailable
from entrepot.ports.delivery import HELD_BACK

_STEP: Final = 256 << 10
"""Readers are woken for so many new bytes at once …"""

_PAUSE: Final = 0.001
"""… and for fewer only when they were not woken within so many seconds."""

_SOONEST: Final = 0.001
_LATEST: Final = 0.004
"""Seconds between two looks at a file that another process writes, when bytes come and when not."""

_ENDING: Final = 0.005
"""Seconds between two looks at whether anybody writes, for who only waits for that."""

_QUIET: Final = 0.05
"""After so many seconds without new bytes it is seen whether anybody writes."""


class FilesystemSpool:
    """See `ports.spools.SharedSpool`. One per spool and process, used from one event loop.

    Who reads a spool that nobody writes any more waits `patience` seconds for somebody to go on.
    """

    def __init__(
        self, place: SpoolPlace, descriptor: int, places: SpoolPlaces, *, patience: float
    ) -> None:
        """Follow the file that a descriptor is open on, which is the spool's from now on."""
        self._loop = asyncio.get_running_loop()
        self._place = place
        self._file = descriptor
        self._places = places
        self._patience = patience
        found = os.fstat(descriptor)
        self.identity = found.st_dev, found.st_ino
        self._written = found.st_size
        self._verified = is_sealed(found)
        self._failure: Exception | None = None
        self.written_here = False
        self._changed = asyncio.Event()
        self._waiting = 0
        self._told = 0
        self._called = False
        self._resting = False
        self._timer: asyncio.TimerHandle | None = None
        self._interval = _SOONEST
        self._quiet_since = self._loop.time()
        self._abandoned_at: float | None = None
        weakref.finalize(self, os.close, descriptor).atexit = False

    # ── Spool ────────────────────────────────────────────────────────────────────────────────

    @property
    def size(self) -> int:
        return self._place.size

    def open(self) -> int:
        return os.dup(self._file)

    async def available(self, beyond: int) -> int:
        self._look()
        while True:
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            if self._readable > beyond:
                return self._readable
            await self._change(lambda: self._readable > beyond)

    async def ended(self) -> bool:
        # A lock that another process lets go of gives no event.
        while self.written_here or self._places.is_written(self._place.digest):  # noqa: ASYNC110
            await asyncio.sleep(_ENDING)
        self._look()  # a writer seals the file before it lets go of it
        return self._verified and self._failure is None

    @property
    def failed(self) -> bool:
        """Whether its readers have been told that nothing more will come."""
        return self._failure is not None

    @property
    def _readable(self) -> int:
        size = self._place.size
        return size if self._verified else min(self._written, size - min(size, HELD_BACK))

    async def _change(self, happened: Callable[[], bool]) -> None:
        """Wait to be woken, unless it has just happened: the writer's thread looks at `_waiting`
        after it has noted its bytes."""
        self._waiting += 1
        try:
            if not happened():
                self._watch()
                await self._changed.wait()
        finally:
            self._waiting -= 1

    # ── written by this process ──────────────────────────────────────────────────────────────

    def attach(self) -> None:
        """A writer of this process goes on from here."""
        self.written_here = True
        self._abandoned_at = None
        self._written = os.fstat(self._file).st_size
        self._wake()

    def detach(self) -> None:
        """It has ended; if the content is not whole, perhaps another one goes on."""
        self.written_here = False
        self._quiet_since = self._loop.time()
        if self._waiting:
            self._watch()

    def advance(self, written: int) -> None:
        """Note how many bytes there are; called in the writer's thread, right after the write."""
        self._written = written
        if not self._waiting or self._called:
            return
        if not self._resting or written - self._told >= _STEP:
            self._called = True
            self._tell(self._wake)

    def verified(self) -> None:
        """Note that all bytes are right; called in a thread."""
        self._tell(self._verify)

    def fail(self, error: Exception) -> None:
        """Tell all who wait, and who will ask, that the rest will not come."""
        if self._failure is None and not self._verified:
            self._failure = error
        self.written_here = False
        self._wake()

    def _tell(self, news: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(news)
        except RuntimeError:  # the loop has ended, and all who waited with it
            self._called = False

    def _verify(self) -> None:
        self._verified = True
        self._wake()

    def _wake(self) -> None:
        self._called = False
        self._told = self._written
        self._changed.set()
        self._changed.clear()
        if self.written_here and not self._resting:
            self._resting = True
            self._loop.call_later(_PAUSE, self._rest)

    def _rest(self) -> None:
        self._resting = False
        if self._waiting and not self._called and self._written > self._told:
            self._wake()

    # ── written by another process ───────────────────────────────────────────────────────────

    def _watch(self) -> None:
        if self._timer is None and not self.written_here:
            self._interval = _SOONEST
            self._timer = self._loop.call_later(self._interval, self._poll)

    def _poll(self) -> None:
        self._timer = None
        if self.written_here or not self._waiting:
            return
        try:
            if self._look():
                self._interval = _SOONEST
            else:
                self._interval = min(2 * self._interval, _LATEST)
                if self._loop.time() - self._quiet_since > _QUIET:
                    self._see_who_writes()
        except RegistryError as error:
            self.fail(error)
        if self._waiting and self._failure is None and not self._verified:
            self._timer = self._loop.call_later(self._interval, self._poll)

    def _look(self) -> bool:
        """Look at the file that another process writes; tell whether there is news."""
        if self.written_here or self._verified or self._failure is not None:
            return False
        with disk_errors():
            found = os.fstat(self._file)
        grown = found.st_size > self._written
        self._written = found.st_size
        self._verified = is_sealed(found)
        if not self._verified and found.st_nlink == 0:
            self._failure = Unavailable(
                f"{self._place.digest} could not be brought whole; ask again, or look at the "
                "log for what its upstream sent",
                detail={"digest": str(self._place.digest)},
            )
        news = grown or self._verified or self._failure is not None
        if news:
            self._quiet_since = self._loop.time()
            self._wake()
        return news

    def _see_who_writes(self) -> None:
        now = self._loop.time()
        # A writer seals the file before it lets go of it, so a second look is the last word.
        if self._places.is_written(self._place.digest):
            self._abandoned_at = None
        elif self._look():
            pass
        elif self._abandoned_at is None:
            self._abandoned_at = now
            self._wake()
        elif now - self._abandoned_at >= self._patience:
            self.fail(
                Unavailable(
                    f"whoever was bringing {self._place.digest} has stopped, and nobody went on; "
                    "ask again",
                    detail={"digest": str(self._place.digest)},
                )
            )
