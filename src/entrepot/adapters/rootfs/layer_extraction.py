"""Layers become files: members are written, whiteouts remove what lower layers left.

Every change goes through `RootDirectory`, so it stays inside. Directories keep a working mode
until `finish`, when all get their attributes, the deepest first.
Source: image-spec, layer.md, "Applying Changesets".
"""

import errno
import os
from collections.abc import Iterable
from typing import Final

from entrepot.adapters.rootfs.file_attributes import Attributes
from entrepot.adapters.rootfs.root_directory import (
    WORKING_MODE,
    Folder,
    RootDirectory,
    is_directory,
)
from entrepot.oci.errors import ContentInvalid, StoreFull, Unavailable
from entrepot.oci.layer_path import MOST_DEPTH, Path, Whiteout, is_aufs, read_whiteout, split_name
from entrepot.oci.tar_member import Member, shown
from entrepot.oci.tar_reader import TarReader
from entrepot.ports.root_file_system import Skipped, UnpackLimits

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IMPLIED: Final = Member(b"", "directory", mode=0o755)
"""What a directory is that no layer describes."""

_MOST_SKIPPED: Final = 1000
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_HOSTILE: Final = frozenset(
    {errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP, errno.ENOENT, errno.EEXIST, errno.EMLINK}
    | {errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EILSEQ, errno.EPERM, errno.EXDEV}
    | {errno.EOVERFLOW}
)
"""What only the content can be to blame for, in a directory that is ours alone."""


