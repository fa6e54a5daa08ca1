"""The files in a tar, found without unpacking: where each one's bytes are.

Understood are ustar, GNU and pax headers, as far as archives of images use them. An archive may
come from anywhere: nothing it says is used as a path, and no header may be large.
Source: POSIX.1-2017, pax, "pax Interchange Format"; GNU tar manual, "Basic Tar Format".
"""

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from entrepot.adapters.ends.block_reading import Region
from entrepot.adapters.ends.disk_errors import disk_errors
from entrepot.oci.errors import ContentInvalid

BLOCK_SIZE: Final = 512
MOST_ENTRIES: Final = 500_000
MAX_EXTENSION: Final = 1 << 20
"""Largest pax or GNU extension that is read, in bytes."""

_MOST_LINKS: Final = 8
_FILES: Final = b"0\x007"
_NUL: Final = b"\0"


@dataclass(frozen=True, slots=True)
class TarEntry:
    """A file: `size` bytes from `start` of the archive; or a link, to a name in it."""

    name: str
    start: int
    size: int
    link: str | None = None


@dataclass(slots=True)
class _Extension:
    """What extended headers say of the next entry."""

    name: str | None = None
    link: str | None = None
    size: int | None = None


class TarFiles:
    """The files of an open archive by name; `where` is how messages call it.

    The last of several entries with one name counts, as it does when unpacked.
    """

    def __init__(self, descriptor: int, where: str) -> None:
        """Take an open, seekable file, which is closed with this, and read its headers. Raise
        ContentInvalid; then it is closed."""
        self.where = where
        self._descriptor = descriptor
        try:
            self.entries = {entry.name: entry for entry in read_entries(descriptor, where)}
        except BaseException:
            self.close()
            raise

    def open(self, name: str) -> Region | None:
        entry = self.find(name)
        if entry is None:
            return None
        place = f"{name} in {self.where}"
        return Region(self._descriptor, entry.start, entry.size, place, shared=True)

    def find(self, name: str) -> TarEntry | None:
        """Return the file of a name, following links inside the archive; None if there is none."""
        for _ in range(_MOST_LINKS):
            entry = self.entries.get(normal(name))
            if entry is None or entry.link is None:
                return entry
            name = entry.link
        raise ContentInvalid(f"{self.where} has links in a circle at {name[:200]!r}; make it anew")

    def close(self) -> None:
        """Close the archive. A second time nothing happens."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def normal(name: str) -> str:
    """Return a name as look-ups write it: no `./`, `//` or `/` in front."""
    return posixpath.normpath("/" + name).lstrip("/")


def read_entries(descriptor: int, where: str, *, cut_off: bool = False) -> Iterator[TarEntry]:
    """Yield files and links in order. Raise ContentInvalid for what is no whole tar; with
    `cut_off` the last entry may lack bytes."""
    whole = os.fstat(descriptor).st_size
    at, count, extension = 0, 0, _Extension()
    while (header := _read(descriptor, at, BLOCK_SIZE, where)) and header != bytes(BLOCK_SIZE):
        _check_header(header, at, where)
        kind, size = header[156:157], _number(header[124:136], where)
        if extension.size is not None and kind not in b"xgLK":
            size = extension.size
        start = at + BLOCK_SIZE
        at = start + size + -size % BLOCK_SIZE
        if start + size > whole and not (cut_off and kind in _FILES):
            raise ContentInvalid(
                f"{where} is cut off: it ends after {whole} bytes, in the middle of an entry; "
                "get it anew"
            )
        count += 1
        if count > MOST_ENTRIES:
            raise ContentInvalid(f"{where} has more than {MOST_ENTRIES} entries; it is no image")
        if kind in b"xgLK":
            _extend(extension, kind, _read_extension(descriptor, start, size, where))
            continue
        name = normal(extension.name or _name(header))
        link = extension.link or _text(header[157:257])
        if kind in _FILES:
            yield TarEntry(name, start, size)
        elif kind == b"2":
            yield TarEntry(name, 0, 0, posixpath.join(posixpath.dirname(name), link))
        elif kind == b"1":
            yield TarEntry(name, 0, 0, link)
        elif kind == b"S":
            raise ContentInvalid(f"{where} holds a sparse file, {name[:200]!r}; pack it anew")
        extension = _Extension()
    if count == 0:
        raise ContentInvalid(f"{where} is an empty tar; it holds no image")


def _read(descriptor: int, at: int, length: int, where: str) -> bytes:
    with disk_errors(where):
        return os.pread(descriptor, length, at)


def _read_extension(descriptor: int, start: int, size: int, where: str) -> bytes:
    if size > MAX_EXTENSION:
        raise ContentInvalid(f"{where} has an extended header of {size} bytes; it is no image")
    return _read(descriptor, start, size, where)


def _check_header(header: bytes, at: int, where: str) -> None:
    problem = ContentInvalid(
        f"{where} is no tar, or damaged: there is no header at byte {at}; get it anew"
    )
    if len(header) < BLOCK_SIZE:
        raise problem
    try:
        noted = int(header[148:156].strip(b" \0") or b"0", 8)
    except ValueError:
        raise problem from None
    if noted != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        raise problem


def _number(field: bytes, where: str) -> int:
    """Read a number: octal digits, or base 256 behind a set bit."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << 95) - 1)
    else:
        try:
            value = int(field.strip(b" \0") or b"0", 8)
        except ValueError:
            value = -1
    if not 0 <= value < 1 << 62:
        raise ContentInvalid(f"{where} has an entry with no sensible size; get it anew")
    return value


def _name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.partition(_NUL)[0].decode("utf-8", "surrogateescape")


def _extend(extension: _Extension, kind: bytes, content: bytes) -> None:
    if kind == b"L":
        extension.name = _text(content)
    elif kind == b"K":
        extension.link = _text(content)
    elif kind == b"x":  # global ones (`g`) name no files
        for key, value in _records(content):
            if key == b"path":
                extension.name = _text(value)
            elif key == b"linkpath":
                extension.link = _text(value)
            elif key == b"size" and value.isdigit() and len(value) < 20:
                extension.size = int(value)


def _records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield a pax header's `length key=value` records, as far as they can be read."""
    while content:
        length, space, _ = content.partition(b" ")
        if not space or not length.isdigit() or not 0 < int(length[:9]) <= len(content):
            return
        record, content = content[: int(length)], content[int(length) :]
        key, _, value = record[len(length) + 1 :].rstrip(b"\n").partition(b"=")
        yield key, value
