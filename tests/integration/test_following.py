"""Real servers that send a spool while it is written, by themselves or by another process.

Row PX-07 of the capabilities (identical pulls share one transfer, ranges included), and CA-01
(what is wrong reaches nobody whole, and is not kept).
"""

import hashlib
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

import pytest

from entrepot.oci.digest import Digest
from tests.certificates import Certificate, make_certificate
from tests.http2_client import Http2Client
from tests.integration.small_disk import mounted
from tests.integration.spool_process import content, digest_of
from tests.processes import open_files, own_memory
from tests.waiting import wait_until
from tests.wire import Wire, request

MIB: Final = 1 << 20
SIZE: Final = 12 * MIB + 11
DIGEST: Final = digest_of(SIZE)
HELD_BACK: Final = 16 << 10
SOON: Final = 0.25
"""Seconds within which bytes that are there reach a client, on a machine that is busy."""


class SpoolProcess:
    """A running `spool_process`; see there what it can be told."""

    def __init__(
        self, root: Path, *, timeout: float = 60.0, certificate: Certificate | None = None
    ) -> None:
        script = Path(__file__).with_name("spool_process.py")
        files = [certificate.certificate, certificate.key] if certificate else []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.spool_process", root, str(timeout), *files],
            cwd=script.parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.ports = [int(port) for port in self.process.stdout.readline().split()]
        self._certificate = certificate
        self._orders = self.http1()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._orders.close()
        self.process.kill()
        self.process.communicate()

    def http1(self) -> Wire:
        return Wire(socket.create_connection(("127.0.0.1", self.ports[0]), 30))

    def tls(self) -> Wire:
        return Wire(self._secure("http/1.1"))

    def http2(self) -> Http2Client:
        return Http2Client(self._secure("h2"), "127.0.0.1", scheme="https")

    def _secure(self, protocol: str) -> ssl.SSLSocket:
        assert self._certificate is not None
        plain = socket.create_connection(("127.0.0.1", self.ports[1]), 30)
        context = self._certificate.client(protocol)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def tell(self, order: str, *, expect: str | int) -> None:
        """Give an order; expect an offset, or an error by its name."""
        self._orders.send(request("POST", order, "Content-Length: 0"))
        assert self._orders.response().body.decode() == str(expect)

    def begin(self, *, size: int = SIZE, digest: Digest = DIGEST, at: str | int = 0) -> None:
        self.tell(f"/begin?digest={digest}&size={size}", expect=at)

    def write(self, count: int, *, expect: str | int) -> None:
        self.tell(f"/write?count={count}", expect=expect)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


StartProcess = Callable[..., SpoolProcess]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def start(root: Path) -> Iterator[StartProcess]:
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(SpoolProcess(root, **options))


@pytest.fixture
def writer(start: StartProcess) -> SpoolProcess:
    return start()


@pytest.fixture(params=["the writer", "another process"])
def reader(
    request: pytest.FixtureRequest, writer: SpoolProcess, start: StartProcess
) -> SpoolProcess:
    """Who serves what `writer` writes."""
    return writer if request.param == "the writer" else start()


def ask(wire: Wire, *headers: str, digest: Digest = DIGEST) -> int:
    """Send a request for the content; return the length that its response announces."""
    wire.send(request("GET", f"/{digest}", *headers))
    status, answered = wire.head()
    assert status in (200, 206)
    return int(dict(answered)["Content-Length"])


def test_bytes_leave_as_soon_as_they_are_there(writer: SpoolProcess, reader: SpoolProcess) -> None:
    writer.begin()
    with reader.http1() as wire:
        assert ask(wire) == SIZE  # before there is any byte
        for at, count in ((0, 1000), (1000, 499_000), (500_000, 1)):
            writer.write(count, expect=at + count)
            started = time.monotonic()
            assert wire.read(count) == content(at, count)
            assert time.monotonic() - started < SOON


def test_the_whole_and_a_range_are_exact(writer: SpoolProcess, reader: SpoolProcess) -> None:
    writer.begin()
    first, last = 7 * MIB + 3, 7 * MIB + 100_002
    with reader.http1() as whole, reader.http1() as part, ThreadPoolExecutor() as pool:
        ask(whole)
        assert ask(part, f"Range: bytes={first}-{last}") == 100_000
        everything = pool.submit(whole.read, SIZE)
        writer.write(SIZE, expect=SIZE)
        early = 100_000 - HELD_BACK
        assert part.read(early) == content(first, early)
        writer.tell("/commit", expect=SIZE)
        assert part.read(HELD_BACK) == content(first + early, HELD_BACK)
        assert everything.result() == content(0, SIZE)
        # The connections go on, and the content is a file now.
        assert ask(whole) == SIZE
        assert whole.read(SIZE) == content(0, SIZE)


