import pytest

from entrepot.oci.errors import Unsupported
from entrepot.protocol.warnings import (
    MAX_TOTAL,
    parse_warnings,
    render_warning,
    render_warnings,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The tag will go.", '299 - "The tag will go."'),
        ('Use "v2".', r'299 - "Use \"v2\"."'),
        (r"C:\a", r'299 - "C:\\a"'),
        ("x" * 256, f'299 - "{"x" * 256}"'),
    ],
)
def test_a_warning_is_a_quoted_string(text: str, value: str) -> None:
    assert render_warning(text) == value


@pytest.mark.parametrize("text", ["", "a\r\nSet-Cookie: b", "a\n", "a\0", "ä", "x" * 257])
def test_what_a_header_cannot_carry_is_refused(text: str) -> None:
    with pytest.raises(Unsupported):
        render_warning(text)


def test_each_text_is_sent_once_and_no_more_than_the_spec_allows() -> None:
    assert render_warnings(["a", "b", "a"]) == ('299 - "a"', '299 - "b"')
    values = render_warnings(f"{n:0256}" for n in range(100))
    assert 10 < len(values) < 100
    assert sum(len(value) for value in values) <= MAX_TOTAL


@pytest.mark.parametrize(
    ("field", "texts"),
    [
        ('299 - "a"', ("a",)),
        ('299 - "a", 299 - "b"', ("a", "b")),
        ('299 - "a",299 registry.example "b"', ("a", "b")),
        ('299 - "a, 299 - b"', ("a, 299 - b",)),
        (r'299 - "say \"a\", 299 - \"b\""', ('say "a", 299 - "b"',)),
        ('299 - "a" "Wed, 21 Oct 2015 07:28:00 GMT"', ("a",)),
        ('110 - "stale", 299 - "a"', ("a",)),
        ('299 - "open', ()),
        ("299 - bare", ()),
        ("", ()),
    ],
)
def test_warnings_are_read_and_the_malformed_left_out(field: str, texts: tuple[str, ...]) -> None:
    assert parse_warnings(field) == texts