class LayerExtraction:
    """Applies layers, one after another, to the directory behind an open descriptor."""

    def __init__(self, fd: int, *, ownership: bool, limits: UnpackLimits) -> None:
        self.skipped: list[Skipped] = []
        self.entries = 0
        self.total_bytes = 0
        self._limits = limits
        self._attributes = Attributes(ownership, self._skip)
        self._root = RootDirectory(
            fd,
            made=self._note_implied,
            removed=self._forget,
            may_replace=lambda path: path not in self._written,
        )
        self._folders: dict[Path, Member] = {(): _IMPLIED}
        self._written: dict[Path, bool] = {}
        """What this layer has written; False for directories it only implies."""
        self._unmade: set[Path] = set()
        self._where = self._name = ""

    def apply(self, content: Iterable[bytes], where: str) -> None:
        """Apply one layer. Raise ContentInvalid naming layer and entry, StoreFull, Unavailable."""
        self._where, self._written = where, {}
        reader = TarReader(content, where)
        for member in reader:
            self._name = shown(member.name)
            self.entries += 1
            self._check_limits(member)
            self._guarded(reader, member)

    def finish(self) -> None:
        """Give all directories but the root their attributes."""
        self._root.forget()
        for path in sorted(self._folders, key=len, reverse=True):
            if path:
                self._name = shown(b"/".join(path))
                folder = self._root.folder(path, create=False)
                if folder is not None and folder.path == path:
                    self._attributes.set(folder.fd, self._folders[path])
        self._root.forget()

    def finish_root(self, fd: int) -> None:
        """Give the root its attributes; then it may not be ours to move any more."""
        root = self._folders[()]
        if root is _IMPLIED:
            os.fchmod(fd, root.mode)
        else:
            self._attributes.set(fd, root)

    def close(self) -> None:
        """Close the directory."""
        self._root.close()

    def _check_limits(self, member: Member) -> None:
        self.total_bytes += member.size if member.kind == "file" else 0
        most_entries, most_bytes = self._limits.entries, self._limits.total_bytes
        if most_entries is not None and self.entries > most_entries:
            raise self._refused(f"is one more than {most_entries}, the most that an image may hold")
        if most_bytes is not None and self.total_bytes > most_bytes:
            raise self._refused(f"brings the image to more than {most_bytes} bytes, the limit")

    def _guarded(self, reader: TarReader, member: Member) -> None:
        try:
            self._apply(reader, member)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            if error.errno in _FULL:
                raise StoreFull(
                    f"the disk is full ({reason}), and nothing of the image is kept; free space "
                    "and unpack it again"
                ) from error
            if error.errno in _HOSTILE:
                raise self._refused(f"cannot be a file here ({reason})") from error
            raise Unavailable(
                f"{self._where}, entry {self._name}, cannot be written ({reason}); look at the "
                "disk and the rights to the directory"
            ) from error
        except ContentInvalid as error:
            if error.message.startswith(self._where):
                raise
            raise self._refused(error.message) from error.__cause__

    def _apply(self, reader: TarReader, member: Member) -> None:
        path = split_name(member.name, self._where)
        if is_aufs(path):
            return
        whiteout = read_whiteout(path, self._where)
        if whiteout is not None:
            self._white_out(whiteout)
        elif not path:
            self._describe_root(member)
        else:
            self._write(reader, member, path)

    def _describe_root(self, member: Member) -> None:
        if member.kind != "directory":
            raise ContentInvalid("would replace the root directory")
        self._folders[()] = member

    def _write(self, reader: TarReader, member: Member, path: Path) -> None:
        folder = self._root.folder(path[:-1], create=True)
        assert folder is not None, "it was created"
        name, place = path[-1], (*folder.path, path[-1])
        if len(place) > MOST_DEPTH:
            raise ContentInvalid(f"is more than {MOST_DEPTH} folders deep")
        self._note_written(place)
        self._unmade.discard(place)
        match member.kind:
            case "file":
                self._write_file(reader, folder, name, member)
            case "directory":
                self._make_folder(folder, name, member)
            case "symlink":
                self._make_symlink(folder, name, member)
            case "link":
                self._link(folder, name, member)
            case _:
                self._make_special(folder, name, member)

    def _write_file(self, reader: TarReader, folder: Folder, name: bytes, member: Member) -> None:
        try:
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=folder.fd)
        except FileExistsError:
            self._root.remove(folder, name)
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=folder.fd)
        try:
            if member.regions is None:
                for piece in reader.content():
                    _write_all(fd, piece)
            else:
                _write_regions(fd, member, reader.content())
            self._attributes.set(fd, member)
        finally:
            os.close(fd)

    def _make_folder(self, folder: Folder, name: bytes, member: Member) -> None:
        try:
            os.mkdir(name, WORKING_MODE, dir_fd=folder.fd)
        except FileExistsError:
            if not is_directory(folder, name):
                self._root.remove(folder, name)
                os.mkdir(name, WORKING_MODE, dir_fd=folder.fd)
        self._folders[(*folder.path, name)] = member

    def _make_symlink(self, folder: Folder, name: bytes, member: Member) -> None:
        try:
            os.symlink(member.target, name, dir_fd=folder.fd)
        except FileExistsError:
            self._root.remove(folder, name)
            os.symlink(member.target, name, dir_fd=folder.fd)
        self._attributes.set_link(folder.fd, name, member)

    def _link(self, folder: Folder, name: bytes, member: Member) -> None:
        path = split_name(member.target, self._where)
        there = self._root.folder(path[:-1], create=False) if path else None
        target = (*there.path, path[-1]) if there is not None else ()
        if target in self._unmade:
            self._unmade.add((*folder.path, name))
            self._skip("the file that it is a hard link to was left out")
            return
        if there is None or not _exists(there, path[-1]):
            raise ContentInvalid(f"is a hard link to {shown(member.target)}, which is not there")
        if target == (*folder.path, name):
            return  # to itself: as GNU tar has it, nothing to do
        self._root.remove(folder, name)
        os.link(path[-1], name, src_dir_fd=there.fd, dst_dir_fd=folder.fd, follow_symlinks=False)

    def _make_special(self, folder: Folder, name: bytes, member: Member) -> None:
        self._root.remove(folder, name)
        try:
            if member.kind == "fifo":
                os.mkfifo(name, 0o600, dir_fd=folder.fd)
            elif self._attributes.ownership:
                kind = 0o020000 if member.kind == "char" else 0o060000
                os.mknod(name, kind | 0o600, os.makedev(*member.device), dir_fd=folder.fd)
            else:
                raise PermissionError
        except PermissionError:
            self._unmade.add((*folder.path, name))
            self._skip(f"a {member.kind} device is left out: only root may make one")
            return
        self._attributes.set_special(folder.fd, name, member)

    def _white_out(self, whiteout: Whiteout) -> None:
        folder = self._root.folder(whiteout.folder, create=False)
        if folder is None:
            return
        if whiteout.name is not None:
            self._remove_lower(folder, whiteout.name)
            return
        for name in os.listdir(folder.fd):
            self._remove_lower(folder, os.fsencode(name))

    def _remove_lower(self, folder: Folder, name: bytes) -> None:
        """Remove what layers below this one have left; members of a layer come in any order."""
        pending = [(folder, name)]
        while pending:
            folder, name = pending.pop()
            path = (*folder.path, name)
            if path not in self._written:
                self._unmade.discard(path)
                self._root.remove(folder, name)
            elif is_directory(folder, name):
                if not self._written[path]:
                    self._folders[path] = _IMPLIED  # the one that was described is gone
                inner = self._root.folder(path, create=False)
                assert inner is not None, "it is a directory"
                pending += [(inner, os.fsencode(one)) for one in os.listdir(inner.fd)]

    def _note_written(self, place: Path) -> None:
        self._written[place] = True
        for length in range(len(place) - 1, 0, -1):
            if place[:length] in self._written:
                return
            self._written[place[:length]] = False

    def _note_implied(self, path: Path) -> None:
        self._folders[path] = _IMPLIED

    def _forget(self, path: Path) -> None:
        self._folders.pop(path, None)

    def _skip(self, reason: str) -> None:
        if len(self.skipped) < _MOST_SKIPPED:
            self.skipped.append(Skipped(self._where, self._name, reason))

    def _refused(self, problem: str) -> ContentInvalid:
        return ContentInvalid(
            f"{self._where}, entry {self._name}, {problem}; nothing of the image is kept, so do "
            "not use it, or rebuild it",
            detail={"layer": self._where, "entry": self._name},
        )


def _exists(folder: Folder, name: bytes) -> bool:
    try:
        os.lstat(name, dir_fd=folder.fd)
    except FileNotFoundError:
        return False
    return True


def _write_all(fd: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(fd, piece) :]


def _write_regions(fd: int, member: Member, pieces: Iterable[memoryview]) -> None:
    """Write the regions that hold data; the rest of the file is a hole."""
    regions = iter(member.regions or ())
    room = 0
    for piece in pieces:
        while piece:
            if not room:
                offset, room = next(regions)
                os.lseek(fd, offset, os.SEEK_SET)
            _write_all(fd, piece[:room])
            written = min(room, len(piece))
            room, piece = room - written, piece[written:]
    os.ftruncate(fd, member.size)
