import pytest

from entrepot.oci.digest import Digest
from entrepot.protocol.conditional import etag, if_none_match

DIGEST = Digest.parse("sha256:" + "0" * 64)
TAG = f'"{DIGEST}"'
OTHER = '"sha256:' + "1" * 64 + '"'


def test_the_entity_tag_is_the_quoted_digest() -> None:
    assert etag(DIGEST) == TAG


@pytest.mark.parametrize(
    "field",
    [
        TAG,
        f"W/{TAG}",
        "*",
        " * ",
        f"{OTHER}, {TAG}",
        f"{OTHER},W/{TAG}",
        f'"a,b" , {TAG}',
        str(DIGEST),
        f"{OTHER}, {DIGEST}",
    ],
)
def test_if_none_match_stops_what_the_client_has(field: str) -> None:
    assert not if_none_match(field, DIGEST)


@pytest.mark.parametrize(
    "field", [None, "", OTHER, f"W/{OTHER}", '"', '""', "**", f'"x{DIGEST}"', f"{DIGEST}x", '"*"']
)
def test_if_none_match_lets_all_else_go_on(field: str | None) -> None:
    assert if_none_match(field, DIGEST)


@pytest.mark.parametrize("field", [None, TAG, "*"])
def test_if_none_match_goes_on_where_nothing_exists(field: str | None) -> None:
    assert if_none_match(field, None)
