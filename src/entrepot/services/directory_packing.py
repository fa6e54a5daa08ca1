"""A directory as a layer: a tar that is the same whenever and by whomever it is packed.

Names are sorted; times are one time, and owners root, unless they are to be kept. Reading blocks.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from entrepot.oci.errors import Unavailable
from entrepot.oci.tar_member import Kind, Member
from entrepot.oci.tar_writer import END, encode_header, padding

_READ: Final = 256 * 1024
_NANOSECONDS: Final = 10**9
_KEPT_ATTRIBUTES: Final = ("user.", "security.capability")
_KINDS: Final[dict[int, Kind]] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
}


@dataclass(frozen=True, slots=True)
class Packing:
    """How a directory is packed: `mtime` in seconds since 1970 for all files, None to keep each
    its own; `ownership` keeps owners, else all belongs to root; `prefix` is where in the image
    it goes (e.g. `usr/local`)."""

    mtime: int | None = 0
    ownership: bool = False
    prefix: str = ""


def packed_directory(directory: Path, packing: Packing) -> Iterator[bytes]:
    """Yield the tar of what is in a directory. Sockets are left out, links are not followed.

    Raise Unavailable for what cannot be read or changes while it is.
    """
    known: dict[tuple[int, int], bytes] = {}
    try:
        for part in Path(packing.prefix.strip("/")).parents[::-1][1:]:
            yield encode_header(_folder(os.fsencode(part), packing))
        if packing.prefix.strip("/"):
            yield encode_header(_folder(os.fsencode(packing.prefix.strip("/")), packing))
        for path, name in _walk(os.fsencode(directory), os.fsencode(packing.prefix.strip("/"))):
            yield from _packed(path, name, packing, known)
    except OSError as error:
        raise Unavailable(
            f"{directory} cannot be packed: {error.filename or ''!r}: {error.strerror}"
        ) from error
    yield END


def _walk(directory: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    pending = [(directory, prefix)]
    while pending:
        path, name = pending.pop()
        if path != directory:
            yield path, name
        if stat.S_ISDIR(os.lstat(path).st_mode):
            below = sorted(os.listdir(path), reverse=True)
            pending += [(os.path.join(path, one), _joined(name, one)) for one in below]


def _joined(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def _packed(
    path: bytes, name: bytes, packing: Packing, known: dict[tuple[int, int], bytes]
) -> Iterator[bytes]:
    about = os.lstat(path)
    kind = _KINDS.get(stat.S_IFMT(about.st_mode))
    if kind is None:
        return
    target = os.readlink(path) if kind == "symlink" else b""
    identity = about.st_dev, about.st_ino
    if kind != "directory" and about.st_nlink > 1:
        if identity in known:
            kind, target = "link", known[identity]
        else:
            known[identity] = name
    size = about.st_size if kind == "file" else 0
    device = (
        (os.major(about.st_rdev), os.minor(about.st_rdev)) if kind in ("char", "block") else (0, 0)
    )
    member = Member(
        name=name,
        kind=kind,
        mode=stat.S_IMODE(about.st_mode),
        uid=about.st_uid if packing.ownership else 0,
        gid=about.st_gid if packing.ownership else 0,
        mtime=about.st_mtime_ns if packing.mtime is None else packing.mtime * _NANOSECONDS,
        size=size,
        target=target,
        device=device,
        xattrs=_attributes(path) if kind in ("file", "directory") else {},
        stored=size,
    )
    yield encode_header(member)
    if kind == "file":
        yield from _content(path, size)


def _content(path: bytes, size: int) -> Iterator[bytes]:
    left = size
    with open(path, "rb", buffering=0) as file:
        while left and (chunk := file.read(min(_READ, left))):
            left -= len(chunk)
            yield chunk
    if left:
        raise Unavailable(
            f"{os.fsdecode(path)!r} became shorter while it was packed; pack it when it rests"
        )
    yield padding(size)


def _attributes(path: bytes) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:  # file systems without any
        return {}
    return {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in names
        if name.startswith(_KEPT_ATTRIBUTES)
    }


def _folder(name: bytes, packing: Packing) -> Member:
    return Member(name, "directory", mode=0o755, mtime=(packing.mtime or 0) * _NANOSECONDS)
