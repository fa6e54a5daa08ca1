"""A home of its own for client programs: no configuration, credentials or images but its own."""

import os
import subprocess
from pathlib import Path
from typing import Final

from tests.programs import PYTHONS, require_program
from tools.environment import PROGRAMS

SECONDS: Final = 60
"""How long a command may take unless it says otherwise."""

_MORE_PLACES: Final = ("/usr/sbin", "/sbin", str(PYTHONS))
_KEPT: Final = ("LANG", "TZ")
_POLICY: Final = '{"default": [{"type": "insecureAcceptAnything"}]}'
_STORAGE: Final = """\
[storage]
driver = "vfs"
graphroot = "{folder}/images"
runroot = "{folder}/run"
"""
_ENGINE: Final = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
lock_type = "file"
events_logger = "none"
tmp_dir = "{folder}/engine"
"""


class Sandbox:
    """A folder in which programs find their home, their temporary files and their storage.

    podman, buildah and skopeo keep images in it with the vfs driver, which needs nothing of
    the kernel. The folder's path has to be short, as those of the sockets are that podman makes
    in it. A new sandbox is a machine that has never pulled anything, but for one thing: as root
    those three note in /var/lib/containers/cache which registry has which blob, and later mount
    what they could push. A test of pushing needs a registry that is new as well.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.transcript = ""  # every command so far, with all that it printed
        home, temporary = folder / "home", folder / "tmp"
        for one in (home / ".config" / "containers", temporary):
            one.mkdir(parents=True)
        (home / ".config" / "containers" / "policy.json").write_text(_POLICY)
        (folder / "storage.conf").write_text(_STORAGE.format(folder=folder))
        (folder / "containers.conf").write_text(_ENGINE.format(folder=folder))
        self.environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | {
            "PATH": os.pathsep.join([str(PROGRAMS), *os.get_exec_path(), *_MORE_PLACES]),
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "XDG_RUNTIME_DIR": str(temporary),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "CONTAINERS_CONF": str(folder / "containers.conf"),
        }

    def run(self, program: str, *arguments: str | Path, seconds: float = SECONDS) -> str:
        """Run a command that succeeds, and return its standard output."""
        done = self.attempt(program, *arguments, seconds=seconds)
        assert done.returncode == 0, _outcome(done)
        return done.stdout

    def said(self, program: str, *arguments: str | Path, seconds: float = SECONDS) -> str:
        """Run a command that succeeds, and return all that it prints, errors after the rest."""
        done = self.attempt(program, *arguments, seconds=seconds)
        assert done.returncode == 0, _outcome(done)
        return done.stdout + done.stderr

    def fails(self, program: str, *arguments: str | Path, seconds: float = SECONDS) -> str:
        """Run a command that fails, and return all that it prints, errors after the rest."""
        done = self.attempt(program, *arguments, seconds=seconds)
        assert done.returncode != 0, _outcome(done)
        return done.stdout + done.stderr

    def attempt(
        self, program: str, *arguments: str | Path, seconds: float = SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a command that may fail, and return what came of it."""
        done = subprocess.run(
            [str(require_program(program)), *(str(word) for word in arguments)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
        self.transcript += _outcome(done)
        return done


def _outcome(done: subprocess.CompletedProcess[str]) -> str:
    return f"{' '.join(done.args)}: {done.returncode}\n{done.stdout}{done.stderr}"
