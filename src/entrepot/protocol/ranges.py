"""Byte ranges: what a Range header asks for, and how the parts are labelled in the answer.

Source: RFC 9110, section 14; distribution-spec, "Pulling blobs".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from entrepot.oci.errors import RangeInvalid

MAX_RANGES: Final = 16
"""More ranges than this in one request are no resumed download; they get the whole content."""

_MAX_FIELD: Final = 1024  # characters; also keeps int() far from its digit limit
_SPEC: Final = re.compile(r"([0-9]*)-([0-9]*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`length` bytes (at least 1) from `offset`, within the content."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """The offset behind the last byte."""
        return self.offset + self.length


def parse_range(field: str | None, size: int) -> tuple[ByteRange, ...] | None:
    """Return the ranges that `field` asks of content of `size` bytes, in the order asked.

    None means the whole content with status 200: no header, another unit, bad syntax, too
    many or overlapping ranges, or empty content (HTTP cannot express a range of that).
    Ranges are cut at the end of the content, those wholly behind it left out; raise
    RangeInvalid if none remains.
    """
    if field is None or size == 0 or len(field) > _MAX_FIELD:
        return None
    unit, equals, text = field.partition("=")
    if not equals or unit.lower() != "bytes":
        return None
    specs = [spec for item in text.split(",") if (spec := item.strip(" \t"))]
    if not 0 < len(specs) <= MAX_RANGES:
        return None
    ranges = []
    for spec in specs:
        bounds = _bounds(spec, size)
        if bounds is None:
            return None
        first, end = bounds
        if first < end:
            ranges.append(ByteRange(first, end - first))
    if not ranges:
        raise RangeInvalid(
            f"the content has {size} bytes and none of them is in {field[:80]!r}; ask for bytes "
            f"from 0 to {size - 1}",
            size=size,
        )
    return None if _overlap(ranges) else tuple(ranges)


def _bounds(spec: str, size: int) -> tuple[int, int] | None:
    """Return (first, end) of one range, empty if unsatisfiable; None for bad syntax."""
    match = _SPEC.fullmatch(spec)
    if match is None or spec == "-":
        return None
    first, last = match[1], match[2]
    if not first:
        return max(size - int(last), 0), size
    if last and int(last) < int(first):
        return 0, 0  # RFC 9110 would ignore it; the conformance suite wants it refused
    return int(first), min(int(last) + 1, size) if last else size


def _overlap(ranges: Sequence[ByteRange]) -> bool:
    ordered = sorted(ranges, key=lambda wanted: wanted.offset)
    return any(left.end > right.offset for left, right in pairwise(ordered))


def range_applies(if_range: str | None, etag: str) -> bool:
    """Say whether If-Range lets the Range header count for content with this entity tag.

    Tags are compared strongly. Dates never match: content here has no modification time.
    """
    return if_range is None or if_range.strip() == etag


def render_content_range(wanted: ByteRange, size: int) -> str:
    """Return the Content-Range of one part of content of `size` bytes."""
    return f"bytes {wanted.offset}-{wanted.end - 1}/{size}"


def render_unsatisfied_range(size: int) -> str:
    """Return the Content-Range that goes with status 416."""
    return f"bytes */{size}"


@dataclass(frozen=True, slots=True)
class Multipart:
    """A multipart/byteranges body: each part's head goes before its bytes, `tail` at the end.

    `length` is that of the whole body in bytes.
    """

    content_type: str
    parts: tuple[tuple[bytes, ByteRange], ...]
    tail: bytes
    length: int


def multipart(ranges: Sequence[ByteRange], size: int, media_type: str, boundary: str) -> Multipart:
    """Lay out several ranges of content of `size` bytes.

    `boundary` is 1 to 70 letters and digits that do not occur in the content; a random one
    will not.
    """
    parts = []
    before = ""
    for wanted in ranges:
        head = (
            f"{before}--{boundary}\r\n"
            f"Content-Type: {media_type}\r\n"
            f"Content-Range: {render_content_range(wanted, size)}\r\n\r\n"
        )
        parts.append((head.encode("latin-1"), wanted))
        before = "\r\n"
    tail = f"\r\n--{boundary}--\r\n".encode("latin-1")
    return Multipart(
        content_type=f"multipart/byteranges; boundary={boundary}",
        parts=tuple(parts),
        tail=tail,
        length=sum(len(head) + wanted.length for head, wanted in parts) + len(tail),
    )
