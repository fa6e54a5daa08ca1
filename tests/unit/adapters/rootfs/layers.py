"""Layers for tests, as honest and as hostile as wanted, written without the code under test."""

import io
import tarfile
from pathlib import Path
from typing import Final

import pytest

from entrepot.adapters.rootfs.unpacked_directory import UnpackedDirectory
from entrepot.ports.root_file_system import Skipped, UnpackLimits

Entry = tuple[tarfile.TarInfo, bytes]
Layer = bytes

TIME: Final = 1_700_000_000


def file(name: str, content: bytes = b"", *, mode: int = 0o644, **more: object) -> Entry:
    entry = _entry(name, tarfile.REGTYPE, mode, more)
    entry.size = len(content)
    return entry, content


def folder(name: str, *, mode: int = 0o755, **more: object) -> Entry:
    return _entry(name, tarfile.DIRTYPE, mode, more), b""


def symlink(name: str, target: str) -> Entry:
    return _entry(name, tarfile.SYMTYPE, 0o777, {"linkname": target}), b""


def link(name: str, target: str) -> Entry:
    return _entry(name, tarfile.LNKTYPE, 0o644, {"linkname": target}), b""


def special(name: str, kind: bytes, *, mode: int = 0o644, **more: object) -> Entry:
    return _entry(name, kind, mode, more), b""


def whiteout(name: str) -> Entry:
    head, slash, tail = name.rpartition("/")
    return file(f"{head}{slash}.wh.{tail}")


def opaque(name: str) -> Entry:
    return file(f"{name}/.wh..wh..opq" if name else ".wh..wh..opq")


def layer(*entries: Entry, format: int = tarfile.PAX_FORMAT) -> Layer:
    """Return a tar of these entries, in their order."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=format) as tar:
        for entry, content in entries:
            tar.addfile(entry, io.BytesIO(content))
    return output.getvalue()


def raw_header(name: bytes, flag: bytes = b"0", *, size: bytes = b"0", **fields: bytes) -> bytes:
    """Return a ustar header of these very bytes, its checksum right."""
    header = bytearray(512)
    places = {"mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "mtime": (136, 12)}
    places |= {"linkname": (157, 100), "major": (329, 8), "minor": (337, 8)}
    values = {"mode": b"644", "uid": b"0", "gid": b"0", "mtime": b"0"} | fields
    header[: len(name)] = name
    header[124 : 124 + len(size)] = size
    header[156:157] = flag
    header[257:265] = b"ustar\x0000"
    for key, value in values.items():
        start, most = places[key]
        assert len(value) <= most
        header[start : start + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def padded(content: bytes) -> bytes:
    """Return content filled up to whole blocks."""
    return content + bytes(-len(content) % 512)


def pax(*records: tuple[str, bytes], flag: bytes = b"x") -> bytes:
    """Return an extended header that holds these records."""
    content = b""
    for key, value in records:
        rest = b" " + key.encode() + b"=" + value + b"\n"
        length = len(rest)
        while len(str(length)) + len(rest) != length:
            length = len(str(length)) + len(rest)
        content += str(length).encode() + rest
    return raw_header(b"pax", flag, size=b"%o" % len(content)) + padded(content)


async def unpack(
    directory: Path,
    *layers: Layer,
    ownership: bool | None = None,
    limits: UnpackLimits | None = None,
) -> tuple[Skipped, ...]:
    """Unpack layers to a directory; what fails leaves nothing there."""
    target = await UnpackedDirectory.open(directory, ownership=ownership, limits=limits)
    try:
        for number, content in enumerate(layers, 1):
            chunks = [content[at : at + 700] for at in range(0, len(content), 700)]
            await target.apply(chunks, f"layer {number}")
        await target.commit()
        return target.skipped
    finally:
        await target.close()


def tree(directory: Path) -> dict[str, str]:
    """Describe what is below a directory: `dir`, `-> target` or a file's content."""
    found = {}
    for one in sorted(directory.rglob("*")):
        if one.is_symlink():
            about = f"-> {one.readlink()}"
        elif one.is_dir():
            about = "dir"
        elif one.is_file():
            about = one.read_text()
        else:
            about = "special"
        found[str(one.relative_to(directory))] = about
    return found


def names(directory: Path) -> list[str]:
    """Return what is in a directory, hidden things too."""
    return sorted(one.name for one in directory.iterdir())


def _entry(name: str, kind: bytes, mode: int, more: dict[str, object]) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, TIME
    for key, value in more.items():
        setattr(entry, key, value)
    return entry


needs_root = pytest.mark.skipif("os.geteuid() != 0", reason="only root may do what is tested")
