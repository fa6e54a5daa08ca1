"""Recognition: what kind of End a path is, seen by what is in it and not by its name."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

from entrepot.adapters.ends.archive_input import decompressor, read_plain
from entrepot.adapters.ends.block_reading import BLOCK
from entrepot.oci.address import Address, Kind
from entrepot.oci.errors import ContentInvalid, NameInvalid

_OCI: Final = frozenset({"oci-layout", "index.json"})
_DOCKER: Final = "manifest.json"
_EITHER: Final = _OCI | {_DOCKER}


def recognise(path: str, prefer: Kind = "oci-archive") -> Address:
    """Return the End at a path: an image layout, or an archive of either kind.

    What docker writes since its version 25 is both kinds at once; `prefer` says which is meant
    then. Reads files: call it where that may block. Raise NameInvalid if there is nothing,
    ContentInvalid if it is neither.
    """
    place = Path(path)
    if place.is_dir():
        if not (place / "index.json").is_file():
            raise ContentInvalid(
                f"{path!r} is no image layout: it has no index.json; name the folder that has"
            )
        return Address("oci", path)
    if not place.exists():
        raise NameInvalid(
            f"there is no file or folder {path!r}; to copy from a registry use entrepot cp, or "
            "write docker:// before the name"
        )
    if not place.is_file():
        raise ContentInvalid(
            f"{path!r} is neither a file nor a folder; what comes from a pipe is given on standard "
            "input, where - stands for it"
        )
    return Address(_archive_kind(path, prefer), path)


def _archive_kind(path: str, prefer: Kind) -> Kind:
    found: set[str] = set()
    try:
        with open(path, "rb") as file, _opened(file, path) as archive:
            for name in _names(archive):
                found.add(name)
                if found >= _EITHER:
                    break
    except tarfile.TarError:
        raise ContentInvalid(
            f"{path!r} is no archive of images: it is no tar, or one that is damaged or cut off; "
            "get it anew"
        ) from None
    if found >= _OCI and not (prefer == "docker-archive" and _DOCKER in found):
        return "oci-archive"
    if _DOCKER in found:
        return "docker-archive"
    raise ContentInvalid(
        f"{path!r} is a tar file, but holds neither an image layout (oci-layout and index.json) "
        "nor what docker save writes (manifest.json)"
    )


def _opened(file: io.BufferedReader, path: str) -> tarfile.TarFile:
    """Open a tar whose headers alone are wanted: one that is not compressed is skipped through."""
    opener = decompressor(file.peek(BLOCK))
    if opener is None:
        return tarfile.open(fileobj=file, mode="r:")
    return tarfile.open(fileobj=cast("IO[bytes]", _Plain(opener(file), path)), mode="r|")


class _Plain:
    """What is decompressed of a file, in the form that `tarfile` reads."""

    def __init__(self, source: IO[bytes], path: str) -> None:
        self._source = source
        self._path = path

    def read(self, _size: int = -1) -> bytes:
        return read_plain(self._source, self._path)


def _names(archive: tarfile.TarFile) -> Iterator[str]:
    for member in archive:
        # Only the names at the top count; `./index.json` is one of them.
        parts = PurePosixPath(member.name).parts
        if len(parts) == 1 and parts[0] in _EITHER:
            yield parts[0]
