"""Origins: servers on loopback that can be made to fail, and that remember what was asked.

A registry, its token server and its object store are each one. What a registry answers belongs
in `mock_endpoints`, what can go wrong in `mock_faults`.
"""

import asyncio
import re
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from entrepot.testing.mock_exchange import Exchange, Handler, Record, Reply, Request, What
from entrepot.testing.mock_http import HEAD_LIMIT, Connection, RequestBody

T = TypeVar("T")

PATIENCE: Final = 10.0
"""How long, in seconds, waiting for requests lasts unless a test says otherwise."""

_NAME: Final = re.compile(r"/v2/(.+?)/(?:manifests|blobs|tags|referrers)/[^?]*")


class Fault:
    """A fault in place: which requests it takes, and how often it did.

    `matched` counts the requests it was meant for, `applied` those it took.
    """

    def __init__(
        self,
        origin: "MockOrigin",
        what: tuple[What, ...],
        matches: Callable[[Request], bool],
        times: int | None,
        after: int,
    ) -> None:
        self.what = what
        self.matched = 0
        self.applied = 0
        self._origin = origin
        self._matches = matches
        self._times = times
        self._after = after
        self._released = asyncio.Event()
        self.lasting = False
        """Whether it is one of the registry's manners, which `heal` leaves alone."""

    def takes(self, request: Request) -> bool:
        """Say whether this request is to fail, and count it."""
        if not self._matches(request):
            return False
        self.matched += 1
        spent = self._times is not None and self.applied >= self._times
        if self.matched <= self._after or spent:
            return False
        self.applied += 1
        self._origin.changed()
        return True

    def remove(self) -> None:
        """Let no further request fail."""
        self._origin.forget(self)

    def release(self) -> None:
        """Let go on what stands still, now and from now on."""
        self._origin.loop.call_soon_threadsafe(self._released.set)

    async def released(self) -> None:
        """Stand still until `release` is called."""
        await self._released.wait()

    def wait(self, times: int = 1, *, seconds: float = PATIENCE) -> None:
        """Wait until it has taken so many requests. Raise TimeoutError."""
        self._origin.until(lambda: self.applied >= times, seconds, f"{times} requests that fail")


