"""Transfers through relays that are cut, and what must be true between a cut and the next run."""

import hashlib
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Final, Literal

from tests.docker_registry import RunningDockerRegistry
from tests.integration.cli.program import Program
from tests.relay import Relay, Way
from tests.server import RunningServer
from tests.waiting import wait_until

TAG: Final = "1.0"
_REPOSITORY: Final = "tests/cut"
_JOBS: Final = 6
_BUFFER: Final = 5 << 18

Server = RunningServer | RunningDockerRegistry
Cut = Literal["server killed", "network dropped", "client killed", "interrupted"]
CUTS: Final[tuple[Cut, ...]] = ("network dropped", "server killed", "client killed", "interrupted")
_EXIT_CODES: Final[dict[Cut, int]] = {
    "server killed": 1,
    "network dropped": 1,
    "client killed": -signal.SIGKILL,
    "interrupted": 130,
}


@dataclass(frozen=True)
class Transfer:
    """A command that moves an image of `blobs` and `size` bytes through `relay`, in the direction
    `way`.

    `arrived` tells how many bytes are on the receiving disk, `assert_clean` finds anything that
    looks whole and is not, `assert_whole` looks at the end. `relays` are all that are passed.
    """

    words: tuple[object, ...]
    result: object
    size: int
    blobs: int
    relays: tuple[Relay, ...]
    way: Way
    arrived: Callable[[], int]
    assert_clean: Callable[[], None]
    assert_whole: Callable[[], None]

    @property
    def relay(self) -> Relay:
        return self.relays[-1]

    @property
    def buffered(self) -> int:
        """Bytes that may be in memory, here and there: about 1 MiB of each blob at work."""
        return min(self.blobs, _JOBS) * _BUFFER

    def cut(self, entrepot: Program, how: Cut, server: Server) -> None:
        """Run until 60 % have arrived, cut it, and see that nothing is half-done."""
        before = self.arrived()
        limit = self.size * 6 // 10
        self.relay.hold_after(limit, self.way)
        process = entrepot.start(*self.words, "--retries", "0")
        with process, _killed(process):
            wait_until(lambda: self.relay.held or process.poll() is not None)
            assert process.poll() is None, process.communicate()
            wait_until(lambda: self.arrived() - before >= limit - self.buffered)
            if how == "client killed":
                process.kill()
            elif how == "interrupted":
                process.send_signal(signal.SIGINT)
                process.wait(15)
            elif how == "server killed":
                server.kill()
            for relay in self.relays:
                relay.cut()
            out, err = process.communicate(timeout=30)
        if how == "server killed":
            server.start()
        assert process.returncode == _EXIT_CODES[how], err.decode()
        assert out == b""
        _assert_told(err.decode(), errors=1 if process.returncode == 1 else 0)
        self.assert_clean()

    def again(self, entrepot: Program) -> float:
        """Run to the end; return which part of the bytes was sent."""
        for relay in self.relays:
            relay.restore()
        entrepot(*self.words, "--retries", "0", "-q")
        sent = max(max(relay.passed.values()) for relay in self.relays)
        self.assert_finished(entrepot)
        return sent / self.size

    def assert_finished(self, entrepot: Program) -> None:
        """See that all is there and nothing is left over."""
        self.assert_whole()
        entrepot("validate", "-q", self.result)
        notes = entrepot.folder / ".cache" / "entrepot" / "uploads"
        assert not list(notes.glob("*"))


