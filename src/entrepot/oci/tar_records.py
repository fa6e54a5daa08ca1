"""What a tar tells beside its headers: pax records and the maps of sparse files.

Source: POSIX.1-2017, pax, "Extended Header"; the GNU tar manual, "Storing Sparse Files".
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

MOST_BYTES: Final = 1024 * 1024
"""Longest extended header that is read, as for Go's archive/tar."""

MOST_SIZE: Final = 2**63 - 1
_MOST_REGIONS: Final = 1_000_000
_MOST_DIGITS: Final = 19
_NANOSECONDS: Final = 10**9
_MOST_TIME: Final = 2**62

Regions = tuple[tuple[int, int], ...]


class Malformed(Exception):
    """What is wrong with a header, as the end of a sentence; `TarReader` says of which archive
    and member, as ContentInvalid."""


def read_records(content: bytes) -> list[tuple[str, bytes]]:
    """Read pax records (`LENGTH KEY=VALUE\\n`) in their order. Raise Malformed."""
    records, start = [], 0
    while start < len(content):
        if content[start] == 0:  # some writers fill the block and count the filling
            break
        space = content.find(b" ", start, start + 12)
        digits = content[start:space] if space > 0 else b""
        length = int(digits) if digits.isdigit() else 0
        record = content[start : start + length]
        key, equals, value = record[space + 1 - start : -1].partition(b"=")
        if length > len(content) - start or not record.endswith(b"\n") or not equals or not key:
            raise Malformed("has a pax header that is no list of records")
        records.append((key.decode("utf-8", "surrogateescape"), value))
        start += length
    return records


def whole_number(value: bytes, field: str, most: int = MOST_SIZE) -> int:
    """Read a decimal number of 0 to `most`. Raise Malformed naming the field."""
    if not value.isdigit() or len(value) > _MOST_DIGITS or int(value) > most:
        raise Malformed(f"has {value[:40]!r} as its {field}, which must be 0 to {most}")
    return int(value)


def time(value: bytes) -> int:
    """Read a decimal time in seconds, perhaps with a fraction; return nanoseconds.

    What is out of every file system's range becomes the nearest that is not.
    """
    negative = value.startswith(b"-")
    seconds, _, fraction = value.removeprefix(b"-").partition(b".")
    if not (seconds + fraction).isdigit() or len(seconds) > 40:
        raise Malformed(f"has {value[:40]!r} as its time, which must be a number of seconds")
    total = int(seconds or b"0") * _NANOSECONDS + int(fraction[:9].ljust(9, b"0"))
    return clamped(-total if negative else total)


def clamped(nanoseconds: int) -> int:
    """Return the nearest time that fits into 63 bits."""
    return max(-_MOST_TIME, min(_MOST_TIME, nanoseconds))


def sparse_map(records: Sequence[tuple[str, bytes]], merged: Mapping[str, bytes]) -> Regions:
    """Return the regions of GNU's sparse formats 0.0 (repeated records) and 0.1 (one list)."""
    listed = merged.get("GNU.sparse.map")
    if listed is not None:
        return _paired(listed.split(b",") if listed else [])
    keys = ("GNU.sparse.offset", "GNU.sparse.numbytes")
    numbers = [(key, value) for key, value in records if key in keys]
    for index, (key, _) in enumerate(numbers):
        if key != keys[index % 2]:
            raise Malformed("has a sparse map whose offsets and lengths are no pairs")
    return _paired([value for _, value in numbers])


def read_stored_map(read_block: Callable[[], bytes]) -> Regions:
    """Read the map of GNU's sparse format 1.0, which stands before the data in whole blocks."""
    buffer, place = b"", 0
    numbers: list[bytes] = []
    wanted = 1
    while len(numbers) < wanted:
        end = buffer.find(b"\n", place)
        if end < 0:
            if len(buffer) - place > _MOST_DIGITS:
                raise Malformed("has a sparse map that is no list of numbers")
            buffer, place = buffer[place:] + read_block(), 0
            continue
        numbers.append(buffer[place:end])
        place = end + 1
        if len(numbers) == 1:
            wanted += 2 * whole_number(numbers[0], "number of sparse regions", _MOST_REGIONS)
    return _paired(numbers[1:])


def check_regions(regions: Regions, size: int, stored: int) -> Regions:
    """Return the regions that hold data. Raise Malformed unless they are in order, inside
    the file, and together as long as what is stored."""
    end = total = 0
    for offset, length in regions:
        if offset < end or offset + length > size:
            raise Malformed("has a sparse map with regions out of order or out of the file")
        end, total = offset + length, total + length
    if total != stored:
        raise Malformed(f"has a sparse map of {total} bytes, but {stored} are stored")
    return tuple(region for region in regions if region[1])


def _paired(numbers: Sequence[bytes]) -> Regions:
    if len(numbers) % 2 or len(numbers) > 2 * _MOST_REGIONS:
        raise Malformed("has a sparse map whose offsets and lengths are no pairs")
    read = [whole_number(number, "sparse map") for number in numbers]
    return tuple(zip(read[::2], read[1::2], strict=True))
