"""Content-Range as answers have it."""

import pytest

from entrepot.adapters.remotes.downloads import ContentRange, parse_content_range


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("bytes 0-9/10", ContentRange(0, 10, 10)),
        ("bytes 5-9/*", ContentRange(5, 10, None)),
        ("bytes */10", ContentRange(None, None, 10)),
        ("Bytes 0-0/1", ContentRange(0, 1, 1)),
        ("bytes=0-9/10", ContentRange(0, 10, 10)),
        (" bytes 0-9/10 ", ContentRange(0, 10, 10)),
        ("bytes 9-5/10", None),
        ("bytes 0-9", None),
        ("bytes -9/10", None),
        ("items 0-9/10", None),
        ("bytes 0-99999999999999999999/10", None),
        ("", None),
        (None, None),
    ],
)
def test_content_range(field: str | None, found: ContentRange | None) -> None:
    assert parse_content_range(field) == found
