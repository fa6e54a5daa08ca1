"""What is acknowledged survives a power loss: bytes and names are synced, in the right order.

The system calls of a real upload are watched from outside.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

UPLOADER = Path(__file__).with_name("uploader.py")
CALL = re.compile(r"(?P<name>fsync|fdatasync|rename\w*)\((?P<arguments>.*)\) = 0")


def traced(root: Path, task: str) -> list[tuple[str, str]]:
    """Return (system call, arguments with paths in full) of an uploader's syncs and renames."""
    log = root.parent / "trace"
    calls = "trace=fsync,fdatasync,rename,renameat,renameat2"
    watched = [sys.executable, str(UPLOADER), str(root), task]
    # One call is written on one line: -ff gives every thread its own file.
    subprocess.run(["strace", "-ff", "-y", "-ttt", "-e", calls, "-o", log, *watched], check=True)
    texts = [file.read_text() for file in log.parent.glob("trace.*")]
    lines = sorted(line for text in texts for line in text.splitlines())  # begin with the time
    matches = (CALL.search(line) for line in lines)
    return [(match["name"], match["arguments"]) for match in matches if match]


@pytest.mark.real("strace")
def test_bytes_are_synced_before_the_rename_and_names_after_it(root: Path) -> None:
    calls = traced(root, "durable")
    renames = [index for index, (name, _) in enumerate(calls) if name.startswith("rename")]
    assert len(renames) == 2
    for index in renames:
        source, target = re.findall(r'"([^"]*)"', calls[index][1])
        fan_out = Path(target).parent
        before = [call for call in calls[:index] if source in call[1]]
        assert [name for name, _ in before] == ["fdatasync"]
        assert any(f"<{fan_out.parent}>" in arguments for _, arguments in calls[:index])
        assert f"<{fan_out}>" in calls[index + 1][1]


@pytest.mark.real("strace")
def test_nothing_is_synced_where_durability_is_not_wanted(root: Path) -> None:
    names = [name for name, _ in traced(root, "not-durable")]
    assert len(names) == 2
    assert all(name.startswith("rename") for name in names)
