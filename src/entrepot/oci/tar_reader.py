"""Tar archives, read as a stream: ustar, GNU and pax headers, strictly.

A layer comes from strangers: whatever its headers hold, the outcome is members or ContentInvalid.
Nothing is held but one header and the chunk at hand.
Source: POSIX.1-2017, pax, "ustar Interchange Format"; the GNU tar manual, "Basic Tar Format".
"""

from collections.abc import Iterable, Iterator
from typing import Final

from entrepot.oci import tar_records
from entrepot.oci.errors import ContentInvalid
from entrepot.oci.tar_member import MOST_ID, Kind, Member, shown
from entrepot.oci.tar_records import Malformed, Regions

BLOCK: Final = 512

_KINDS: Final[dict[int, Kind]] = {
    ord("\0"): "file",
    ord("0"): "file",
    ord("7"): "file",  # contiguous, a word of 1980s' disks
    ord("S"): "file",  # sparse, the old GNU way
    ord("1"): "link",
    ord("2"): "symlink",
    ord("3"): "char",
    ord("4"): "block",
    ord("5"): "directory",
    ord("6"): "fifo",
}
_NEXT_NAME, _NEXT_TARGET = ord("L"), ord("K")
_PAX, _PAX_SOLARIS, _PAX_GLOBAL = ord("x"), ord("X"), ord("g")
_VOLUME: Final = ord("V")
_OLD_SPARSE: Final = ord("S")
_EXTENSIONS: Final = frozenset({_NEXT_NAME, _NEXT_TARGET, _PAX, _PAX_SOLARIS, _PAX_GLOBAL})

_XATTR: Final = "SCHILY.xattr."
_ZEROS: Final = bytes(BLOCK)
_NANOSECONDS: Final = 10**9

Records = list[tuple[str, bytes]]