class MockOrigin:
    """A server on a free port of 127.0.0.1, with an event loop in a thread of its own.

    `tls` is a server's context; `parent` shares its thread.
    """

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, parent: "MockOrigin | None" = None
    ) -> None:
        self.faults: tuple[Fault, ...] = ()
        self.connections = 0
        """How many connections were opened so far."""
        self.pages: dict[str, Handler] = {}
        """Handlers of paths beside the origin's own, such as that of a token server."""
        self.secrets: set[str] = set() if parent is None else parent.secrets
        """What must never be seen in a log: passwords, tokens, signatures, also those received."""
        self.problems: list[Exception] = []
        """What callables of tests have raised; the end of the context raises the first."""
        self.tls = tls
        self._parent = parent
        self._children: list[MockOrigin] = []
        self._exchanges: list[Exchange] = []
        self._changed = threading.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False
        if parent is None:
            self.loop: asyncio.AbstractEventLoop = asyncio.SelectorEventLoop()
            self._thread = threading.Thread(target=self._serve, name="mock", daemon=True)
            self._thread.start()
        else:
            self.loop = parent.loop
            parent._children.append(self)
        self._server = self._call(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        """Where it listens, as `host:port`."""
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        """Its URL, without a slash at the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        problems = [problem for origin in (self, *self._children) for problem in origin.problems]
        if problems and error is None:
            raise problems[0]

    def stop(self) -> None:
        """Close every connection and the port, of its other origins too."""
        if self._stopped:
            return
        self._stopped = True
        for child in self._children:
            child.stop()
        self._call(self._shut())
        if self._parent is None:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    def fault(
        self,
        *what: What,
        method: str = "*",
        path: str | re.Pattern[str] = "*",
        repository: str = "*",
        digest: object = None,
        when: Callable[[Request], bool] | None = None,
        times: int | None = 1,
        after: int = 0,
    ) -> Fault:
        """Let requests fail: the first `times` that match (None: all), not counting `after`.

        `method` and `repository` are globs, `path` is a glob or a compiled pattern that is
        searched for in the path without the query, `digest` must stand in the path or query;
        `when` may look at the whole request. Several faults in one call are applied together,
        the first outermost. Faults of different calls are asked in the order they were put in
        place; one that answers hides those behind it, which then do not count the request.
        """

        def matches(request: Request) -> bool:
            if isinstance(path, re.Pattern):
                found = path.search(request.path) is not None
            else:
                found = fnmatchcase(request.path, path)
            named = _NAME.fullmatch(request.path)
            told = (request.path.replace("%3A", ":"), *(value for _, value in request.query))
            return (
                found
                and fnmatchcase(request.method, method)
                and (repository == "*" or (named is not None and fnmatchcase(named[1], repository)))
                and (digest is None or any(str(digest) in text for text in told))
                and (when is None or when(request))
            )

        made = Fault(self, what, matches, times, after)
        with self._changed:
            self.faults = (*self.faults, made)
        return made

    def heal(self) -> None:
        """Remove all faults, and let go on what stands still."""
        for fault in self.faults:
            if not fault.lasting:
                fault.remove()
                fault.release()

    def new_secret(self, kind: str) -> str:
        """Return a text that occurs nowhere else, and remember it as a secret."""
        made = f"mock-{kind}-{secrets.token_hex(16)}"
        self.secrets.add(made)
        return made

    def forget(self, fault: Fault) -> None:
        """Take a fault out of its place."""
        with self._changed:
            self.faults = tuple(one for one in self.faults if one is not fault)

    @property
    def requests(self) -> list[Record]:
        """Every request so far in the order of arrival, also those still going on."""
        with self._changed:
            return [exchange.record() for exchange in self._exchanges]

    def matching(self, method: str = "*", path: str = "*") -> list[Record]:
        """Return the requests that match both globs."""
        return [record for record in self.requests if record.matches(method, path)]

    def count(self, method: str = "*", path: str = "*", status: int | None = None) -> int:
        """Return how many requests match; with `status`, how many of them were answered so."""
        found = self.matching(method, path)
        return sum(1 for record in found if status in (None, record.status))

    @property
    def bytes_sent(self) -> int:
        """The bytes of all reply bodies so far."""
        return sum(record.bytes_sent for record in self.requests)

    @property
    def bytes_received(self) -> int:
        """The bytes of all request bodies so far."""
        return sum(record.bytes_received for record in self.requests)

    def clear_requests(self) -> None:
        """Forget what was asked so far."""
        with self._changed:
            self._exchanges.clear()

    def wait_for(
        self,
        requests: int,
        method: str = "*",
        path: str = "*",
        *,
        ended: bool = False,
        seconds: float = PATIENCE,
    ) -> list[Record]:
        """Wait until so many matching requests have come (or have `ended`), and return them.

        Raise TimeoutError. It blocks; in a coroutine call it by `asyncio.to_thread`.
        """

        def found() -> list[Record]:
            all_of_them = self.matching(method, path)
            return [one for one in all_of_them if one.ended is not None or not ended]

        what = f"{requests} requests {method} {path}"
        self.until(lambda: len(found()) >= requests, seconds, what)
        return found()

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for something that requests bring about. Raise TimeoutError."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not condition():
                if not self._changed.wait(deadline - time.monotonic()) and not condition():
                    seen = [f"{one.method} {one.path}" for one in self.requests[-8:]]
                    raise TimeoutError(f"waited {seconds} s for {what}; the last were {seen}")

    def changed(self) -> None:
        """Wake up whoever waits."""
        with self._changed:
            self._changed.notify_all()

    async def handle(self, exchange: Exchange) -> Reply:
        """Answer a request that no fault has answered."""
        page = self.pages.get(exchange.request.path)
        return Reply.of(404, b"nothing is here\n") if page is None else await page(exchange)

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(
            self._accept, "127.0.0.1", 0, ssl=self.tls, limit=HEAD_LIMIT, backlog=512
        )

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        number = self.connections

        def answer(request: Request, body: RequestBody) -> Exchange:
            exchange = Exchange(self, request, body, number, time.monotonic())
            credentials = (request.header("authorization") or "").partition(" ")[2]
            if credentials:
                self.secrets.add(credentials)
            with self._changed:
                self._exchanges.append(exchange)
                self._changed.notify_all()
            return exchange

        try:
            await Connection(reader, writer, answer, self._done).run()
        except asyncio.CancelledError:
            pass  # the origin stops
        finally:
            self._tasks.discard(task)

    def _done(self, _: Exchange, problem: Exception | None) -> None:
        if problem is not None:
            self.problems.append(problem)
        self.changed()

    async def _shut(self) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Transports tell of their end in a later turn of the loop.
        for _ in range(3):
            await asyncio.sleep(0)
