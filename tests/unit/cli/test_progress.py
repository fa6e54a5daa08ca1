"""Progress as JSON lines: one per start and end, at most one a second in between."""

import io
import json
from typing import Any

import pytest

from entrepot.cli import progress
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.services.progress import (
    BlobAdvanced,
    BlobFinished,
    BlobStarted,
    Event,
    ManifestFinished,
    Planned,
    Retried,
    Warned,
)

LAYER = Descriptor("application/vnd.oci.image.layer.v1.tar", Digest.of(b"layer"), 1000)
OTHER = Descriptor("application/vnd.oci.image.layer.v1.tar", Digest.of(b"other"), 500)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def told(*events: Event | float) -> list[dict[str, Any]]:
    """Tell events, and let that many seconds pass for a number; return the lines."""
    stream, clock = io.StringIO(), Clock()
    lines = progress.JsonLines(stream, clock)
    for event in events:
        if isinstance(event, float):
            clock.now += event
        else:
            lines(event)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_blob_starts_and_ends_with_a_line() -> None:
    digest = str(LAYER.digest)
    assert told(BlobStarted(LAYER, 0), BlobFinished(LAYER, "copied")) == [
        {"event": "started", "digest": digest, "size": 1000, "offset": 0},
        {"event": "finished", "digest": digest, "size": 1000, "how": "copied"},
    ]


def test_chunks_make_one_line_a_second_at_most() -> None:
    chunk = BlobAdvanced(LAYER.digest, 10)
    start = BlobStarted(LAYER, 0)
    events: list[Event | float] = [Planned(2, 1500), start, *[chunk] * 20]
    lines = told(*events, 1.0, chunk, chunk, 0.5, chunk, 0.5, chunk)
    assert [line["event"] for line in lines] == ["started", "progress", "progress"]
    assert lines[1] == {
        "event": "progress", "bytes": 210, "total_bytes": 1500, "blobs": 0, "total_blobs": 2,
    }  # fmt: skip
    assert lines[2]["bytes"] == 240


def test_bytes_count_once_however_often_they_are_read() -> None:
    tally = progress.Tally()
    half = BlobAdvanced(LAYER.digest, 500)
    for event in (BlobStarted(LAYER, 200), half, Retried(LAYER, 100), half):
        tally.add(event)
    assert (tally.offset(LAYER.digest), tally.bytes) == (600, 600)
    tally.add(BlobFinished(LAYER, "copied"))
    tally.add(BlobFinished(OTHER, "present"))
    assert (tally.blobs, tally.bytes) == (2, 1500)


def test_manifests_and_repeats_are_told() -> None:
    lines = told(BlobStarted(LAYER, 5), Retried(LAYER, 2), ManifestFinished(OTHER))
    assert [line["event"] for line in lines] == ["started", "retried", "manifest"]
    assert (lines[0]["offset"], lines[1]["offset"]) == (5, 2)
    assert lines[2]["media_type"] == OTHER.media_type


@pytest.mark.parametrize("quiet", [True, False])
def test_warnings_are_for_everybody(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown(quiet, io.StringIO()) as report:
        report(BlobStarted(LAYER, 0))
        report(Warned("the registry is old"))
    assert capsys.readouterr().err == "warning: the registry is old\n"


def test_quiet_tells_nothing_else() -> None:
    stream = io.StringIO()
    with progress.shown(True, stream) as report:
        report(BlobStarted(LAYER, 0))
        report(BlobFinished(LAYER, "copied"))
    assert stream.getvalue() == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_people_see_bars_that_disappear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    terminal = Terminal()
    with progress.shown(False, terminal) as report:
        bars: Any = report
        report(Planned(2, 1500))
        report(BlobFinished(OTHER, "present"))
        report(BlobStarted(LAYER, 400))
        report(BlobAdvanced(LAYER.digest, 100))
        bars._bars.refresh()
        drawn = terminal.getvalue()
        assert LAYER.digest.hex[:12] in drawn
        assert "1/2 blobs" in drawn
        terminal.truncate(0)
        report(Warned("be careful"))
        report(BlobFinished(LAYER, "copied"))
        bars._bars.refresh()
        assert "2/2 blobs" in terminal.getvalue()
        assert "warning: be careful" in terminal.getvalue()
        assert LAYER.digest.hex[:12] not in terminal.getvalue().rpartition("2/2")[2]
