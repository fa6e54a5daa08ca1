"""Clients that load a server: each a forked process, all started at the same moment."""

import multiprocessing
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Final, Protocol
from urllib.parse import urlsplit

from bench.harness.content import Body
from bench.harness.exchange import Connection, MeasurementFailed
from bench.harness.servers import Address

WATCH_SECONDS: Final = 0.1
LIMIT_SECONDS: Final = 120

Watch = Callable[[], None]
"""Called every WATCH_SECONDS while there is load, to look at the server from outside."""


class Client(Protocol):
    """The work of one process: `connect` is not timed, `run` is."""

    def connect(self) -> None: ...

    def run(self) -> int:
        """Do the work; return how much was done (bytes, requests). Raise MeasurementFailed."""
        ...


@dataclass(frozen=True, slots=True)
class Load:
    """What all clients did together, in the seconds from the first start to the last end."""

    done: int
    seconds: float

    @property
    def rate(self) -> float:
        """What was done per second."""
        return self.done / self.seconds


def run(clients: Sequence[Client], watch: Watch) -> Load:
    """Run each client in a process of its own. Raise MeasurementFailed if one fails."""
    context = multiprocessing.get_context("fork")
    start = context.Event()
    pipes: list[Pipe] = []
    processes = []
    for client in clients:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(client, theirs, start.wait), daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        _collect(pipes, lambda: None)  # connected
        watch()
        start.set()
        spans = _collect(pipes, watch)
        watch()
    finally:
        for process in processes:
            process.terminate()
            process.join()
    begin, end = min(span[0] for span in spans), max(span[1] for span in spans)
    return Load(sum(int(span[2]) for span in spans), end - begin)


def _work(client: Client, pipe: Pipe, wait_for_start: Callable[[], object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    try:
        client.connect()
        pipe.send((0.0, 0.0, 0))
        wait_for_start()
        # CLOCK_MONOTONIC, which is the same in every process.
        begin = time.monotonic()
        done = client.run()
        pipe.send((begin, time.monotonic(), done))
    except (MeasurementFailed, OSError) as failure:
        pipe.send(f"{type(failure).__name__}: {failure}")


def _collect(pipes: Sequence[Pipe], watch: Watch) -> list[tuple[float, float, int]]:
    """Receive one message from each client, calling `watch` meanwhile."""
    spans: list[tuple[float, float, int]] = []
    waiting, deadline = list(pipes), time.monotonic() + LIMIT_SECONDS
    while waiting:
        ready = wait(waiting, WATCH_SECONDS)
        for pipe in ready:
            assert isinstance(pipe, Pipe)
            try:
                told = pipe.recv()
            except EOFError:
                told = "a client died"
            if isinstance(told, str):
                raise MeasurementFailed(told)
            spans.append(told)
            waiting.remove(pipe)
        if waiting and not ready:
            watch()
        if time.monotonic() > deadline:
            raise MeasurementFailed(f"no end after {LIMIT_SECONDS} s")
    return spans


class Download:
    """Gets a blob of `size` bytes `times` times over one connection."""

    def __init__(self, address: Address, target: str, size: int, times: int) -> None:
        self._address, self._target = address, target
        self._size, self._times = size, times

    def connect(self) -> None:
        self._connection = Connection(self._address)

    def run(self) -> int:
        for _ in range(self._times):
            answer = self._connection.ask("GET", self._target)
            if (answer.status, answer.length) != (200, self._size):
                raise MeasurementFailed(f"GET: {answer.status}, {answer.length} bytes")
        return self._size * self._times


class Push:
    """Pushes blobs over one connection, each by POST and one PUT with the whole body."""

    def __init__(self, address: Address, repository: str, bodies: Sequence[Body]) -> None:
        self._address, self._bodies = address, bodies
        self._uploads = f"/v2/{repository}/blobs/uploads/"

    def connect(self) -> None:
        self._connection = Connection(self._address)
        self._file = self._bodies[0].file.open("rb")

    def run(self) -> int:
        for body in self._bodies:
            opened = self._connection.ask("POST", self._uploads)
            if opened.status != 202:
                raise MeasurementFailed(f"POST: {opened.status}")
            target = upload_target(opened.headers["location"], body.digest)
            stored = self._connection.send(
                "PUT", target, self._file.fileno(), body.shared, body.tail
            )
            if stored.status != 201:
                raise MeasurementFailed(f"PUT: {stored.status}")
        return sum(body.size for body in self._bodies)


def upload_target(location: str, digest: str) -> str:
    """Return the request target that ends an upload at `location`, absolute or relative."""
    parts = urlsplit(location)
    query = f"{parts.query}&digest={digest}" if parts.query else f"digest={digest}"
    return f"{parts.path}?{query}"


class Heads:
    """Sends HEAD requests over many keep-alive connections for a while.

    wrk cannot: it waits for the body that the answer's Content-Length announces.
    """

    def __init__(
        self,
        address: Address,
        target: str,
        headers: Mapping[str, str],
        connections: int,
        seconds: float,
    ) -> None:
        lines = [f"HEAD {target} HTTP/1.1", f"Host: {address[0]}:{address[1]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._request = "\r\n".join([*lines, "", ""]).encode("ascii")
        self._address, self._count, self._seconds = address, connections, seconds
        self._sockets: dict[int, socket.socket] = {}

    def connect(self) -> None:
        self._epoll = select.epoll()
        for _ in range(self._count):
            sock = socket.create_connection(self._address, timeout=10)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets[sock.fileno()] = sock
            self._epoll.register(sock, select.EPOLLIN)

    def run(self) -> int:
        # Bare epoll: this process must cost less than the server it loads.
        request, sockets, done = self._request, self._sockets, 0
        for sock in sockets.values():
            sock.send(request)
        deadline = time.monotonic() + self._seconds
        while time.monotonic() < deadline:
            for descriptor, _ in self._epoll.poll(1):
                sock = sockets[descriptor]
                answer = sock.recv(65536)
                # An answer this small comes in one piece; if it did not, that would be seen.
                if not (answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"\r\n\r\n")):
                    raise MeasurementFailed(f"HEAD: {answer[:100]!r}")
                sock.send(request)
                done += 1
        return done
