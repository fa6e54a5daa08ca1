"""What a transfer tells while it runs: bars on a terminal, JSON lines for programs, both on
standard error. What it has done in the end goes to standard output, and is not said here.

JSON lines are objects with an `event`:

    {"event": "started", "digest": …, "size": …, "offset": …}
    {"event": "progress", "bytes": …, "total_bytes": …, "blobs": …, "total_blobs": …}
    {"event": "retried", "digest": …, "offset": …}
    {"event": "finished", "digest": …, "size": …, "how": "copied|present|mounted|skipped"}
    {"event": "manifest", "digest": …, "size": …, "media_type": …}

`progress` comes at most once per second, however many blobs are on their way.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from entrepot.cli.failures import warn
from entrepot.oci.digest import Digest
from entrepot.services.progress import (
    BlobAdvanced,
    BlobFinished,
    BlobStarted,
    Event,
    ManifestFinished,
    Planned,
    Report,
    Retried,
    Warned,
)

_INTERVAL: Final = 1.0


@contextmanager
def shown(quiet: bool, stream: TextIO | None = None) -> Iterator[Report]:
    """Yield what is to be told of events: bars, lines, or warnings only if `quiet`."""
    stream = stream or sys.stderr
    if quiet:
        yield warnings_only
    elif stream.isatty():
        # rich takes 100 ms to import, which only people who look are asked for.
        from entrepot.cli.terminal_bars import TerminalBars

        with TerminalBars(stream) as bars:
            yield bars
    else:
        yield JsonLines(stream, time.monotonic)


def warnings_only(event: Event) -> None:
    """Say warnings and nothing else."""
    if isinstance(event, Warned):
        warn(event.text)


class Tally:
    """How far a transfer has come, in bytes and in blobs, added up from its events."""

    def __init__(self) -> None:
        self.blobs = self.bytes = self.total_blobs = self.total_bytes = 0
        self._offsets: dict[Digest, int] = {}

    def add(self, event: Event) -> None:
        """Count an event. Bytes that are read again do not count twice."""
        match event:
            case Planned():
                self.total_blobs, self.total_bytes = event.blobs, event.bytes
            case BlobStarted() | Retried():
                self._move(event.descriptor.digest, event.offset)
            case BlobAdvanced():
                self._move(event.digest, self.offset(event.digest) + event.bytes)
            case BlobFinished():
                self._move(event.descriptor.digest, event.descriptor.size)
                del self._offsets[event.descriptor.digest]
                self.blobs += 1
            case _:
                pass

    def offset(self, digest: Digest) -> int:
        """Return how many bytes of a blob that is on its way are there."""
        return self._offsets.get(digest, 0)

    def _move(self, digest: Digest, offset: int) -> None:
        self.bytes += offset - self.offset(digest)
        self._offsets[digest] = offset


class JsonLines:
    """One JSON object per line on a stream."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock
        self._tally = Tally()
        self._next = clock() + _INTERVAL

    def __call__(self, event: Event) -> None:
        self._tally.add(event)
        match event:
            case Warned():
                warn(event.text)
            case BlobStarted():
                self._write("started", **_blob(event), offset=event.offset)
            case Retried():
                self._write("retried", **_blob(event), offset=event.offset)
            case BlobFinished():
                self._write("finished", **_blob(event), how=event.how)
            case ManifestFinished():
                self._write("manifest", **_blob(event), media_type=event.descriptor.media_type)
            case BlobAdvanced() if self._clock() >= self._next:
                self._next = self._clock() + _INTERVAL
                tally = self._tally
                self._write(
                    "progress",
                    bytes=tally.bytes,
                    total_bytes=tally.total_bytes,
                    blobs=tally.blobs,
                    total_blobs=tally.total_blobs,
                )
            case _:
                pass

    def _write(self, event: str, **fields: object) -> None:
        self._stream.write(json.dumps({"event": event, **fields}) + "\n")
        self._stream.flush()


def _blob(event: BlobStarted | BlobFinished | ManifestFinished | Retried) -> dict[str, object]:
    return {"digest": str(event.descriptor.digest), "size": event.descriptor.size}
