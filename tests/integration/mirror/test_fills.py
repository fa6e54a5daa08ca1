"""Fills: many clients at once, one transfer. Rows PX-07 (coalesced pulls, ranges) and CA-01."""

import hashlib
import socket
import struct
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Final

import pytest

from entrepot.oci.descriptor import Descriptor
from entrepot.ports.delivery import HELD_BACK
from entrepot.testing import DropConnection, MockRegistry, Stall, WrongDigest
from tests.certificates import make_certificate
from tests.http2_client import Http2Client
from tests.http_client import Response, parts
from tests.integration.mirror.conftest import StartMirror, cache_of
from tests.integration.mirror.pullers import Pull, Pulled, Pullers
from tests.integration.mirror.worker_sockets import connected_to, filling_worker, other_worker
from tests.mirrors import MANIFESTS, UPSTREAM, RunningMirror
from tests.processes import peak_memory, reset_peak_memory
from tests.waiting import wait_until
from tests.wire import Wire, request

MIB: Final = 1 << 20
GIB: Final = 1 << 30
SIZE: Final = 12 * MIB + 11
NAME: Final = "team/app"


def path_of(digest: object) -> str:
    return f"/v2/{UPSTREAM}/{NAME}/blobs/{digest}"


def gets(registry: MockRegistry) -> Counter[str]:
    """Count GETs of content by what was asked for."""
    found = [r for r in registry.matching("GET", "/v2/*/*") if r.status in (200, 206)]
    return Counter(one.path.rpartition("/")[2] for one in found)


@pytest.mark.parametrize(
    ("clients", "size"),
    [
        pytest.param(20, 48 * MIB, id="48 MiB"),
        pytest.param(20, GIB, id="1 GiB", marks=pytest.mark.slow),
    ],
)
def test_parallel_cold_pulls_are_one_transfer(
    registry: MockRegistry, start_mirror: StartMirror, clients: int, size: int
) -> None:
    """PX-07: two workers, one GET upstream, every digest right, hardly any memory."""
    blob = registry.add_blob(NAME, size)
    mirror = start_mirror(registry, workers=2)
    mirror.blob(NAME, registry.add_blob(NAME, 100).digest)  # all is imported and connected
    registry.clear_requests()
    processes = [mirror.process.pid, *mirror.workers]
    before = reset_peak_memory(processes)
    found = Pullers([Pull(mirror.host, path_of(blob.digest))] * clients).results()
    growth = peak_memory(processes) - before
    print(f"growth {growth >> 20} MiB, slowest {max(one.seconds for one in found):.1f} s")
    assert [(one.status, one.length) for one in found] == [(200, size)] * clients
    assert {f"sha256:{one.sha256}" for one in found} == {str(blob.digest)}
    assert gets(registry) == {str(blob.digest): 1}
    assert registry.count("HEAD") == 0, "the other worker need not ask whose it is"
    assert growth < 100 * MIB


def test_cold_clients_of_an_image_cost_the_upstream_one_image(
    registry: MockRegistry, start_mirror: StartMirror
) -> None:
    """PX-07: an index, two manifests, their configs and layers, by tag and by digest."""
    mirror = start_mirror(registry, workers=2)
    for tag in ("v1", "v2", "v3"):
        index = registry.add_index(NAME, tag, layers=3, layer_size=MIB)
        path = f"/v2/{UPSTREAM}/{NAME}/manifests/{tag}"
        found = Pullers([Pull(mirror.host, path, accept=MANIFESTS)] * 16).results()
        digests = [one.digest for child in index.children for one in (child, *child.blobs)]
        wanted = [tag, *map(str, digests)]
        assert Counter(map(reference, found)) == dict.fromkeys(wanted, 16)
        for one in found:
            assert one.whole
            digest = str(index.digest) if reference(one) == tag else reference(one)
            assert f"sha256:{one.sha256}" == digest
        assert gets(registry) == dict.fromkeys(wanted, 1)
        assert not registry.matching("HEAD", "*/blobs/*")
        registry.clear_requests()


def reference(pulled: Pulled) -> str:
    return pulled.path.rpartition("/")[2]


# ── clients that leave, and clients that are slow ────────────────────────────────────────────


