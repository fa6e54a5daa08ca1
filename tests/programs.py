"""Real programs that tests run against; a test whose program is missing is reported not run.

Mark a test with what it needs, `@pytest.mark.real("podman", "skopeo")`, or call
`require_program` in a fixture that starts one.
"""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tools.environment import PROGRAMS

PYTHONS = Path(sys.executable).parent
"""Where the programs of the Python at hand are, Entrepot among them."""

NOT_RUN = "not run: "
"""How the reason of a skip starts when something that should be here is missing."""


def find_program(name: str) -> Path | None:
    """Return where the program is: built by us, on PATH, or in a place PATH often leaves out.

    Entrepot itself is where Python is.
    """
    servers = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    often_left_out = ["/usr/local/sbin", "/usr/sbin", "/sbin", *servers, PYTHONS]
    places = [PROGRAMS, *os.get_exec_path(), *often_left_out]
    found = shutil.which(name, path=os.pathsep.join(str(place) for place in places))
    return Path(found) if found else None


def require_program(name: str) -> Path:
    """Return where the program is, or report the test at hand as not run."""
    found = find_program(name)
    if found is None:
        pytest.skip(f"{NOT_RUN}{name} is not on this machine")
    return found
