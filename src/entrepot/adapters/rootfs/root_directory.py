"""A directory that is the root of all: paths are walked one component at a time with file
descriptors, so no name, `..` or symlink of an image leads out of it.

Symlinks are followed as in a chroot: `/` is this directory, and `..` stops there.
Source: openat(2), path_resolution(7).
"""

import errno
import os
import stat
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from entrepot.oci.errors import ContentInvalid
from entrepot.oci.layer_path import MOST_DEPTH, Path

WORKING_MODE: Final = 0o700
"""The mode of every directory while it is being filled; its own comes last."""

_OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS: Final = 40  # as Linux has it
_MOST_STEPS: Final = 4096
_OPEN_FOLDERS: Final = 64


class Folder:
    """An open directory below the root; `path` is free of symlinks. Closed when forgotten."""

    __slots__ = ("fd", "path")

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


class RootDirectory:
    """The tree below an open directory. Nobody else may write to it.

    `made` is told the path of each directory that was made because something below it was to be
    written, `may_replace` is asked whether a file may give way to such a directory, and
    `removed` is told of each directory that is gone.
    """

    def __init__(
        self,
        fd: int,
        *,
        made: Callable[[Path], None],
        removed: Callable[[Path], None],
        may_replace: Callable[[Path], bool],
    ) -> None:
        self._root = Folder((), fd)
        self._made = made
        self._removed = removed
        self._may_replace = may_replace
        self._open: OrderedDict[Path, Folder] = OrderedDict()

    def folder(self, path: Path, *, create: bool) -> Folder | None:
        """Return the directory that `path` means, following symlinks inside the root.

        With `create` it is made where it is not there; else None is returned. Raise
        ContentInvalid where a file stands in the way.
        """
        known = self._open.get(path)
        if known is not None:
            self._open.move_to_end(path)
            return known
        start = self._root
        steps = 0
        for length in range(len(path) - 1, 0, -1):
            nearest = self._open.get(path[:length])
            if nearest is not None:
                start, steps = nearest, length
                break
        found = self._walk(start, deque(path[steps:]), create)
        if found is not None:
            self._open[path] = found
            if len(self._open) > _OPEN_FOLDERS:
                self._open.popitem(last=False)
        return found

    def remove(self, folder: Folder, name: bytes) -> None:
        """Remove a file, or a directory with all below it; nothing is followed."""
        try:
            mode = os.lstat(name, dir_fd=folder.fd).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            self._remove_tree(folder, name)
        else:
            os.unlink(name, dir_fd=folder.fd)
        if stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
            self._open.clear()  # a path that led through it now leads elsewhere

    def forget(self) -> None:
        """Close the directories that are held open, but for the root."""
        self._open.clear()

    def close(self) -> None:
        """Close all; nothing more can be done here."""
        self._open.clear()
        del self._root

    def _walk(self, folder: Folder, pending: deque[bytes], create: bool) -> Folder | None:
        links = steps = 0
        while pending:
            steps += 1
            if steps > _MOST_STEPS:
                raise ContentInvalid("leads through too many symlinks")
            name = pending.popleft()
            if name in (b"", b"."):
                continue
            if name == b"..":
                if folder.path:
                    fd = os.open(b"..", _OPEN_FOLDER, dir_fd=folder.fd)
                    folder = Folder(folder.path[:-1], fd)
                continue
            entered = self._enter(folder, name, create)
            if entered is None:
                return None
            if isinstance(entered, Folder):
                folder = entered
                continue
            links += 1
            if links > _MOST_LINKS:
                raise ContentInvalid("leads through too many symlinks")
            pending.extendleft(reversed(entered.split(b"/")))
            if entered.startswith(b"/"):
                folder = self._root
        return folder

    def _enter(self, folder: Folder, name: bytes, create: bool) -> Folder | bytes | None:
        """Return the directory `name`, or the target of a symlink."""
        path = (*folder.path, name)
        try:
            return Folder(path, os.open(name, _OPEN_FOLDER, dir_fd=folder.fd))
        except FileNotFoundError:
            if not create:
                return None
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            if stat.S_ISLNK(os.lstat(name, dir_fd=folder.fd).st_mode):
                return os.readlink(name, dir_fd=folder.fd)
            if not create:
                return None
            if not self._may_replace(path):
                raise ContentInvalid("stands below a file that is no folder") from None
            self.remove(folder, name)
        if len(path) > MOST_DEPTH:
            raise ContentInvalid(f"is more than {MOST_DEPTH} folders deep")
        os.mkdir(name, WORKING_MODE, dir_fd=folder.fd)
        self._made(path)
        return Folder(path, os.open(name, _OPEN_FOLDER, dir_fd=folder.fd))

    def _remove_tree(self, folder: Folder, name: bytes) -> None:
        """Remove a directory, one level at a time without recursion: trees may be deep."""
        path = (*folder.path, name)
        levels = [Folder(path, _open_to_empty(folder.fd, name))]
        while levels:
            level = levels[-1]
            below = _unlink_files(level.fd)
            if below is not None:
                levels.append(Folder((*level.path, below), _open_to_empty(level.fd, below)))
                continue
            levels.pop()
            above = levels[-1] if levels else folder
            os.rmdir(level.path[-1], dir_fd=above.fd)
            self._removed(level.path)


def is_directory(folder: Folder, name: bytes) -> bool:
    """Say whether `name` is a directory, and no symlink to one."""
    try:
        return stat.S_ISDIR(os.lstat(name, dir_fd=folder.fd).st_mode)
    except FileNotFoundError:
        return False


def _unlink_files(fd: int) -> bytes | None:
    """Remove files until there is a directory to go into first; None when all is gone."""
    for text in os.listdir(fd):
        name = os.fsencode(text)
        try:
            os.unlink(name, dir_fd=fd)
        except (IsADirectoryError, PermissionError):
            if not stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
                raise
            return name
    return None


def _open_to_empty(fd: int, name: bytes) -> int:
    try:
        opened = os.open(name, _OPEN_FOLDER, dir_fd=fd)
    except PermissionError:  # it has its own mode already, and we are not root
        os.chmod(name, WORKING_MODE, dir_fd=fd)
        return os.open(name, _OPEN_FOLDER, dir_fd=fd)
    if os.geteuid() != 0:
        os.fchmod(opened, WORKING_MODE)
    return opened
