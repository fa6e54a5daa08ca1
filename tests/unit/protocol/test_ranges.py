import pytest

from entrepot.oci.errors import RangeInvalid
from entrepot.protocol import ranges
from entrepot.protocol.ranges import ByteRange, parse_range


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("bytes=0-9", [(0, 10)]),
        ("bytes=0-0", [(0, 1)]),
        ("bytes=99-99", [(99, 1)]),
        ("bytes=90-", [(90, 10)]),
        ("bytes=0-", [(0, 100)]),
        ("bytes=-1", [(99, 1)]),
        ("bytes=-100", [(0, 100)]),
        ("bytes=-1000", [(0, 100)]),
        ("bytes=50-1000", [(50, 50)]),
        ("bytes=0-" + "9" * 900, [(0, 100)]),
        ("Bytes=0-9", [(0, 10)]),
        ("bytes=0-9,20-29", [(0, 10), (20, 10)]),
        ("bytes=20-29, 0-9", [(20, 10), (0, 10)]),
        ("bytes=0-9 ,\t10-19", [(0, 10), (10, 10)]),
        ("bytes=,0-9,", [(0, 10)]),
        ("bytes=0-0,-1", [(0, 1), (99, 1)]),
        ("bytes=0-9,200-", [(0, 10)]),
        ("bytes=0-9,-0", [(0, 10)]),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(16)), [(n, 1) for n in range(16)]),
    ],
)
def test_ranges_are_read_and_cut_at_the_end(field: str, expected: list[tuple[int, int]]) -> None:
    assert parse_range(field, 100) == tuple(ByteRange(*pair) for pair in expected)


@pytest.mark.parametrize(
    "field",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=0-9;20-29",
        "bytes=0 - 9",
        "bytes=+0-9",
        "bytes=0--9",
        "bytes=\u0660-\u0669",
        "bytes =0-9",
        "items=0-9",
        "0-9",
        "bytes 0-9/100",
        "bytes=" + "0" * 2000 + "-1",
    ],
)
def test_what_is_no_range_of_bytes_is_ignored(field: str | None) -> None:
    assert parse_range(field, 100) is None


@pytest.mark.parametrize(
    "field",
    [
        "bytes=0-9,5-14",
        "bytes=0-9,0-9",
        "bytes=0-,0-",
        "bytes=50-,-60",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(17)),
    ],
)
def test_abusive_ranges_get_the_whole_content(field: str) -> None:
    assert parse_range(field, 100) is None


def test_a_range_that_ends_before_it_starts_holds_nothing() -> None:
    assert parse_range("bytes=0-9,9-0", 100) == (ByteRange(0, 10),)


@pytest.mark.parametrize(
    "field", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=100-,200-", "bytes=9-0"]
)
def test_ranges_of_nothing_are_unsatisfiable(field: str) -> None:
    with pytest.raises(RangeInvalid) as refused:
        parse_range(field, 100)
    assert refused.value.size == 100


@pytest.mark.parametrize("field", ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=5-"])
def test_empty_content_is_sent_whole(field: str) -> None:
    assert parse_range(field, 0) is None


@pytest.mark.parametrize(
    ("if_range", "applies"),
    [
        (None, True),
        ('"sha256:a"', True),
        (' "sha256:a" ', True),
        ('W/"sha256:a"', False),
        ('"sha256:b"', False),
        ("Wed, 21 Oct 2015 07:28:00 GMT", False),
        ("", False),
    ],
)
def test_if_range_lets_ranges_count_only_for_the_same_content(
    if_range: str | None, applies: bool
) -> None:
    assert ranges.range_applies(if_range, '"sha256:a"') is applies


def test_content_ranges_are_rendered() -> None:
    assert ranges.render_content_range(ByteRange(0, 10), 100) == "bytes 0-9/100"
    assert ranges.render_content_range(ByteRange(99, 1), 100) == "bytes 99-99/100"
    assert ranges.render_unsatisfied_range(100) == "bytes */100"


def test_a_multipart_body_is_laid_out_byte_by_byte() -> None:
    content = b"0123456789"
    wanted = (ByteRange(0, 2), ByteRange(8, 2))
    layout = ranges.multipart(wanted, len(content), "text/plain", "xyz")
    body = b"".join(head + content[part.offset : part.end] for head, part in layout.parts)
    assert layout.content_type == "multipart/byteranges; boundary=xyz"
    assert body + layout.tail == (
        b"--xyz\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01"
        b"\r\n--xyz\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89"
        b"\r\n--xyz--\r\n"
    )
    assert layout.length == len(body + layout.tail)
