"""Lanes: a connection for one large transfer, driven by a thread while its body moves.

On the event loop each 16 KiB that libcurl shows is a call beside everything else that runs there;
what has been received is cold before it is hashed, and threads wait for each other. A thread that
receives, hashes and writes by itself needs a quarter less of CPU time, and half of the memory.

There are only so many threads (`transport_threads`). A transfer that has had nothing to do for a
while gives its thread back, at once where others wait, and is watched by the event loop until
there is something; so those that stand still or drip keep nobody waiting.
"""

import asyncio
import mmap
import select
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import Any, Final, Protocol

import pycurl

from entrepot.adapters.remotes.transport_loop import TransferLoop
from entrepot.adapters.remotes.transport_threads import Threads
from entrepot.ports.image_end import Sink

BLOCK: Final = 1 << 20
"""Bytes that a sink is given at a time, if the network is fast."""

Origin = tuple[str, str]
"""Scheme and host."""

_PATIENCE: Final = 0.5
"""Seconds after which a sink is given what there is."""

_EAGER_PATIENCE: Final = 0.05
"""The same where somebody waits."""

_AT_ONCE: Final = 256 << 10
"""How many bytes are then given as they come."""

_LOOK: Final = 0.2
"""Seconds that a thread waits for the network before it looks whether it is to stop."""

_QUIET: Final = 1.0
"""Seconds without anything to do after which a thread is given back."""

_QUIET_IF_WANTED: Final = 0.005
"""The same where another transfer waits for a thread."""

_SLICE: Final = 0.5
"""Seconds after which a thread is given back then, however much there is to do."""

_REFUSED: Final = 0
"""What tells libcurl that a piece was not taken, which ends the transfer."""


