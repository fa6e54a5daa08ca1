"""A file that may not grow is a full store; see also FullContentStoreSuite."""

import subprocess
import sys
from pathlib import Path

UPLOADER = Path(__file__).with_name("uploader.py")


def test_a_file_limit_is_a_full_store(root: Path) -> None:
    command = [sys.executable, str(UPLOADER), str(root), "limited"]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert told.split() == ["full", "full", "65536", "131072"]
    (content,) = (path for path in (root / "blobs").rglob("*") if path.is_file())
    assert content.stat().st_size == 131072
    assert list((root / "ingests").iterdir()) == []
