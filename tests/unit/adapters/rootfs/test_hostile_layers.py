"""No layer changes anything outside of the directory it is unpacked to, as root or as nobody."""

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.adapters.rootfs import hostile


def place(folder: Path) -> Path:
    """Make a folder with something to spoil, the neighbour of the directory to unpack to."""
    outside = folder / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "canary").write_text("alive")
    (outside / "inner" / "file").write_text("alive")
    for one in (outside, outside / "inner", outside / "canary"):
        os.utime(one, (1, 1))
    return outside


def seen(outside: Path) -> list[tuple[str, int, int, int, int, float, bytes]]:
    """Describe all of it: modes, owners, links, times and content."""
    found = []
    for one in (outside, *sorted(outside.rglob("*"))):
        about = one.lstat()
        content = one.read_bytes() if stat.S_ISREG(about.st_mode) else b""
        numbers = (about.st_mode, about.st_uid, about.st_nlink, about.st_size, about.st_mtime)
        found.append((str(one), *numbers, content))
    return found


@pytest.mark.parametrize("name", hostile.ALL)
def test_nothing_outside_changes(tmp_path: Path, name: str) -> None:
    outside = place(tmp_path)
    before = seen(outside)

    told = hostile.outcome(tmp_path / "root", outside, hostile.ALL[name])

    assert seen(outside) == before
    check(tmp_path, name, told)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everyone may pass through; pytest's are closed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def test_nothing_outside_changes_without_rights(open_folder: Path) -> None:
    outsides = {}
    for number, name in enumerate(hostile.ALL):
        outsides[name] = place(open_folder / str(number))
        if os.geteuid() == 0:
            for one in (outsides[name].parent, *outsides[name].parent.rglob("*")):
                os.chown(one, hostile.NOBODY, hostile.NOBODY)
    before = {name: seen(outside) for name, outside in outsides.items()}

    program = [sys.executable, hostile.__file__, str(open_folder)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {name: seen(outside) for name, outside in outsides.items()} == before
    for name, outside in outsides.items():
        check(outside.parent, name, told[name])


def check(folder: Path, name: str, told: str) -> None:
    """Refusals leave nothing and say what is wrong; the rest is there."""
    if name in hostile.REFUSED:
        assert told.startswith("ContentInvalid: layer "), told
        assert sorted(one.name for one in folder.iterdir()) == ["outside"]
    else:
        assert told == "unpacked"
        assert sorted(one.name for one in folder.iterdir()) == ["outside", "root"]