class TarReader:
    """Iterate over the members of a tar that arrives in chunks.

    `content` yields the bytes of the member that came last; what is not read of them is passed
    over. The iteration ends when the chunks do, so a source that verifies at its end is heard.
    `where` is how messages call the archive.
    """

    def __init__(self, chunks: Iterable[bytes], where: str = "the archive") -> None:
        self.where = where
        self._chunks = iter(chunks)
        self._chunk = memoryview(b"")
        self._unread = 0  # bytes of the current member
        self._padding = 0
        self._global: dict[str, bytes] = {}
        self._entry = b""

    def __iter__(self) -> Iterator[Member]:
        while True:
            self._entry = b""
            try:
                member = self._next_member()
            except Malformed as error:
                raise self._refusal(str(error)) from None
            if member is None:
                for _ in self._chunks:
                    pass
                return
            yield member

    def content(self) -> Iterator[memoryview]:
        """Yield the stored bytes of the current member, without copying. Raise ContentInvalid if
        the archive ends before they do."""
        while self._unread:
            piece = self._piece(self._unread)
            if not piece:
                raise self._refusal("is cut off in its content")
            self._unread -= len(piece)
            yield piece

    def _next_member(self) -> Member | None:
        if not self._skip(self._unread):
            raise Malformed("is cut off in a member's content")
        self._skip(self._padding)  # umoci writes neither the last filling nor an end
        self._unread = self._padding = 0
        records: Records = []
        name = target = None
        while (header := self._header()) is not None:
            flag = header[156]
            if flag == _VOLUME:
                self._extension(header, 0)
            elif flag not in _EXTENSIONS:
                return self._member(header, name, target, records)
            else:
                content = self._extension(header, tar_records.MOST_BYTES)
                if flag == _NEXT_NAME:
                    name = content.partition(b"\0")[0]
                elif flag == _NEXT_TARGET:
                    target = content.partition(b"\0")[0]
                elif flag == _PAX_GLOBAL:
                    self._keep_global(tar_records.read_records(content))
                else:
                    records = tar_records.read_records(content)
        if records or name is not None or target is not None:
            raise Malformed("ends after a header that announces another member")
        return None

    def _header(self) -> bytes | None:
        header = self._take(BLOCK)
        if not header or header == _ZEROS:
            return None
        if len(header) < BLOCK:
            raise Malformed("is cut off in a header")
        _check_sum(header)
        return header

    def _extension(self, header: bytes, most: int) -> bytes:
        size = _number(header[124:136], "size")
        if size > most:
            raise Malformed(f"has a header of {size} bytes; {most} are read at most")
        content = self._take(size)
        padding = -size % BLOCK
        if len(content) < size or len(self._take(padding)) < padding:
            raise Malformed("is cut off in an extended header")
        return content

    def _keep_global(self, records: Records) -> None:
        self._global.update(records)
        if sum(len(key) + len(value) for key, value in self._global.items()) > 1 << 20:
            raise Malformed("has global pax headers of more than 1 MiB")

    def _member(
        self, header: bytes, name: bytes | None, target: bytes | None, records: Records
    ) -> Member:
        pax = {**self._global, **dict(records)} if records or self._global else {}
        # an empty value takes back what a global header said
        pax = {key: value for key, value in pax.items() if value or key.startswith(_XATTR)}
        name = pax.get("GNU.sparse.name") or pax.get("path") or name or _ustar_name(header)
        target = pax.get("linkpath") or target or _text(header[157:257])
        self._entry = name
        if b"\0" in name or b"\0" in target:
            raise Malformed("has a NUL in its name or target")
        kind = _kind(header[156], name)
        stored = _field(pax, "size", header[124:136], tar_records.MOST_SIZE)
        if kind != "file":
            stored = 0  # a size here is no promise of content
        self._unread, self._padding = stored, -stored % BLOCK
        regions, size = None, stored
        if kind == "file" and (pax or header[156] == _OLD_SPARSE):
            regions, size = self._sparse(header, records, pax)
        mtime = pax.get("mtime")
        return Member(
            name=name,
            kind=kind,
            mode=_number(header[100:108], "mode") & 0o7777,
            uid=_field(pax, "uid", header[108:116], MOST_ID),
            gid=_field(pax, "gid", header[116:124], MOST_ID),
            mtime=_time(header) if mtime is None else tar_records.time(mtime),
            size=size,
            target=target if kind in ("link", "symlink") else b"",
            device=_device(header) if kind in ("char", "block") else (0, 0),
            xattrs=_xattrs(pax) if pax else {},
            regions=regions,
            stored=self._unread,
        )

    def _sparse(
        self, header: bytes, records: Records, pax: dict[str, bytes]
    ) -> tuple[Regions | None, int]:
        regions: Regions
        stored = self._unread
        if header[156] == _OLD_SPARSE:
            regions = self._old_sparse(header)
            size = _number(header[483:495], "real size")
        elif pax.get("GNU.sparse.major") == b"1":
            regions = tar_records.read_stored_map(self._map_block)
            size = tar_records.whole_number(pax.get("GNU.sparse.realsize", b""), "real size")
        elif "GNU.sparse.size" in pax:
            regions = tar_records.sparse_map(records, pax)
            size = tar_records.whole_number(pax["GNU.sparse.size"], "real size")
        else:
            return None, stored
        return tar_records.check_regions(regions, size, self._unread), size

    def _map_block(self) -> bytes:
        block = self._take(BLOCK)
        self._unread -= BLOCK
        if len(block) < BLOCK or self._unread < 0:
            raise Malformed("has a sparse map that is longer than the member")
        return block

    def _old_sparse(self, header: bytes) -> Regions:
        regions: list[tuple[int, int]] = []
        part, more = header[386:482], header[482]
        while True:
            for start in range(0, len(part), 24):
                if not any(part[start : start + 24]):
                    break
                offset = _number(part[start : start + 12], "sparse map")
                regions.append((offset, _number(part[start + 12 : start + 24], "sparse map")))
            if not more:
                return tuple(regions)
            block = self._take(BLOCK)
            if len(block) < BLOCK or len(regions) > 1_000_000:
                raise Malformed("has a sparse map that is cut off or endless")
            part, more = block[:504], block[504]

    def _take(self, size: int) -> bytes:
        """Return `size` bytes, fewer only where the archive ends."""
        if size <= len(self._chunk):
            taken = bytes(self._chunk[:size])
            self._chunk = self._chunk[size:]
            return taken
        parts = []
        while size and (piece := self._piece(size)):
            parts.append(bytes(piece))
            size -= len(piece)
        return b"".join(parts)

    def _skip(self, size: int) -> bool:
        """Pass over `size` bytes; say whether there were as many."""
        while size and (piece := self._piece(size)):
            size -= len(piece)
        return not size

    def _piece(self, most: int) -> memoryview:
        while not self._chunk:
            chunk = next(self._chunks, None)
            if chunk is None:
                return memoryview(b"")
            self._chunk = memoryview(chunk)
        piece = self._chunk[:most]
        self._chunk = self._chunk[len(piece) :]
        return piece

    def _refusal(self, problem: str) -> ContentInvalid:
        entry = f", entry {shown(self._entry)}," if self._entry else ""
        return ContentInvalid(
            f"{self.where}{entry} {problem}; the archive is damaged or made to do harm",
            detail={"entry": shown(self._entry)} if self._entry else None,
        )


