"""Clients that pull images the way docker does, and one that waits for first bytes."""

import hashlib
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from statistics import median
from typing import Final

from bench.harness.content import MANIFEST_TYPE, digest_of
from bench.harness.exchange import TIMEOUT_SECONDS, Connection, MeasurementFailed
from bench.harness.pulled_image import TAG, PulledImage
from bench.harness.servers import Address

AT_ONCE: Final = 3
"""Blobs that docker fetches at a time."""

_BLOCK: Final = 1024 * 1024


class Pull:
    """Pulls an image: its manifest by tag, then its blobs, three at a time.

    `prefix` stands before the image's repository. The connections are made and used once before
    the time begins.
    """

    def __init__(self, address: Address, prefix: str, image: PulledImage) -> None:
        self._address, self._size = address, image.size
        self._manifest = f"/v2/{prefix}{image.repository}/manifests/{TAG}", len(image.manifest)
        blobs = f"/v2/{prefix}{image.repository}/blobs/"
        self._blobs = [(blobs + digest, size) for digest, size in image.blobs]

    def connect(self) -> None:
        self._connections = connected(self._address)

    def over(self, connections: list[Connection]) -> "Pull":
        """Have it use connections that are there already."""
        self._connections = connections
        return self

    def run(self) -> int:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            _get(self._connections[0], *self._manifest, MANIFEST_TYPE)
            left = deque(self._blobs)
            list(threads.map(_drain, self._connections, [left] * AT_ONCE))
        return self._size


class PullsInTurn:
    """Pulls several images, one after the other and all again, over the same connections to each
    server: a mood of the machine, and which of its workers they have come to, is the same for
    all."""

    def __init__(self) -> None:
        self._pulls: list[Pull] = []
        self._connections: dict[Address, list[Connection]] = {}

    def add(self, address: Address, prefix: str, image: PulledImage) -> None:
        """Have an image pulled in its turn."""
        if address not in self._connections:
            self._connections[address] = connected(address)
        self._pulls.append(Pull(address, prefix, image).over(self._connections[address]))

    def rates(self, times: int) -> list[float]:
        """Return the median bytes per second of each."""
        taken: list[list[float]] = [[] for _ in self._pulls]
        for number in range(times):
            turn = [*zip(self._pulls, taken, strict=True)]
            for pull, rates in turn[::-1] if number % 2 else turn:
                begun = time.monotonic()
                size = pull.run()
                rates.append(size / (time.monotonic() - begun))
        return [median(rates) for rates in taken]

    def close(self) -> None:
        """Close the connections."""
        for connections in self._connections.values():
            for connection in connections:
                connection.close()


class FirstBytes:
    """Asks for blobs of an image, one after the other, over one connection."""

    def __init__(self, address: Address, prefix: str, image: PulledImage) -> None:
        """Connect, and pull the manifest, so that what follows is expected."""
        self._connection = Connection(address)
        manifest = f"/v2/{prefix}{image.repository}/manifests/{TAG}"
        _get(self._connection, manifest, len(image.manifest), MANIFEST_TYPE)
        self._blobs = f"/v2/{prefix}{image.repository}/blobs/"

    def seconds(self, digest: str, size: int) -> float:
        """Get a blob; return the seconds from the request to the first byte of the body."""
        begun = time.monotonic()
        return _get(self._connection, self._blobs + digest, size) - begun

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def connected(address: Address) -> list[Connection]:
    """Return as many connections as a pull takes, each used once."""
    connections = [Connection(address) for _ in range(AT_ONCE)]
    for connection in connections:
        connection.ask("GET", "/v2/")
    return connections


def _drain(connection: Connection, left: "deque[tuple[str, int]]") -> None:
    while True:
        try:
            target, size = left.popleft()
        except IndexError:
            return
        _get(connection, target, size)


def _get(connection: Connection, target: str, size: int, accept: str = "") -> float:
    """Get something of a known size; return when its first byte came."""
    answer = connection.ask("GET", target, accept)
    if (answer.status, answer.length) != (200, size):
        raise MeasurementFailed(
            f"GET {target}: {answer.status}, {answer.length} bytes instead of {size}"
        )
    return answer.began


def read_back(address: Address, prefix: str, image: PulledImage) -> None:
    """Pull an image whole and compare every byte. Raise MeasurementFailed if it is not right."""
    connection = HTTPConnection(*address, timeout=TIMEOUT_SECONDS)
    place = f"/v2/{prefix}{image.repository}"
    wanted = {f"{place}/manifests/{TAG}": digest_of(image.manifest)}
    wanted |= {f"{place}/blobs/{digest}": digest for digest, _ in image.blobs}
    for target, digest in wanted.items():
        connection.request("GET", target, headers={"Accept": MANIFEST_TYPE})
        response, whole = connection.getresponse(), hashlib.sha256()
        while block := response.read(_BLOCK):
            whole.update(block)
        if response.status != 200 or f"sha256:{whole.hexdigest()}" != digest:
            raise MeasurementFailed(f"GET {target}: {response.status}, or altered")
    connection.close()
