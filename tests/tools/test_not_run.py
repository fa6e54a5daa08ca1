"""A test that could not be run is named at the end, and not counted as passed."""

import subprocess
import sys
from pathlib import Path

from tools.environment import ROOT

TESTS = """
import pytest
from tests.programs import require_program

@pytest.mark.real("no-such-program")
def test_marked():
    raise AssertionError("must not start")

def test_asks():
    require_program("no-such-daemon")

def test_does_not_apply():
    pytest.skip("only on another platform")

@pytest.mark.real("sh")
def test_present():
    assert require_program("sh").is_absolute()
"""


def test_missing_programs_are_named_and_other_skips_are_not(tmp_path: Path) -> None:
    file = tmp_path / "test_sample.py"
    file.write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = real: needs a program\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.not_run", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, f"--rootdir={tmp_path}", "-c", str(tmp_path / "pytest.ini"), str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    section = done.stdout.split("= not run =", 1)[1]
    told = [line.strip() for line in section.splitlines()]
    assert "1 passed, 3 skipped" in done.stdout
    assert told[1:6] == [
        "no-such-daemon is not on this machine:",
        "test_sample.py::test_asks",
        "no-such-program is not on this machine:",
        "test_sample.py::test_marked",
        "2 not run; `python3 dev.py setup` installs what it can",
    ]
    assert "test_does_not_apply" not in section
