"""Real programs written in Go, built at pinned versions into `.tools/bin` where Go is present.

The clients come from `requirements/go`, pinned by hash. The conformance suite and zot are
fetched by package path and version, and checked by Go's own checksum database.
"""

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.environment import PROGRAMS, ROOT
from tools.processes import quietly
from tools.speech import say

_CLIENTS: Final = ROOT / "requirements" / "go"
_BUILD_SECONDS: Final = 1200


# What `go` prints when its source cannot be fetched, or when it is too old for it.
_REFUSED: Final = re.compile(
    r'\breading https?://|\bGet "https?://|\bdial tcp\b|GOPROXY=off|requires go >= '
)


class NotToBeHad(Exception):
    """There is no Go here that can build it, or the module proxy does not hand it out; the
    message says which. Nothing is wrong with us."""


class BuildFailed(Exception):
    """The program could be had, but not built; the message says why."""


@dataclass(frozen=True, slots=True)
class GoProgram:
    """A program that `go install` builds from `path@version`."""

    name: str
    path: str
    version: str
    tags: str = ""


CONFORMANCE: Final = GoProgram(
    name="conformance",
    path="github.com/opencontainers/distribution-spec/conformance",
    version="4fc4ecbefaaa6e4e1682f59f5ac445d076cf642d",
)
"""The distribution-spec's own suite; it has no releases, so a commit of `main` is its version."""

ZOT: Final = GoProgram(
    name="zot",
    path="zotregistry.dev/zot/v2/cmd/zot",
    version="v2.1.13",
    # The minimal build, as its own project makes it, and the extension that pulls through.
    tags="containers_image_openpgp,sync",
)


def install_clients() -> None:
    """Build crane, regctl and oras if they are not up to date; where that fails, say so.

    Tests that need one which is missing report themselves as not run.
    """
    locked = b"".join((_CLIENTS / name).read_bytes() for name in ("go.mod", "go.sum"))
    wanted = hashlib.sha256(locked).hexdigest()
    stamp = PROGRAMS.parent / "go-clients.stamp"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    try:
        # -mod=readonly: a hash that is not in go.sum is an error, never an addition.
        _go_install("tool", cwd=_CLIENTS, flags="-mod=readonly")
    except (NotToBeHad, BuildFailed) as reason:
        say(f"not building the Go clients: {reason}")
        return
    stamp.write_text(wanted)


def install(program: GoProgram) -> Path:
    """Return where `program` is at its pinned version, building it first if needed.

    A binary that the operator put there by hand is taken as it is. Raise NotToBeHad
    or BuildFailed.
    """
    binary = PROGRAMS / program.name
    stamp = PROGRAMS.parent / f"{program.name}.stamp"
    if binary.exists() and (not stamp.exists() or stamp.read_text() == program.version):
        return binary
    flags = f"-tags={program.tags}" if program.tags else ""
    _go_install(f"{program.path}@{program.version}", cwd=ROOT, flags=flags)
    stamp.write_text(program.version)
    return binary


def _go_install(target: str, *, cwd: Path, flags: str) -> None:
    go = shutil.which("go")
    if go is None:
        raise NotToBeHad("there is no Go toolchain on PATH")
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    say(f"building with Go: {target if '@' in target else 'crane, oras, regctl'}")
    environment = os.environ | {
        "CGO_ENABLED": "0",
        "GOBIN": str(PROGRAMS),
        "GOFLAGS": flags,
        "GOTOOLCHAIN": "local",  # never fetch another toolchain
    }
    try:
        built = quietly(
            [go, "install", "-trimpath", "-buildvcs=false", target],
            cwd=cwd,
            environment=environment,
            seconds=_BUILD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise BuildFailed(f"go install did not end within {_BUILD_SECONDS} s") from None
    if built.returncode != 0:
        raise refusal(built.stdout)


def refusal(output: str) -> NotToBeHad | BuildFailed:
    """Return what to raise for a `go install` that failed and printed `output`."""
    lines = output.strip().splitlines()
    for line in lines:
        if _REFUSED.search(line):
            return NotToBeHad(f"Go cannot get it: {line.strip()}")
    return BuildFailed("go install failed: " + "\n".join(lines[-20:]))
