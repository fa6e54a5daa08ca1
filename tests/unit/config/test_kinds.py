"""How single values are written, and which are refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.config import DatabaseURL, kinds
from entrepot.config.kinds import Kind


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1500", 1500),
        ("7B", 7),
        ("64KiB", 65536),
        ("64 kib", 65536),
        ("64KB", 65536),
        ("64k", 65536),
        ("4MiB", 4 * 1024**2),
        ("1g", 1024**3),
        ("1.5G", 3 * 1024**3 // 2),
        ("2TiB", 2 * 1024**4),
    ],
)
def test_sizes_are_1024_based_in_any_case(text: str, size: int) -> None:
    assert kinds.SIZE.parse(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("250ms", 0.25), ("30s", 30), ("5m", 300), ("24h", 86400), ("7d", 604800)],
)
def test_durations(text: str, seconds: float) -> None:
    assert kinds.DURATION.parse(text) == seconds


@pytest.mark.parametrize("kind", [kinds.SIZE, kinds.DURATION])
@pytest.mark.parametrize(
    "text", ["", "k", "1x", "-1", "1 2", "1e3", "0x10", "nan", "9" * 19, "0." + "9" * 19]
)
def test_quantities_that_are_none(kind: Kind, text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  a kind says nothing, `allowed` does
        kind.parse(text)


def test_a_size_is_a_whole_number_of_bytes() -> None:
    with pytest.raises(ValueError, match=r"0\.3B"):
        kinds.SIZE.parse("0.3B")


def test_numbers_in_a_file_are_bytes_and_seconds() -> None:
    assert kinds.SIZE.read(10) == 10
    assert kinds.DURATION.read(1.5) == 1.5


@given(st.integers(min_value=0, max_value=10**18 - 1))
def test_a_size_that_is_shown_reads_as_itself(size: int) -> None:
    assert kinds.SIZE.read(kinds.SIZE.show(size)) == size


@given(st.integers(min_value=0, max_value=10**10))
def test_a_duration_that_is_shown_reads_as_itself(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    shown = kinds.DURATION.show(seconds)
    assert kinds.DURATION.read(shown) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:5000", "localhost:0", "[::1]:5000", "[fe80::1%eth0]:80", ":65535", "unix:/run/x"],
)
def test_addresses(address: str) -> None:
    assert kinds.ADDRESSES.read([address]) == (address,)


@pytest.mark.parametrize(
    "address",
    ["", "host", "host:", "host:http", "host:65536", "::1:5000", "a b:1", "http://a:1", "unix:"],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        kinds.ADDRESSES.read([address])


def test_a_list_as_text_has_commas_or_is_a_toml_array() -> None:
    assert kinds.HEADER_TEXTS.parse("one, two,") == ("one", "two")
    assert kinds.HEADER_TEXTS.parse('["one, and more", "two"]') == ("one, and more", "two")
    assert kinds.HEADER_TEXTS.parse("") == ()


@pytest.mark.parametrize("text", ["line\nbreak", "", "café"])
def test_a_header_text_fits_into_a_header(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        kinds.HEADER_TEXTS.read([text])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (kinds.BOOLEAN, 1),
        (kinds.BOOLEAN, "true"),
        (kinds.INTEGER, True),
        (kinds.INTEGER, "4"),
        (kinds.INTEGER, 4.0),
        (kinds.SIZE, True),
        (kinds.SIZE, 1.5),
        (kinds.DURATION, False),
        (kinds.PATH, ""),
        (kinds.PATH, 3),
        (kinds.ADDRESSES, ":5000"),
        (kinds.ADDRESSES, []),
        (kinds.HEADER_TEXTS, [1]),
        (kinds.DATABASE_URL, "mysql://host/name"),
        (kinds.DATABASE_URL, "postgresql:"),
        (kinds.DATABASE_URL, "sqlite:///"),
        (kinds.choice("a", "b"), "A"),
    ],
)
def test_a_file_must_have_the_right_type(kind: Kind, value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        kind.read(value)


def test_booleans_as_text() -> None:
    assert [kinds.BOOLEAN.parse(text) for text in ("true", "Yes", "on", "1")] == [True] * 4
    assert [kinds.BOOLEAN.parse(text) for text in ("false", "No", "off", "0")] == [False] * 4
    with pytest.raises(ValueError, match="maybe"):
        kinds.BOOLEAN.parse("maybe")


def test_an_optional_path_may_be_empty() -> None:
    assert kinds.OPTIONAL_PATH.read("") is None
    assert kinds.OPTIONAL_PATH.read("/a") == Path("/a")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:secret@host/name", "postgresql://user:***@host/name"),
        ("postgresql://user:se@cr/et@host/name", "postgresql://user:***@host/name"),
        ("postgresql://:secret@host/name", "postgresql://:***@host/name"),
        ("postgresql://host/n?user=u&password=secret", "postgresql://host/n?user=u&password=***"),
        ("postgresql://host/n?sslpassword=secret&a=b", "postgresql://host/n?sslpassword=***&a=b"),
        ("postgresql://user@host/name", "postgresql://user@host/name"),
        ("", ""),
    ],
)
def test_a_database_url_hides_its_password(url: str, shown: str) -> None:
    assert DatabaseURL(url).redacted() == shown
    assert repr(DatabaseURL(url)) == repr(shown)
    assert DatabaseURL(url) == url