@pytest.mark.real("openssl")
def test_it_is_followed_over_tls_and_http2_too(
    writer: SpoolProcess, start: StartProcess, tmp_path: Path
) -> None:
    reader = start(certificate=make_certificate(tmp_path))
    writer.begin()
    with reader.tls() as wire, reader.http2() as client, ThreadPoolExecutor() as pool:
        ask(wire)
        stream = client.start("GET", f"/{DIGEST}")
        bodies = [pool.submit(wire.read, SIZE), pool.submit(lambda: client.response(stream).body)]
        writer.write(SIZE, expect=SIZE)
        writer.tell("/commit", expect=SIZE)
        assert all(body.result() == content(0, SIZE) for body in bodies)


def test_wrong_content_breaks_the_transfer_and_is_not_kept(
    writer: SpoolProcess, reader: SpoolProcess, root: Path
) -> None:
    """The client sees an end before the announced one, not a whole answer that is wrong."""
    writer.begin()
    with reader.http1() as wire, ThreadPoolExecutor() as pool:
        assert ask(wire) == SIZE
        got = pool.submit(wire.rest)
        writer.tell(f"/write?count={SIZE}&wrong=1", expect=SIZE)
        writer.tell("/commit", expect="DigestInvalid")
        assert got.result() == content(0, SIZE)[: len(got.result())]
        assert len(got.result()) <= SIZE - HELD_BACK
    assert stored(root) == []


@pytest.mark.real("openssl")
def test_wrong_content_breaks_a_stream_of_http2(
    start: StartProcess, tmp_path: Path, root: Path
) -> None:
    process = start(certificate=make_certificate(tmp_path))
    process.begin()
    with process.http2() as client:
        stream = client.start("GET", f"/{DIGEST}")
        process.tell(f"/write?count={MIB}&wrong=1", expect=MIB)
        process.tell("/commit", expect="SizeInvalid")
        with pytest.raises(ConnectionResetError):
            client.response(stream)
    assert stored(root) == []


