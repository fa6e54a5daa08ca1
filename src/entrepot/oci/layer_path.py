"""Names in a layer: which file of the root file system one means, and which remove others.

Source: image-spec, layer.md, "Whiteouts".
"""

from dataclasses import dataclass
from typing import Final

from entrepot.oci.errors import ContentInvalid
from entrepot.oci.tar_member import shown

WHITEOUT: Final = b".wh."
OPAQUE: Final = b".wh..wh..opq"
_META: Final = b".wh..wh."
"""What AUFS kept for itself; old images still carry it, and it is no file of theirs."""

MOST_LENGTH: Final = 4095
MOST_DEPTH: Final = 512

Path = tuple[bytes, ...]
"""The components of a path below the root; none for the root itself."""


@dataclass(frozen=True, slots=True)
class Whiteout:
    """What a whiteout removes of the layers below: one file, or all that `folder` holds where
    `name` is None."""

    folder: Path
    name: bytes | None


def split_name(name: bytes, where: str) -> Path:
    """Return a member's or hard link's name as a path below the root.

    A slash at the start means the root, as in every other tool. Raise ContentInvalid for `..`,
    NUL, and what is longer or deeper than Linux or good sense allow; `where` names the layer.
    """
    if len(name) > MOST_LENGTH:
        raise _refused(where, name, f"has a name of more than {MOST_LENGTH} bytes")
    if b"\0" in name:
        raise _refused(where, name, "has a NUL in its name")
    path = tuple([part for part in name.split(b"/") if part not in (b"", b".")])
    if b".." in path:
        raise _refused(where, name, "leads out of the image with '..'")
    if len(path) > MOST_DEPTH:
        raise _refused(where, name, f"is more than {MOST_DEPTH} folders deep")
    return path


def read_whiteout(path: Path, where: str) -> Whiteout | None:
    """Return what the member removes, or None if it is a file.

    Raise ContentInvalid for a whiteout of nothing, of `.` or of `..`, and for a folder that is
    called like a whiteout.
    """
    if not path:
        return None
    folder, name = path[:-1], path[-1]
    if not name.startswith(WHITEOUT):
        if any(part.startswith(WHITEOUT) for part in folder):
            raise _refused(where, b"/".join(path), "stands in a folder that is called a whiteout")
        return None
    if name == OPAQUE:
        return Whiteout(folder, None)
    removed = name[len(WHITEOUT) :]
    if removed in (b"", b".", b".."):
        raise _refused(where, b"/".join(path), "is a whiteout that names no file")
    return Whiteout(folder, removed)


def is_aufs(path: Path) -> bool:
    """Say whether the member is a note of AUFS' own: it is no file and removes none."""
    return any(part.startswith(_META) and part != OPAQUE for part in path)


def _refused(where: str, name: bytes, problem: str) -> ContentInvalid:
    return ContentInvalid(
        f"{where}, entry {shown(name)}, {problem}; do not use this image, or rebuild it",
        detail={"entry": shown(name)},
    )
