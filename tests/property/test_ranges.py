"""Ranges are what slicing the content gives, and multipart bodies have the length they say."""

from hypothesis import assume, given
from hypothesis import strategies as st

from entrepot.oci.errors import RangeInvalid
from entrepot.protocol.ranges import MAX_RANGES, ByteRange, multipart, parse_range
from tests.property import strategies

_NUMBERS = st.integers(0, 40)
_SPECS = st.one_of(
    st.tuples(_NUMBERS, _NUMBERS).map(sorted).map(tuple),
    st.tuples(_NUMBERS, st.none()),
    st.tuples(st.none(), _NUMBERS),
)
Spec = tuple[int | None, int | None]


def _slice(content: bytes, spec: Spec) -> bytes:
    first, last = spec
    if first is None:
        assert last is not None
        return content[len(content) - min(last, len(content)) :]
    return content[first:] if last is None else content[first : last + 1]


def _written(spec: Spec) -> str:
    return "-".join("" if bound is None else str(bound) for bound in spec)


@given(st.binary(min_size=1, max_size=30), st.lists(_SPECS, min_size=1, max_size=20))
def test_ranges_are_slices(content: bytes, specs: list[Spec]) -> None:
    field = "bytes=" + ", ".join(_written(spec) for spec in specs)
    expected = [part for spec in specs if (part := _slice(content, spec))]
    try:
        ranges = parse_range(field, len(content))
    except RangeInvalid:
        assert expected == []
        return
    if ranges is None:  # only what asks for too much is answered whole
        assert len(specs) > MAX_RANGES or len(expected) > 1
        return
    assert [content[wanted.offset : wanted.end] for wanted in ranges] == expected


@given(st.binary(min_size=1, max_size=30), st.lists(_SPECS, min_size=1, max_size=5))
def test_a_byte_is_never_sent_twice(content: bytes, specs: list[Spec]) -> None:
    field = "bytes=" + ",".join(_written(spec) for spec in specs)
    try:
        ranges = parse_range(field, len(content))
    except RangeInvalid:
        return
    sent = [n for wanted in ranges or () for n in range(wanted.offset, wanted.end)]
    assert len(sent) == len(set(sent))


@given(st.one_of(strategies.any_text, st.text("bytes=0123456789-, ", max_size=30)), _NUMBERS)
def test_any_header_is_read_ignored_or_unsatisfiable(text: str, size: int) -> None:
    for field in (text, "bytes=" + text):
        try:
            ranges = parse_range(field, size)
        except RangeInvalid:
            assert size > 0
            continue
        for wanted in ranges or ():
            assert 0 <= wanted.offset < wanted.end <= size
            assert wanted.length >= 1


@given(st.binary(min_size=1, max_size=60), st.sets(st.integers(0, 59), min_size=2, max_size=5))
def test_a_multipart_body_holds_the_slices_and_the_length_it_says(
    content: bytes, starts: set[int]
) -> None:
    boundary = "b0undary"
    assume(boundary.encode() not in content)
    ranges = [ByteRange(start, 1) for start in sorted(starts) if start < len(content)]
    assume(ranges)
    layout = multipart(ranges, len(content), "application/octet-stream", boundary)
    body = b"".join(head + content[part.offset : part.end] for head, part in layout.parts)
    body += layout.tail
    assert layout.length == len(body)
    opening, *parts, closing = body.split(b"--b0undary")
    assert (opening, closing) == (b"", b"--\r\n")
    for part, wanted in zip(parts, ranges, strict=True):
        head, _, rest = part.partition(b"\r\n\r\n")
        first = str(wanted.offset).encode()
        assert b"Content-Range: bytes %b-%b/%d" % (first, first, len(content)) in head
        assert rest == content[wanted.offset : wanted.end] + b"\r\n"