class Turn:
    """The right to receive or send, which one thread has at a time; it is left for what releases
    the GIL for long: hashing, the disk, and waiting for the network.

    libcurl shows 65,536 pieces for each GiB. Threads that receive at the same time meet at the GIL
    for many of them, and to be woken takes longer than what they wait for.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._holder = 0

    def take(self) -> None:
        """Wait for the turn."""
        self._lock.acquire()
        self._holder = get_ident()

    def leave(self) -> None:
        """Let another thread have the turn."""
        self._holder = 0
        self._lock.release()

    @contextmanager
    def left(self) -> Iterator[None]:
        """Leave the turn for a while, if this thread has it."""
        if self._holder != get_ident():
            yield
            return
        self.leave()
        try:
            yield
        finally:
            self.take()


class Driven(Protocol):
    """What a thread moves while it drives a transfer.

    `busy` says that our side is at work, `taken` counts bytes.
    """

    busy: bool

    @property
    def taken(self) -> int: ...
    @property
    def stopped(self) -> bool:
        """Whether the thread is to end."""
        ...

    def stop(self) -> None:
        """Move nothing more. From any thread."""
        ...

    def look(self) -> None:
        """Do what is due. In the thread, again and again."""
        ...

    def finish(self) -> None:
        """Do what is left, whenever the thread is given back."""
        ...


class Lane(TransferLoop):
    """A `TransferLoop` for one transfer at a time, which keeps one connection.

    The event loop drives it, except in `drive`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: Threads, turn: Turn) -> None:
        self._poller: Any = None
        self._deadline: float | None = None
        self._threads = threads
        self._woken: asyncio.Future[None] | None = None
        self.turn = turn
        self.waits = False
        """There is no thread free for it."""
        super().__init__(loop, 1)

    async def drive(self, work: Driven, begin: Callable[[], None]) -> None:
        """Call `begin`, then drive the transfer, all in threads, until it has ended or `work`
        is stopped. A cancellation stops it and waits for the thread. Raise NoThread."""
        self._hand_over()
        try:
            await self._drive(work, begin)
            while self._finished and not work.stopped:
                await self._until_ready()
                await self._drive(work, None)
        except BaseException:
            work.stop()
            raise
        finally:
            self._take_back()

    def wake(self) -> None:
        """Look at the work again, if it waits for the network without a thread."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def _drive(self, work: Driven, begin: Callable[[], None] | None) -> None:
        """Drive the transfer in one thread, until it has ended or gives that back."""
        self.waits = True
        try:
            await self._threads.take()
        finally:
            self.waits = False
        try:
            if work.stopped:
                return
            job = self._loop.run_in_executor(self._threads.pool, self._run, work, begin)
            try:
                await asyncio.shield(job)
            except asyncio.CancelledError:
                work.stop()
                while not job.done():
                    try:
                        await asyncio.wait([job])
                    except asyncio.CancelledError:
                        continue  # the sink's file is closed next
                job.exception()
                raise
        finally:
            self._threads.give_back()

    async def _until_ready(self) -> None:
        """Wait until there is something to do, which is left to a thread."""
        self._woken = self._loop.create_future()
        watched, timer = dict(self._watched), None
        for socket, interest in watched.items():
            if interest & pycurl.POLL_IN:
                self._loop.add_reader(socket, self.wake)
            if interest & pycurl.POLL_OUT:
                self._loop.add_writer(socket, self.wake)
        if self._deadline is not None:
            left = max(0.0, self._deadline - time.monotonic())
            timer = self._loop.call_later(left, self.wake)
        try:
            await self._woken
        finally:
            self._woken = None
            if timer is not None:
                timer.cancel()
            for socket in watched:
                self._loop.remove_reader(socket)
                self._loop.remove_writer(socket)

    def _run(self, work: Driven, begin: Callable[[], None] | None) -> None:
        self.turn.take()
        try:
            if begin is not None:
                begin()
            work.look()
            self._serve(work)
        finally:
            try:
                work.finish()
            finally:
                self.turn.leave()

    def _serve(self, work: Driven) -> None:
        """Move what comes, for as long as the thread is worth it."""
        begun = moved = time.monotonic()
        while self._finished and not work.stopped:
            with self.turn.left():
                ready = self._poller.poll(self._pause())
            for socket, events in ready:
                self._act(socket, _readiness(events))
            work.look()
            now = time.monotonic()
            if self._deadline is not None and self._deadline <= now:
                self._deadline = None
                self._act(pycurl.SOCKET_TIMEOUT, 0)
            if ready:
                moved = now
            wanted = self._threads.wanted
            if now - moved >= (_QUIET_IF_WANTED if wanted else _QUIET):
                return
            if wanted and now - begun >= _SLICE:
                return

    def _pause(self) -> int:
        """Return how many milliseconds to wait for the network."""
        left = _QUIET_IF_WANTED if self._threads.wanted else _LOOK
        if self._deadline is not None:
            left = max(0.0, min(left, self._deadline - time.monotonic()))
        return round(left * 1000 + 0.5)

    def _hand_over(self) -> None:
        watched = dict(self._watched)
        for socket in watched:
            self._watch(socket, pycurl.POLL_NONE)
        self._on_timer(-1)
        self._poller = select.poll()
        for socket, interest in watched.items():
            self._watch(socket, interest)
        self._deadline = time.monotonic()  # whatever was due

    def _take_back(self) -> None:
        watched, self._poller = dict(self._watched), None
        self._watched.clear()
        for socket, interest in watched.items():
            self._watch(socket, interest)
        self._on_timer(0)

    def _watch(self, socket: int, interest: int) -> None:
        if self._poller is None:
            super()._watch(socket, interest)
            return
        if self._watched.pop(socket, None) is not None:
            self._poller.unregister(socket)
        if interest:
            self._poller.register(socket, _events(interest))
            self._watched[socket] = interest

    def _on_timer(self, milliseconds: int) -> None:
        if self._poller is None:
            super()._on_timer(milliseconds)
        else:
            now = time.monotonic()
            self._deadline = None if milliseconds < 0 else now + milliseconds / 1000


class Lanes:
    """The lanes to each origin, the idle ones ready for the next transfer; at most `idle` are
    kept. `patience` is how many seconds a transfer waits for a thread."""

    def __init__(self, idle: int, patience: float) -> None:
        self._idle: deque[tuple[Origin, Lane]] = deque()
        self._most = idle
        self._threads = Threads(patience)
        self._turn = Turn()
        self._closed = False

    def take(self, origin: Origin) -> Lane:
        """Return a lane for one transfer, if possible one that has a connection there."""
        for known, lane in self._idle:
            if known == origin:
                self._idle.remove((known, lane))
                return lane
        return Lane(asyncio.get_running_loop(), self._threads, self._turn)

    def give_back(self, origin: Origin, lane: Lane) -> None:
        """Keep a lane whose transfer is over."""
        self._idle.appendleft((origin, lane))
        while len(self._idle) > (0 if self._closed else self._most):
            self._idle.pop()[1].close()

    def close(self) -> None:
        """Close the idle lanes now, the others when they are given back."""
        self._closed = True
        while self._idle:
            self._idle.pop()[1].close()
        self._threads.close()


class Pour:
    """A body on its way from libcurl into a sink, collected to blocks.

    `busy` says that the sink is at work; `failure` is what it raised. `eager` gives the sink the
    first bytes as they come.
    """

    def __init__(self, sink: Sink, turn: Turn, *, eager: bool = False) -> None:
        self._sink = sink
        self._eager = eager
        self._patience = _EAGER_PATIENCE if eager else _PATIENCE
        self._turn = turn
        self._block = mmap.mmap(-1, BLOCK)  # aligned, as a disk wants it that is written directly
        self._whole = memoryview(self._block)
        self._filled = 0
        self._emptied = 0
        self._since = time.monotonic()
        self.stopped = False
        self.busy = False
        self.failure: BaseException | None = None

    @property
    def taken(self) -> int:
        """How many bytes have come."""
        return self._emptied + self._filled

    def stop(self) -> None:
        """Take nothing more. From any thread."""
        self.stopped = True

    def take(self, piece: memoryview) -> int | None:
        """Take a piece, or tell libcurl that it was not taken.

        It is called for every 16 KiB, so what is not needed then is elsewhere.
        """
        filled = self._filled
        end = filled + len(piece)
        if end < BLOCK:
            self._block[filled:end] = piece
            self._filled = end
            return None
        while piece and not self.stopped:
            room = BLOCK - self._filled
            part, piece = piece[:room], piece[room:]
            self._block[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            if self._filled == BLOCK:
                self._empty()
        return _REFUSED if self.stopped else None

    def look(self) -> None:
        """Give the sink what there is, if that has waited for long."""
        at_once = self._eager and self._emptied < _AT_ONCE
        if at_once or time.monotonic() - self._since > self._patience:
            self._empty()

    def finish(self) -> None:
        """Give the sink what is left."""
        self._empty()

    def _empty(self) -> None:
        filled, self._filled = self._filled, 0
        self._emptied += filled
        self._since = time.monotonic()
        if not filled or self.failure is not None:
            return
        self.busy = True
        try:
            with self._turn.left():
                self._sink(self._whole[:filled])
        except BaseException as error:
            self.failure = error
            self.stopped = True
        finally:
            self.busy = False


def _events(interest: int) -> int:
    reads = select.POLLIN if interest & pycurl.POLL_IN else 0
    return reads | (select.POLLOUT if interest & pycurl.POLL_OUT else 0)


def _readiness(events: int) -> int:
    """Return what libcurl calls it; errors are found by reading."""
    reads = pycurl.CSELECT_IN if events & ~select.POLLOUT else 0
    return int(reads | (pycurl.CSELECT_OUT if events & select.POLLOUT else 0))