@pytest.mark.parametrize("everybody", [False, True], ids=["one of three", "all"])
def test_a_fill_goes_on_without_those_who_left(
    registry: MockRegistry, start_mirror: StartMirror, everybody: bool
) -> None:
    """PX-07: at 10 % one client hangs up, with a reset as a killed one does, or all of them."""
    blob = registry.add_blob(NAME, SIZE)
    stall = registry.fault(Stall(after_bytes=SIZE // 10), path="*/blobs/*")
    mirror = start_mirror(registry, workers=2)
    with ExitStack() as stack:
        wires = [stack.enter_context(asked(mirror, blob)) for _ in range(3)]
        heads = [wire.read(SIZE // 20) for wire in wires]
        for wire in wires if everybody else wires[:1]:
            reset(wire)
        stall.release()
        if not everybody:
            for wire, head in zip(wires[1:], heads[1:], strict=True):
                assert_whole(head + wire.read(SIZE - len(head)), blob)
        cache = cache_of(mirror)
        wait_until(lambda: str(blob.digest) in cache.stored())
    assert gets(registry) == {str(blob.digest): 1}
    registry.fault(DropConnection(), times=None)  # it is gone
    assert_whole(mirror.blob(NAME, blob.digest).body, blob)


def test_a_slow_client_does_not_slow_the_others(
    registry: MockRegistry, start_mirror: StartMirror
) -> None:
    size = 40 * MIB  # more than the sockets of both sides hold
    blob = registry.add_blob(NAME, size)
    mirror = start_mirror(registry)
    with Wire.to(mirror, timeout=30) as slow:
        slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.send(request("GET", path_of(blob.digest)))
        assert slow.head()[0] == 200
        assert_whole(mirror.blob(NAME, blob.digest).body, blob)
        wait_until(lambda: str(blob.digest) in cache_of(mirror).stored())
        assert_whole(slow.read(size), blob)
    assert gets(registry) == {str(blob.digest): 1}


@pytest.mark.slow
@pytest.mark.parametrize("ranges", ["0-", "5-9000000", "0-2000000,9000000-"])
def test_a_stalled_upstream_is_not_the_clients_fault(
    registry: MockRegistry, start_mirror: StartMirror, ranges: str
) -> None:
    """A client is cut after `body_timeout` only where it is the one that keeps us waiting."""
    blob = registry.add_blob(NAME, SIZE)
    stall = registry.fault(Stall(after_bytes=MIB), path="*/blobs/*")
    mirror = start_mirror(registry, workers=2, settings={"server.body_timeout": "1s"})
    with asked(mirror, blob) as first, ThreadPoolExecutor() as pool, ExitStack() as stack:
        filling = filling_worker(mirror)
        workers = filling, other_worker(mirror, filling)
        wires = [stack.enter_context(connected_to(mirror, worker)) for worker in workers]
        heads = [ask_range(wire, blob, ranges) for wire in wires]
        everything = pool.submit(first.read, SIZE)
        time.sleep(4)  # several times as long as a client may be silent
        stall.release()
        for wire, head in zip(wires, heads, strict=True):
            assert_ranges(wire, head, ranges, registry.blob(blob.digest))
        assert_whole(everything.result(), blob)


def test_what_was_wrong_is_not_fetched_again_for_nobody(
    registry: MockRegistry, start_mirror: StartMirror
) -> None:
    """CA-01: one transfer breaks off in both workers; the next client asks again."""
    blob = registry.add_blob(NAME, SIZE)
    stall = registry.fault(Stall(after_bytes=MIB), WrongDigest(), path="*/blobs/*")
    mirror = start_mirror(registry, workers=2)
    with asked(mirror, blob) as first:
        filling = filling_worker(mirror)
        with connected_to(mirror, other_worker(mirror, filling)) as other:
            other.send(request("GET", path_of(blob.digest)))
            assert other.head()[0] == 200
            stall.release()
            for wire in (first, other):
                assert len(wire.rest()) < SIZE
    wait_until(lambda: not cache_of(mirror).states())
    assert gets(registry) == {str(blob.digest): 1}
    assert_whole(mirror.blob(NAME, blob.digest).body, blob)
    assert gets(registry) == {str(blob.digest): 2}


# ── ranges ───────────────────────────────────────────────────────────────────────────────────


RANGES: Final = {
    "behind what is there": "7000003-7100002",
    "there already": "1000-100999",
    "half there": "900000-1300000",
    "suffix": "-70000",
    "to the end": "12582911-",
    "several": "10-19,7000000-7000009,-5",
}


def test_followers_ranges_are_exact(registry: MockRegistry, start_mirror: StartMirror) -> None:
    """PX-07: while the fill goes on, in the worker that fills and in the other one."""
    blob = registry.add_blob(NAME, SIZE)
    stall = registry.fault(Stall(after_bytes=MIB), path="*/blobs/*")
    mirror = start_mirror(registry, workers=2)
    with asked(mirror, blob) as first, ThreadPoolExecutor() as pool, ExitStack() as stack:
        filling = filling_worker(mirror)
        followers = []
        for worker in (filling, other_worker(mirror, filling)):
            for ranges in RANGES.values():
                wire = stack.enter_context(connected_to(mirror, worker))
                followers.append((wire, ask_range(wire, blob, ranges), ranges))
        everything = pool.submit(first.read, SIZE)
        content = registry.blob(blob.digest)
        there = [wire for wire, _, ranges in followers if ranges == RANGES["there already"]]
        early = 1000 + 100_000 - HELD_BACK
        for wire in there:  # while nothing comes
            assert wire.read(early - 1000) == content[1000:early]
        stall.release()
        for wire, head, ranges in followers:
            if wire in there:
                assert wire.read(HELD_BACK) == content[early : early + HELD_BACK]
            else:
                assert_ranges(wire, head, ranges, content)
        assert_whole(everything.result(), blob)
    assert gets(registry) == {str(blob.digest): 1}


@pytest.mark.real("openssl")
def test_followers_over_tls_and_http_2_are_exact(
    registry: MockRegistry, start_mirror: StartMirror, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path)
    blob = registry.add_blob(NAME, SIZE)
    stall = registry.fault(Stall(after_bytes=MIB), path="*/blobs/*")
    mirror = start_mirror(
        registry,
        workers=2,
        settings=certificate.settings(),
        tls=certificate.client("http/1.1"),
    )
    content = registry.blob(blob.digest)
    host, _, port = mirror.host.rpartition(":")

    def secure(protocol: str) -> socket.socket:
        plain = socket.create_connection((host, int(port)), 30)
        return certificate.client(protocol).wrap_socket(plain, server_hostname=host)

    with ExitStack() as stack, ThreadPoolExecutor(16) as pool:
        whole, part = [], []
        for _ in range(4):  # some of them will meet the other worker
            wire = stack.enter_context(Wire(secure("http/1.1")))
            wire.send(request("GET", path_of(blob.digest)))
            whole.append(pool.submit(wire.response))
            client = stack.enter_context(Http2Client(secure("h2"), mirror.host, scheme="https"))
            streams = [
                client.start("GET", path_of(blob.digest), {"range": f"bytes={first}-{last}"})
                for first, last in ((0, SIZE - 1), (5_000_000, 5_100_000))
            ]
            part.append(pool.submit(responses, client, streams))
        stall.wait()
        stall.release()
        for answer in whole:
            assert_whole(answer.result().body, blob)
        for answers in part:
            everything, middle = answers.result()
            assert_whole(everything.body, blob)
            assert middle.body == content[5_000_000:5_100_001]
    assert gets(registry) == {str(blob.digest): 1}


def responses(client: Http2Client, streams: list[int]) -> list[Response]:
    return [client.response(stream) for stream in streams]


def asked(mirror: RunningMirror, blob: Descriptor) -> Wire:
    """Ask for a blob; return once the answer has begun."""
    wire = Wire.to(mirror, timeout=30)
    wire.send(request("GET", path_of(blob.digest)))
    assert wire.head()[0] == 200
    return wire


def ask_range(wire: Wire, blob: Descriptor, ranges: str) -> Response:
    """Ask for ranges of a blob; return the answer's head once it has begun."""
    wire.send(request("GET", path_of(blob.digest), f"Range: bytes={ranges}"))
    status, headers = wire.head()
    assert status == 206
    return Response(status, headers, b"")


def assert_ranges(wire: Wire, head: Response, ranges: str, at: bytes) -> None:
    """Read an answer's body, which is these ranges of the content `at` the upstream."""
    body = wire.read(int(head.header("Content-Length") or ""))
    wanted = [exact_range(one, at) for one in ranges.split(",")]
    if len(wanted) == 1:
        assert [(head.header("Content-Range"), body)] == wanted
    else:
        assert parts(replace(head, body=body)) == wanted


def exact_range(one: str, content: bytes) -> tuple[str | None, bytes]:
    first, _, last = one.partition("-")
    start = int(first) if first else len(content) - int(last)
    end = min(int(last), len(content) - 1) if first and last else len(content) - 1
    return f"bytes {start}-{end}/{len(content)}", content[start : end + 1]


def reset(wire: Wire) -> None:
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()


def assert_whole(content: bytes, blob: Descriptor) -> None:
    assert len(content) == blob.size
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == str(blob.digest)


@pytest.mark.parametrize("asked_for", ["0-499999", "100-199", "0-499999,700000-700099"])
def test_a_range_of_wrong_bytes_reaches_nobody_whole(
    registry: MockRegistry, start_mirror: StartMirror, asked_for: str
) -> None:
    """PX-07: the end of each range waits until the whole blob has been verified."""
    blob = registry.add_blob(NAME, SIZE)
    mirror = start_mirror(registry)
    registry.fault(WrongDigest(), method="GET", path="*/blobs/*", times=None)
    with pytest.raises(HTTPException):
        mirror.blob(NAME, blob.digest, headers={"Range": f"bytes={asked_for}"})
    registry.heal()
    right = mirror.blob(NAME, blob.digest, headers={"Range": "bytes=0-499999"})
    assert (right.status, right.body) == (206, registry.blob(blob.digest)[:500_000])
