"""Hashes are kept between appends, for the uploads used last."""

import os
from pathlib import Path

import pytest

from entrepot.adapters.content_stores.running_hash import RunningHash, RunningHashes
from entrepot.oci.digest import Digest

CONTENT = os.urandom(3_000_000)


@pytest.mark.parametrize("hashed", [0, 1, 1 << 20, len(CONTENT)])
@pytest.mark.parametrize("end", [1 << 20, (1 << 20) + 1, len(CONTENT)])
def test_catching_up_hashes_what_is_missing(tmp_path: Path, hashed: int, end: int) -> None:
    hashed = min(hashed, end)
    path = tmp_path / "data"
    path.write_bytes(CONTENT)
    running = RunningHash("sha256")
    running.update([CONTENT[:hashed]])
    with path.open("rb") as data:
        running.catch_up(data.fileno(), end)
    assert running.offset == end
    assert running.digest() == Digest.of(CONTENT[:end])


def test_a_file_that_is_too_short_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"short")
    with path.open("rb") as data, pytest.raises(OSError, match="ends at 5"):
        RunningHash("sha256").catch_up(data.fileno(), 6)


def test_a_hash_is_handed_over_once() -> None:
    hashes, running = RunningHashes(2), RunningHash("sha256")
    hashes.keep("a", running)
    assert hashes.take("a") is running
    assert hashes.take("a") is None


def test_only_the_hashes_used_last_are_kept() -> None:
    hashes = RunningHashes(2)
    for path in ("a", "b", "a", "c"):
        hashes.keep(path, hashes.take(path) or RunningHash("sha256"))
    assert [hashes.take(path) is not None for path in ("a", "b", "c")] == [True, False, True]