def test_a_source_without_an_end_is_cut_at_the_announced_size(
    writer: SpoolProcess, reader: SpoolProcess, root: Path
) -> None:
    writer.begin()
    with reader.http1() as wire, ThreadPoolExecutor() as pool:
        ask(wire)
        got = pool.submit(wire.rest)
        writer.write(SIZE + MIB, expect="SizeInvalid")
        assert spooled(root) <= SIZE
        writer.tell("/discard", expect=SIZE // (256 << 10) * (256 << 10))
        assert len(got.result()) <= SIZE - HELD_BACK
    assert stored(root) == []
    assert list((root / "spools").iterdir()) == []


def test_another_process_goes_on_when_the_writer_is_killed(
    writer: SpoolProcess, start: StartProcess, root: Path
) -> None:
    """Followers of both processes that live get every byte, and none twice."""
    second, third = start(), start()
    writer.begin()
    writer.write(5 * MIB, expect=5 * MIB)
    with second.http1() as here, third.http1() as there, ThreadPoolExecutor() as pool:
        bodies = []
        for wire in (here, there):
            ask(wire)
            bodies.append(pool.submit(wire.read, SIZE))
        second.begin(at="Unavailable")
        writer.kill()
        second.begin(at=5 * MIB)
        second.write(SIZE - 5 * MIB, expect=SIZE)
        second.tell("/commit", expect=SIZE)
        assert all(body.result() == content(0, SIZE) for body in bodies)
    assert stored(root) == [DIGEST.hex]


@pytest.mark.parametrize("moment", ["begun", "written", "whole"])
def test_a_killed_writer_leaves_nothing_that_is_readable(
    writer: SpoolProcess, start: StartProcess, root: Path, moment: str
) -> None:
    count = {"begun": 0, "written": MIB, "whole": SIZE}[moment]
    writer.begin()
    writer.write(count, expect=count)
    writer.kill()
    assert stored(root) == []
    second = start()
    second.begin(at=count)
    second.write(SIZE - count, expect=SIZE)
    second.tell("/commit", expect=SIZE)
    assert stored(root) == [DIGEST.hex]


def test_many_followers_take_no_memory(writer: SpoolProcess, reader: SpoolProcess) -> None:
    """20 of them, over 64 MiB: a copy of a spool's part for each would be seen."""
    size, count = 64 * MIB, 20
    digest = digest_of(size)
    writer.begin(size=size, digest=digest)
    with ExitStack() as stack, ThreadPoolExecutor(count) as pool:
        wires = [stack.enter_context(reader.http1()) for _ in range(count)]
        for wire in wires:
            ask(wire, digest=digest)
        before = own_memory([reader.process.pid])
        bodies = [pool.submit(hashed, wire, size) for wire in wires]
        writer.write(size, expect=size)
        writer.tell("/commit", expect=size)
        assert {body.result() for body in bodies} == {digest.hex}
        assert own_memory([reader.process.pid]) - before < 16 * MIB


def test_a_client_that_leaves_while_nothing_comes_is_noticed(
    writer: SpoolProcess, reader: SpoolProcess
) -> None:
    writer.begin()
    with reader.http1() as first:
        ask(first)
        before = open_files([reader.process.pid])
        wires = [reader.http1() for _ in range(5)]
        for wire in wires:
            ask(wire)
        assert open_files([reader.process.pid]) >= before + 10
        for wire in wires:  # with a reset, as a killed client with unread bytes
            wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.close()
        wait_until(lambda: open_files([reader.process.pid]) <= before)


def test_a_client_that_hangs_up_while_nothing_comes_counts_as_gone(
    writer: SpoolProcess, reader: SpoolProcess
) -> None:
    """Its end looks as if it only had nothing more to say, and no byte shows the difference."""
    writer.begin()
    writer.write(1000, expect=1000)
    with reader.http1() as first:
        ask(first)
        before = open_files([reader.process.pid])
        with reader.http1() as wire:
            ask(wire)
            wire.read(1000)
            assert open_files([reader.process.pid]) > before
        wait_until(lambda: open_files([reader.process.pid]) <= before)


def test_a_client_with_nothing_more_to_say_gets_what_is_there(
    writer: SpoolProcess, reader: SpoolProcess
) -> None:
    """Also over a pause in which the content's source takes a breath."""
    writer.begin()
    with reader.http1() as wire, ThreadPoolExecutor() as pool:
        ask(wire)
        wire.finish()
        body = pool.submit(wire.read, SIZE)
        writer.write(SIZE, expect=SIZE)
        writer.tell("/commit", expect=SIZE)
        assert body.result() == content(0, SIZE)
    with reader.http1() as wire:
        wire.send(request("GET", f"/{DIGEST}"))
        wire.finish()
        assert wire.response().body == content(0, SIZE)
        assert wire.rest() == b""


@pytest.mark.real("openssl")
def test_who_leaves_over_tls_and_http2_is_noticed_too(start: StartProcess, tmp_path: Path) -> None:
    process = start(certificate=make_certificate(tmp_path))
    process.begin()
    before = open_files([process.process.pid])
    with process.tls() as wire, process.http2() as client:
        ask(wire)
        client.start("GET", f"/{DIGEST}")
        wait_until(lambda: open_files([process.process.pid]) == before + 4)
    wait_until(lambda: open_files([process.process.pid]) == before)


@pytest.mark.slow
@pytest.mark.real("openssl")
def test_a_slow_upstream_is_not_the_clients_fault(start: StartProcess, tmp_path: Path) -> None:
    """A client may be silent for `body_timeout` only while there is something to send to it."""
    process = start(certificate=make_certificate(tmp_path), timeout=1.0)
    process.begin()
    process.write(MIB, expect=MIB)
    with process.http1() as plain, process.tls() as secure, process.http2() as client:
        for wire in (plain, secure):
            ask(wire)
            assert wire.read(MIB) == content(0, MIB)
        stream = client.start("GET", f"/{DIGEST}")
        with ThreadPoolExecutor() as pool:
            bodies = [pool.submit(wire.read, SIZE - MIB) for wire in (plain, secure)]
            whole = pool.submit(lambda: client.response(stream).body)
            time.sleep(5)  # several times as long as a client may be silent
            with process.http1() as wire:
                assert wire.get("/vanishing").body == b"again"
            process.write(SIZE - MIB, expect=SIZE)
            process.tell("/commit", expect=SIZE)
            assert all(body.result() == content(MIB, SIZE - MIB) for body in bodies)
            assert whole.result() == content(0, SIZE)


def test_a_full_disk_stops_the_writer_and_what_is_there_stays(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 24 * MIB) as disk:
        root = disk.path / "cache"
        with SpoolProcess(root) as process, process.http1() as wire:
            process.begin()
            process.write(MIB, expect=MIB)
            ask(wire)
            disk.fill(leave=MIB)
            process.write(SIZE - MIB, expect="StoreFull")
            there = spooled(root)
            assert wire.read(there) == content(0, there)
            disk.clear()
            process.write(SIZE - there, expect=SIZE)
            process.tell("/commit", expect=SIZE)
            assert wire.read(SIZE - there) == content(there, SIZE - there)


def test_content_evicted_before_it_is_opened_is_asked_for_again(writer: SpoolProcess) -> None:
    with writer.http1() as wire:
        response = wire.get("/vanishing")
        assert (response.status, response.body) == (200, b"again")


def hashed(wire: Wire, size: int) -> str:
    hasher = hashlib.sha256()
    while size:
        block = wire.read(min(size, MIB))
        hasher.update(block)
        size -= len(block)
    return hasher.hexdigest()


def stored(root: Path) -> list[str]:
    """Return the names of the content files."""
    return [path.name for path in (root / "blobs").rglob("*") if path.is_file()]


def spooled(root: Path) -> int:
    """Return how many bytes are in spools."""
    return sum(path.stat().st_size for path in (root / "spools").rglob("*") if path.is_file())
