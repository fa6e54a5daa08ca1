"""One transfer: a request on its way and the response that comes of it.

libcurl calls `_on_header` and `_on_body` while data arrives; the caller's task waits in `head`,
`chunks` or `pour`. When the reader falls behind, libcurl is told to pause, which stops the
socket (or the HTTP/2 stream) and so the sender.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any, Final

import pycurl

from entrepot.adapters.remotes.exchange import Body, Request
from entrepot.adapters.remotes.transport_body import BlockFeed, BodyFeed
from entrepot.adapters.remotes.transport_errors import (
    Peer,
    crowded,
    failure,
    not_global,
    proxy_credentials_refused,
    stalled,
)
from entrepot.adapters.remotes.transport_gate import Gate
from entrepot.adapters.remotes.transport_lane import Driven, Lane, Pour
from entrepot.adapters.remotes.transport_loop import TransferLoop
from entrepot.adapters.remotes.transport_threads import NoThread
from entrepot.oci.errors import SizeInvalid
from entrepot.ports.image_end import Sink

CHUNK: Final = 1024 * 1024
"""Bytes that are buffered before the sender is stopped; libcurl holds up to as much again."""

_WARM: Final = 8 * CHUNK
_LEFTOVER: Final = 64 * 1024
_LINGER_SECONDS: Final = 0.2
_CHANGES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def warm_allocator() -> None:
    """Make the C library keep the memory of chunks instead of returning it after each.

    glibc takes the largest block that was ever freed as the size of what it should keep; without
    this, every chunk's pages are asked of the kernel anew, for as much time as the network takes.
    """
    bytearray(_WARM)


class Transfer:
    """A `Response` once `head` has returned. Through a `gate` all its connections are made."""

    def __init__(
        self,
        request: Request,
        easy: Any,
        peer: Peer,
        transfers: TransferLoop,
        gate: Gate | None = None,
    ) -> None:
        self._gate = gate
        self._request = request
        self._easy = easy
        self._peer = peer
        self._transfers = transfers
        self._feed: BodyFeed | BlockFeed | None = None
        self._driven: Driven | None = None
        self._status = 0
        self._version = ""
        self._lines: list[tuple[str, str]] = []
        self._fields: dict[str, str] | None = None
        self._head_arrived = False
        self._buffer = BytesIO()
        self._held = 0
        self._read = 0
        self._paused = False
        self._ended = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._moved: tuple[object, ...] = ()
        self._moved_at = 0.0
        if gate is not None:
            easy.setopt(pycurl.OPENSOCKETFUNCTION, gate.open)
        easy.setopt(pycurl.HEADERFUNCTION, self._on_header)
        easy.setopt(pycurl.WRITEFUNCTION, self._on_body, use_memoryview=True)

    async def start(self) -> None:
        """Begin to connect and to send."""
        self._moved_at = self._transfers.belongs_to.time()
        body = self._request.body
        if isinstance(body, Body):
            if body.blocks is not None:
                assert isinstance(self._transfers, Lane)
                self._feed = BlockFeed(body.length, await body.blocks(), self._transfers.turn)
            else:
                self._feed = BodyFeed(body, self._set_pauses, self.fail)
            self._easy.setopt(pycurl.READFUNCTION, self._feed.take)
        self._transfers.add(self._easy, self._on_end)

    @property
    def peer(self) -> Peer:
        return self._peer

    # What the caller sees

    @property
    def status(self) -> int:
        return self._status

    @property
    def url(self) -> str:
        return self._request.url

    @property
    def headers(self) -> Mapping[str, str]:
        if self._fields is None:
            fields: dict[str, str] = {}
            for name, value in self._lines:
                fields[name] = f"{fields[name]}, {value}" if name in fields else value
            self._fields = fields
        return self._fields

    @property
    def header_lines(self) -> tuple[tuple[str, str], ...]:
        return tuple(self._lines)

    @property
    def http_version(self) -> str:
        return self._version

    async def head(self) -> None:
        """Wait for the response's head. Raise what kept it from coming."""
        if isinstance(self._feed, BlockFeed):
            await self._drive(self._feed, lambda: None)
            if self._feed.failure is not None:
                raise self._feed.failure
        while not self._head_arrived:
            self._raise_if_ended()
            await self._wait()
        if self._status == 407 and self._peer.proxy:
            raise proxy_credentials_refused(self._peer)

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            while self._held:
                yield self._take()
            if self._ended:
                if self._error is not None:
                    raise self._error
                return
            await self._wait()

    async def pour(self, sink: Sink) -> None:
        lane = self._transfers
        if not isinstance(lane, Lane) or self._ended:
            async for chunk in self.chunks():
                await asyncio.to_thread(sink, memoryview(chunk))
            return
        pour = Pour(sink, lane.turn, eager=self._request.eager)
        try:
            await self._drive(pour, lambda: self._begin_pouring(pour))
        finally:
            self._read += pour.taken
        if pour.failure is not None:
            raise pour.failure
        if self._error is not None:
            raise self._error

    async def read(self, limit: int) -> bytes:
        announced = self.headers.get("content-length", "")
        if self._request.method != "HEAD" and announced.isdigit() and int(announced) > limit:
            raise self._too_large(limit)
        parts: list[bytes] = []
        total = 0
        async for chunk in self.chunks():
            total += len(chunk)
            if total > limit:
                raise self._too_large(limit)
            parts.append(chunk)
        return b"".join(parts)

    # What the transport does with it

    async def linger(self) -> None:
        """Give the little that may be left of a response a moment to arrive: then its connection
        can be used again."""
        announced = self.headers.get("content-length", "")
        if self._ended or not announced.isdigit():
            return
        if int(announced) - self._read - self._held > _LEFTOVER:
            return
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while not self._ended:
                    await self._wait()
        except TimeoutError:
            return

    async def stop(self) -> None:
        """Give up what is left, and close the body's iterator."""
        self._end(None)
        self._transfers.remove(self._easy)
        self._easy.close()
        if self._feed is not None:
            if isinstance(self._feed, BodyFeed):
                await self._feed.stop()
            else:
                self._feed.close()

    def fail(self, error: BaseException) -> None:
        """End the transfer with an error, unless it has ended already."""
        if not self._ended:
            self._end(error)
            if self._driven is None:
                self._transfers.remove(self._easy)
            else:
                self._driven.stop()  # libcurl is the thread's; what is left is removed by `stop`
                assert isinstance(self._transfers, Lane)
                self._transfers.wake()

    def watch(self, stall: float, answer: float) -> None:
        """Fail if the other side has stood still for too long; times are seconds."""
        if self._ended:
            return
        now = self._transfers.belongs_to.time()
        sent, received = self._counts()
        moved = (sent, received, len(self._lines), self._head_arrived)
        ours = (
            self._paused
            or (isinstance(self._feed, BodyFeed) and self._feed.starved)
            or (self._driven is not None and self._driven.busy)
            or (isinstance(self._transfers, Lane) and self._transfers.waits)
        )
        if ours or moved != self._moved:
            self._moved, self._moved_at = moved, now
            return
        waiting = not self._head_arrived and sent >= self._length()
        allowed = answer if waiting and self._request.method in _CHANGES else stall
        if now - self._moved_at >= allowed:
            self.fail(stalled(self._peer, allowed, waiting))

    # What libcurl tells

    def _on_header(self, line: bytes) -> None:
        if self._head_arrived:  # trailers
            return
        if line.startswith(b"HTTP/"):
            version, _, rest = line.decode("latin-1").partition(" ")
            self._version = version[5:]
            self._status = int(rest[:3]) if rest[:3].isdecimal() else 0
            self._lines = []
        elif line.strip():
            name, _, value = line.decode("latin-1").partition(":")
            self._lines.append((name.strip().lower(), value.strip()))
        elif self._status >= 200:
            self._head_arrived = True
            if isinstance(self._feed, BlockFeed):
                self._feed.answered = True
            self._wake()

    def _on_body(self, piece: memoryview) -> int | None:
        if self._held >= CHUNK:
            self._paused = True
            return pycurl.WRITEFUNC_PAUSE  # type: ignore[no-any-return]
        self._held += self._buffer.write(piece)
        self._wake()
        return None

    def _on_end(self, code: int, words: str) -> None:
        if code == 0 and not self._head_arrived:
            code, words = 52, ""
        if code == pycurl.E_COULDNT_CONNECT and self._gate is not None and self._gate.refused:
            self._end(not_global(self._peer))
            return
        self._end(failure(code, words, self._peer) if code else None)

    # The rest

    def _end(self, error: BaseException | None) -> None:
        if not self._ended:
            self._ended = True
            self._error = error
            self._wake()

    async def _drive(self, work: Driven, begin: Callable[[], None]) -> None:
        """Have a thread move a body, in this transfer's lane."""
        assert isinstance(self._transfers, Lane)
        self._driven = work
        try:
            await self._transfers.drive(work, begin)
        except NoThread as error:
            raise crowded(self._peer, error.seconds) from None
        finally:
            self._driven = None

    def _begin_pouring(self, pour: Pour) -> None:
        """Pour what has arrived already, and let the rest come. In the thread."""
        held, self._held = self._buffer, 0
        self._buffer = BytesIO()
        pour.take(held.getbuffer())
        self._easy.setopt(pycurl.WRITEFUNCTION, pour.take, use_memoryview=True)
        if self._paused:
            self._paused = False
            with suppress(pycurl.error):  # what was not taken; the pour knows why
                self._easy.pause(pycurl.PAUSE_CONT)

    def _counts(self) -> tuple[int, int]:
        """Return how many bytes were sent and received."""
        if self._driven is not None:  # libcurl is the thread's
            taken = self._driven.taken
            return (taken, 0) if self._driven is self._feed else (self._length(), taken)
        sent = self._easy.getinfo(pycurl.SIZE_UPLOAD_T)
        return sent, self._easy.getinfo(pycurl.SIZE_DOWNLOAD_T)

    def _take(self) -> bytes:
        # A BytesIO hands out its own memory here: the bytes have been copied once.
        chunk = self._buffer.getvalue()
        self._buffer = BytesIO()
        self._read += self._held
        self._held = 0
        if self._paused:
            self._paused = False
            self._set_pauses()
        return chunk

    def _set_pauses(self) -> None:
        if self._ended:
            return
        starved = isinstance(self._feed, BodyFeed) and self._feed.starved
        wanted = pycurl.PAUSE_RECV if self._paused else pycurl.PAUSE_CONT
        self._easy.pause(wanted | (pycurl.PAUSE_SEND if starved else pycurl.PAUSE_CONT))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = self._transfers.belongs_to.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _raise_if_ended(self) -> None:
        if self._ended:
            assert self._error is not None, "a transfer that succeeds has a head"
            raise self._error

    def _length(self) -> int:
        body = self._request.body
        return body.length if isinstance(body, Body) else len(body or b"")

    def _too_large(self, limit: int) -> SizeInvalid:
        return SizeInvalid(
            f"{self._peer} answered with more than the {limit} bytes that are accepted here; "
            "check that it is a registry"
        )
