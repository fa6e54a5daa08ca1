"""Tar archives, written: the same bytes for the same members, in ustar with pax headers where
ustar has no place.

Source: POSIX.1-2017, pax; the GNU tar manual, "Storing Sparse Files" (format 1.0).
"""

from collections.abc import Iterable
from typing import Final

from entrepot.oci.tar_member import Kind, Member

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)

_FLAGS: Final[dict[Kind, bytes]] = {
    "file": b"0",
    "link": b"1",
    "symlink": b"2",
    "char": b"3",
    "block": b"4",
    "directory": b"5",
    "fifo": b"6",
}
_NANOSECONDS: Final = 10**9
_MOST_ID: Final = 0o7777777
_MOST_SIZE: Final = 0o77777777777


def encode_header(member: Member) -> bytes:
    """Return what stands before a member's content: its header, and a pax header if it needs one.

    A file with `regions` is written sparse: its content is only what they hold, as for readers.
    """
    name = member.name if member.kind != "directory" else member.name.rstrip(b"/") + b"/"
    records: list[tuple[str, bytes]] = []
    sparse = b""
    stored = member.stored if member.kind == "file" else 0
    if member.regions is not None:
        sparse = _sparse_map(member)
        stored += len(sparse)
        records += [
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", name),
            ("GNU.sparse.realsize", str(member.size).encode()),
        ]
        name = b"GNUSparseFile.0/" + name.rpartition(b"/")[2]
    if len(name) > 100 or not name.isascii():
        records.append(("path", name))
    if len(member.target) > 100 or not member.target.isascii():
        records.append(("linkpath", member.target))
    records += _numbers(member, stored)
    records += [(f"SCHILY.xattr.{key}", value) for key, value in sorted(member.xattrs.items())]
    return _pax(name, records) + _header(name, member, stored) + sparse


def padding(size: int) -> bytes:
    """Return what fills content of `size` bytes up to whole blocks."""
    return bytes(-size % BLOCK)


def _numbers(member: Member, stored: int) -> Iterable[tuple[str, bytes]]:
    if stored > _MOST_SIZE:
        yield "size", str(stored).encode()
    if member.uid > _MOST_ID:
        yield "uid", str(member.uid).encode()
    if member.gid > _MOST_ID:
        yield "gid", str(member.gid).encode()
    seconds, rest = divmod(abs(member.mtime), _NANOSECONDS)
    if member.mtime < 0 or rest or seconds > _MOST_SIZE:
        fraction = f".{rest:09d}".rstrip("0") if rest else ""
        yield "mtime", f"{'-' if member.mtime < 0 else ''}{seconds}{fraction}".encode()


def _header(name: bytes, member: Member, stored: int, flag: bytes | None = None) -> bytes:
    seconds = min(max(member.mtime // _NANOSECONDS, 0), _MOST_SIZE)
    fields = [
        name[:100].ljust(100, b"\0"),
        b"%07o\0" % member.mode,
        b"%07o\0" % min(member.uid, _MOST_ID),
        b"%07o\0" % min(member.gid, _MOST_ID),
        b"%011o\0" % min(stored, _MOST_SIZE),
        b"%011o\0" % seconds,
        b" " * 8,
        flag or _FLAGS[member.kind],
        member.target[:100].ljust(100, b"\0"),
        b"ustar\x0000",
        bytes(64),  # names of user and group: they mean nothing elsewhere
        b"%07o\0%07o\0" % member.device,
        bytes(167),
    ]
    header = b"".join(fields)
    return b"%b%06o\0 %b" % (header[:148], sum(header), header[156:])


def _pax(name: bytes, records: list[tuple[str, bytes]]) -> bytes:
    if not records:
        return b""
    content = b"".join(_record(key, value) for key, value in records)
    short = b"PaxHeaders.0/" + name.rstrip(b"/").rpartition(b"/")[2]
    header = _header(short[:100], Member(short, "file"), len(content), b"x")
    return header + content + padding(len(content))


def _record(key: str, value: bytes) -> bytes:
    rest = b" %b=%b\n" % (key.encode("utf-8", "surrogateescape"), value)
    length = len(rest)
    while (whole := len(rest) + len(str(length))) != length:
        length = whole
    return b"%d%b" % (length, rest)


def _sparse_map(member: Member) -> bytes:
    regions = member.regions or ()
    numbers = [len(regions), *(number for region in regions for number in region)]
    text = b"".join(b"%d\n" % number for number in numbers)
    return text + padding(len(text))
