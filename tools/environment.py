"""The virtual environment in `.venv`: made, filled from the hash-pinned requirements, checked.

Two lanes: `runtime` is what the server needs, `dev` adds what tests and checks need. A warm
call costs one hash over three files, because `dev.py serve` pays it at every start.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from tools import debian
from tools.processes import quietly
from tools.speech import say

Lane = Literal["runtime", "dev"]

ROOT: Final = Path(__file__).resolve().parent.parent
VENV: Final = ROOT / ".venv"
PYTHON: Final = VENV / "bin" / "python"
PROGRAMS: Final = ROOT / ".tools" / "bin"
"""Where programs built from source are kept; git ignores it."""


class SetupFailed(Exception):
    """Something needed could not be installed; the message says what, and what to do."""


def variables() -> dict[str, str]:
    """Return the environment for what runs inside: the project's own programs come first."""
    places = [str(VENV / "bin"), str(PROGRAMS), os.environ.get("PATH", os.defpath)]
    return os.environ | {"PATH": os.pathsep.join(places), "VIRTUAL_ENV": str(VENV)}


def run(*command: str | Path, timeout: float | None = None) -> int:
    """Run `command` in the repository's root with `variables()`; return its exit code."""
    arguments = [str(word) for word in command]
    return subprocess.run(
        arguments, cwd=ROOT, env=variables(), check=False, timeout=timeout
    ).returncode


def requirements(lane: Lane) -> Path:
    """Return the lane's lock file."""
    return ROOT / "requirements" / f"{lane}.txt"


def ensure(lane: Lane) -> None:
    """Make `.venv` hold the lane's requirements and the project itself, editable.

    Does nothing when the stamp of an earlier call still fits. Raise SetupFailed.
    """
    if _stamp(lane).is_file() and _stamp(lane).read_text() == _fingerprint(lane):
        return
    say(f"installing {requirements(lane).relative_to(ROOT)} into .venv")
    failures = []
    for name, make, install in _installers():
        if not _made_by(name):
            shutil.rmtree(VENV, ignore_errors=True)
        try:
            if not _made_by(name):
                _install([*make, str(VENV)])
                (VENV / "identity").write_text(_identity(name))
            # Hashes pin every file; the project itself is local and has none.
            _install([*install, "--require-hashes", "-r", str(requirements(lane))])
            _install([*install, "--no-deps", "--no-build-isolation", "-e", str(ROOT)])
        except SetupFailed as failure:
            failures.append(f"{name}: {failure}")
            continue
        # What `dev` pins is a superset of `runtime`, at the same versions.
        covers: tuple[Lane, ...] = ("dev", "runtime") if lane == "dev" else ("runtime",)
        for covered in covers:
            _stamp(covered).write_text(_fingerprint(covered))
        return
    raise SetupFailed("cannot fill .venv.\n" + "\n".join(failures))


def _stamp(lane: Lane) -> Path:
    return VENV / f"{lane}.stamp"


def _fingerprint(lane: Lane) -> str:
    """Hash what the installed environment follows from.

    pyproject.toml counts, as the console script and the entry points come from it.
    """
    whole = hashlib.sha256(_python_version().encode())
    whole.update(str(ROOT).encode())
    for file in (requirements(lane), ROOT / "pyproject.toml"):
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()


def _python_version() -> str:
    return f"{sys.implementation.cache_tag} {sys.version}"


def _identity(installer: str) -> str:
    """Name what an existing `.venv` must agree with to be filled further, not made again."""
    return f"{installer}\n{_python_version()}\n{ROOT}\n"


def _made_by(installer: str) -> bool:
    identity = VENV / "identity"
    return PYTHON.exists() and identity.is_file() and identity.read_text() == _identity(installer)


def _installers() -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield (name, command that makes a virtualenv, command that installs), best first."""
    uv = shutil.which("uv")
    # A version manager's shim is on PATH even where uv is not installed behind it.
    if uv and subprocess.run([uv, "--version"], capture_output=True, check=False).returncode == 0:
        make = [uv, "venv", "--quiet", "--python", sys.executable]
        yield "uv", make, [uv, "pip", "install", "--quiet", "--python", str(PYTHON)]
    if importlib.util.find_spec("ensurepip") is None:  # Debian's Python comes without it
        debian.install(["python3-venv"])
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    yield "pip", [sys.executable, "-m", "venv"], pip


def _install(command: list[str]) -> None:
    """Run `command`, showing its output only in the SetupFailed it raises."""
    done = quietly(command, cwd=ROOT, environment=variables())
    if done.returncode != 0:
        raise SetupFailed(f"`{' '.join(command[:4])} …` failed:\n{done.stdout.strip()}")