def _check_sum(header: bytes) -> None:
    told = _number(header[148:156], "checksum")
    if told == sum(header) - sum(header[148:156]) + 8 * 32:
        return
    counted = header[:148] + b" " * 8 + header[156:]
    if told != sum(byte - 256 if byte > 127 else byte for byte in counted):  # as some SunOS did
        raise Malformed("has a header whose checksum is wrong, or is no tar")


def _number(field: bytes, name: str) -> int:
    """Read an octal number, or one in base 256; those may not be negative here."""
    if field[0] == 0x80:
        value = int.from_bytes(field[1:], "big")
        if value > tar_records.MOST_SIZE:
            raise Malformed(f"has a {name} beyond 63 bits")
        return value
    text = field.partition(b"\0")[0].strip(b" ")
    if not text:
        return 0
    try:
        if not text.isdigit():
            raise ValueError
        return int(text, 8)
    except ValueError:
        raise Malformed(f"has {field!r} as its {name}, which is no octal number") from None


def _field(pax: dict[str, bytes], key: str, field: bytes, most: int) -> int:
    told = pax.get(key)
    if told is not None:
        return tar_records.whole_number(told, key, most)
    number = _number(field, key)
    if number > most:
        raise Malformed(f"has {number} as its {key}, which must be 0 to {most}")
    return number


def _time(header: bytes) -> int:
    field = header[136:148]
    if field[0] == 0xFF:
        seconds = int.from_bytes(field, "big", signed=True)
    else:
        seconds = _number(field, "time")
    return tar_records.clamped(seconds * _NANOSECONDS)


def _device(header: bytes) -> tuple[int, int]:
    major, minor = _number(header[329:337], "device"), _number(header[337:345], "device")
    if major >= 1 << 12 or minor >= 1 << 20:
        raise Malformed(f"is the device {major}:{minor}, which Linux cannot have")
    return major, minor


def _kind(flag: int, name: bytes) -> Kind:
    kind = _KINDS.get(flag)
    if kind is None:
        raise Malformed(f"is of the type {bytes([flag])!r}, which no layer may hold")
    # before ustar a directory was a file whose name ends in a slash
    return "directory" if kind == "file" and name.endswith(b"/") else kind


def _ustar_name(header: bytes) -> bytes:
    name = _text(header[:100])
    if header[257:263] != b"ustar\0":
        return name
    is_star = header[508:512] == b"tar\0"
    prefix = _text(header[345:476] if is_star else header[345:500])
    return prefix + b"/" + name if prefix else name


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _xattrs(pax: dict[str, bytes]) -> dict[str, bytes]:
    start = len(_XATTR)
    return {key[start:]: value for key, value in pax.items() if key.startswith(_XATTR)}
