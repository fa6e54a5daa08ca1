"""A Debian system in a folder, from the mirror that apt on this machine is set up with."""

import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.programs import NOT_RUN, require_program

SECONDS: Final = 240
_TARGETS: Final = ("--format=$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages")


def bootstrap(folder: Path) -> None:
    """Make a minimal Debian in a folder; report the test as not run where there is no mirror."""
    mirror, release = _mirror()
    debootstrap = require_program("debootstrap")
    command = [str(debootstrap), "--variant=minbase", release, str(folder), mirror]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{NOT_RUN}debootstrap takes more than {SECONDS} s here")
    if done.returncode != 0:
        *_, last = ["it does not say why", *done.stdout.strip().splitlines()]
        pytest.skip(f"{NOT_RUN}debootstrap makes no Debian here: {last}")


def _mirror() -> tuple[str, str]:
    """Return where apt gets Debian from, and which release."""
    asked = [str(require_program("apt-get")), "indextargets", *_TARGETS]
    for line in subprocess.run(asked, capture_output=True, text=True).stdout.splitlines():
        mirror, release, component = line.split(" ")
        known = Path("/usr/share/debootstrap/scripts", release).exists()
        if component == "main" and known and mirror.startswith("http"):
            return mirror, release
    pytest.skip(f"{NOT_RUN}apt knows no Debian mirror on this machine")
