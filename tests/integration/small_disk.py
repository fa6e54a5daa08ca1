"""A file system so small that a test can fill it: a tmpfs, which only root may mount."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.programs import NOT_RUN, require_program


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A file system of a few megabytes, mounted at `path`."""

    path: Path

    @property
    def free(self) -> int:
        """Bytes that can still be written."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, *, leave: int = 0) -> None:
        """Take all space but `leave` bytes, until `clear`. What others take meanwhile is theirs."""
        with (self.path / "filler").open("ab") as file:
            while (wanted := self.free - leave) > 0:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), wanted)
                except OSError as error:
                    if error.errno != errno.ENOSPC:  # else somebody was faster; less is left
                        raise

    def take_files(self, *, leave: int) -> None:
        """Take all files there may be but so many, until `clear`."""
        folder = self.path / "fillers"
        folder.mkdir()
        for number in range(os.statvfs(self.path).f_ffree - leave):
            (folder / str(number)).touch()

    def clear(self) -> None:
        """Give back what `fill` and `take_files` took."""
        (self.path / "filler").unlink(missing_ok=True)
        shutil.rmtree(self.path / "fillers", ignore_errors=True)


@contextmanager
def mounted(path: Path, size: int, *, inodes: int = 0) -> Iterator[SmallDisk]:
    """Mount a file system of `size` bytes, and of so many files if that is not 0."""
    mount, unmount = require_program("mount"), require_program("umount")
    path.mkdir()
    options = f"size={size},mode=0700" + (f",nr_inodes={inodes}" if inodes else "")
    command = [mount, "-t", "tmpfs", "-o", options, "tmpfs", path]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"{NOT_RUN}a tmpfs cannot be mounted here ({done.stderr.strip()})")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run([unmount, "--lazy", path], check=True)