@contextmanager
def _killed(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()


def _assert_told(err: str, *, errors: int) -> None:
    lines = [line for line in err.splitlines() if not line.startswith("{")]
    assert len(lines) == errors, err
    for line in lines:
        assert line.startswith("error: ")
    assert "Traceback" not in err


@contextmanager
def pushing(layout: Path, server: Server) -> Iterator[Transfer]:
    """Give a push of a layout's image."""
    with Relay(server.host) as relay:
        target = f"{relay.host}/{_REPOSITORY}:{TAG}"
        remote = Remote(server, layout)
        yield Transfer(
            ("push", f"oci:{layout}:{TAG}", target),
            f"{server.host}/{_REPOSITORY}:{TAG}",
            remote.size,
            len(_blobs(layout)) - 2,
            (relay,),
            "up",
            remote.arrived,
            remote.assert_clean,
            remote.assert_whole,
        )


@contextmanager
def copying(layout: Path, source: Server, target: Server) -> Iterator[Transfer]:
    """Give a copy from registry to registry; the source has the image already."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(Relay(one.host)) for one in (source, target))
        remote = Remote(target, layout)
        image = f"{first.host}/{layout.parent.name}:{TAG}"
        yield Transfer(
            ("cp", image, f"{second.host}/{_REPOSITORY}:{TAG}"),
            f"{target.host}/{_REPOSITORY}:{TAG}",
            remote.size,
            len(_blobs(layout)) - 2,
            (first, second),
            "up",
            remote.arrived,
            remote.assert_clean,
            remote.assert_whole,
        )


@contextmanager
def pulling(layout: Path, source: Server, folder: Path, kind: str = "oci") -> Iterator[Transfer]:
    """Give a pull into a layout or archive in `folder`; the source has the image already."""
    with Relay(source.host) as relay:
        pulled = Pulled(folder / "pulled", kind, layout)
        image = f"{relay.host}/{layout.parent.name}:{TAG}"
        yield Transfer(
            ("pull", image, pulled.address),
            pulled.address,
            _size(layout / "blobs"),
            len(_blobs(layout)) - 2,
            (relay,),
            "down",
            lambda: _size(folder, "*pulled*"),
            pulled.assert_clean,
            pulled.assert_whole,
        )


class Remote:
    """A repository at a server as the disk and plain HTTP show it."""

    def __init__(self, server: Server, layout: Path) -> None:
        self.size = _size(layout / "blobs")
        self._server = server
        self._layout = layout
        self._data = server.data if isinstance(server, RunningServer) else server.folder / "data"

    def arrived(self) -> int:
        return _size(self._data)

    def assert_clean(self) -> None:
        """There is no tag, no manifest, and what there is of blobs is whole."""
        root = _root(self._layout)
        for reference in (TAG, root):
            assert self._get(f"manifests/{reference}")[0] == 404
        for blob in _blobs(self._layout) - {root}:
            status, content = self._get(f"blobs/{blob}")
            assert status == 404 or _digest(content) == blob

    def assert_whole(self) -> None:
        """The image is there byte for byte, and no upload is."""
        root = _root(self._layout)
        assert _digest(self._get(f"manifests/{TAG}")[1]) == root
        for blob in _blobs(self._layout) - {root}:
            assert _digest(self._get(f"blobs/{blob}")[1]) == blob
        if isinstance(self._server, RunningServer):
            uploads = self._data.rglob("*upload*/**/*")
            assert not [path for path in uploads if path.is_file()]

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = HTTPConnection(self._server.host, timeout=10)
        try:
            accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
            connection.request("GET", f"/v2/{_REPOSITORY}/{path}", headers=accept)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class Pulled:
    """A layout or archive that is being pulled."""

    def __init__(self, path: Path, kind: str, layout: Path) -> None:
        self.address = f"{kind}:{path}:{TAG}"
        self._path = path
        self._kind = kind
        self._layout = layout

    def assert_clean(self) -> None:
        """An archive is not there; a layout names nothing, and no blob in it is wrong."""
        if self._kind != "oci":
            assert not self._path.exists()
            return
        index = self._path / "index.json"
        assert not index.exists() or json.loads(index.read_bytes())["manifests"] == []
        for file in (self._path / "blobs" / "sha256").glob("[0-9a-f]*"):
            assert _digest(file.read_bytes()) == f"sha256:{file.name}"

    def assert_whole(self) -> None:
        """It is the image, and there is nothing beside it."""
        assert [file.name for file in self._path.parent.glob("*pulled*")] == [self._path.name]
        if self._kind != "oci":
            return
        assert {file.name for file in self._path.iterdir()} == {
            "blobs",
            "index.json",
            "oci-layout",
        }
        there = {file.name for file in (self._path / "blobs" / "sha256").iterdir()}
        assert {f"sha256:{name}" for name in there} == _blobs(self._layout)
        assert _root(self._path) == _root(self._layout)


def _root(layout: Path) -> str:
    (one,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    return str(one["digest"])


def _blobs(layout: Path) -> set[str]:
    return {f"sha256:{file.name}" for file in (layout / "blobs" / "sha256").iterdir()}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _size(folder: Path, pattern: str = "*") -> int:
    """Return the bytes in the files below a folder; files may vanish meanwhile."""
    found = 0
    for top in folder.glob(pattern):
        for path in (top, *top.rglob("*")):
            try:
                found += path.stat().st_size if path.is_file() else 0
            except FileNotFoundError:
                continue
    return found
