"""What registries say of an upload: how much they have, and where it goes on."""

import pytest

from entrepot.adapters.remotes.upload_requests import parse_offset, with_digest
from entrepot.oci.digest import Digest

DIGEST = Digest.of(b"")
ENCODED = f"sha256%3A{DIGEST.hex}"


@pytest.mark.parametrize(
    ("field", "offset"),
    [
        ("0-99", 100),
        ("bytes=0-99", 100),
        ("bytes 0-99", 100),
        ("bytes 0-99/200", 100),
        (" 0-99 ", 100),
        ("0-0", 0),
        ("bytes=0-0", 0),
        ("0-1", 2),
        ("0--1", None),
        ("0-", None),
        ("1-99", None),
        ("99", None),
        ("", None),
        (None, None),
        ("0-99999999999999999999", None),
    ],
)
def test_the_offset(field: str | None, offset: int | None) -> None:
    assert parse_offset(field) == offset


@pytest.mark.parametrize(
    ("location", "closing"),
    [
        ("http://r/v2/a/blobs/uploads/1", f"http://r/v2/a/blobs/uploads/1?digest={ENCODED}"),
        ("http://r/u/1?_state=a%2Bb%3D", f"http://r/u/1?_state=a%2Bb%3D&digest={ENCODED}"),
        ("http://r/u/1?", f"http://r/u/1?digest={ENCODED}"),
        ("/u/1?a=1&b=", f"/u/1?a=1&b=&digest={ENCODED}"),
        ("http://r/u/a%2Fb?x", f"http://r/u/a%2Fb?x&digest={ENCODED}"),
    ],
)
def test_the_digest_is_added_and_nothing_else_changed(location: str, closing: str) -> None:
    assert with_digest(location, DIGEST) == closing
