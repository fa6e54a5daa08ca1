"""Recognition: what kind of End a path is, seen by what is in it and not by its name."""

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

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
    return Address(_archive_kind(path, prefer), path)


def _archive_kind(path: str, prefer: Kind) -> Kind:
    found: set[str] = set()
    try:
        # Headers only: an uncompressed archive is not read, but skipped through.
        with tarfile.open(path) as archive:
            for name in _names(archive):
                found.add(name)
                if found >= _EITHER:
                    break
    except tarfile.TarError as error:
        raise ContentInvalid(f"{path!r} is no archive of images: {error}") from None
    if found >= _OCI and not (prefer == "docker-archive" and _DOCKER in found):
        return "oci-archive"
    if _DOCKER in found:
        return "docker-archive"
    raise ContentInvalid(
        f"{path!r} is a tar file, but holds neither an image layout (oci-layout and index.json) "
        "nor what docker save writes (manifest.json)"
    )


def _names(archive: tarfile.TarFile) -> Iterator[str]:
    for member in archive:
        # Only the names at the top count; `./index.json` is one of them.
        parts = PurePosixPath(member.name).parts
        if len(parts) == 1 and parts[0] in _EITHER:
            yield parts[0]
