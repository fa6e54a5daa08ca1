"""What is installed is pinned by hash, and no file says where to fetch it from."""

import re
import tomllib
from pathlib import Path

import pytest

from tools.environment import ROOT

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PIN = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>\S+)")


def pins(text: str) -> dict[str, str]:
    """Return version by name."""
    matches = (PIN.match(line) for line in text.splitlines())
    return {match["name"]: match["version"] for match in matches if match}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_requirement_has_hashes_and_no_line_names_an_index(lock: Path) -> None:
    text = lock.read_text()
    assert not re.search(r"^--|https?://", text, re.MULTILINE)
    blocks = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pins(text)) > 0
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


def test_tests_run_on_the_versions_that_are_served() -> None:
    runtime, dev = (
        pins((ROOT / "requirements" / f"{n}.txt").read_text()) for n in ("runtime", "dev")
    )
    assert runtime.items() <= dev.items()


def test_everything_declared_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    declared = [*project["project"]["dependencies"], *groups["build"], *groups["dev"]]
    names = {re.split(r"[\[<>=~! ]", line, maxsplit=1)[0] for line in declared}
    assert names <= pins((ROOT / "requirements" / "dev.txt").read_text()).keys()
    assert set(project["build-system"]["requires"]) <= set(groups["build"])
