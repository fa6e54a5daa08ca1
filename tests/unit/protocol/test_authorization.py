"""The Authorization field: two schemes, and nothing that is malformed."""

import pytest

from entrepot.protocol.authorization import Bearer, Credentials, Login, parse_authorization


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("Basic YWRhOnNlY3JldA==", Login("ada", "secret")),
        ("basic  YWRhOnNlY3JldA== ", Login("ada", "secret")),
        ("Basic YWRhOmE6Yjpj", Login("ada", "a:b:c")),
        ("Basic YWRhOg==", Login("ada", "")),
        ("Basic OnNlY3JldA==", Login("", "secret")),
        ("Basic w6TDtjrDvA==", Login("äö", "ü")),
        ("Bearer abc.def", Bearer("abc.def")),
        ("bEARER abc", Bearer("abc")),
        ("Basic YWRh", None),
        ("Basic YWRhOnNlY3JldA", None),
        ("Basic /zo=", None),
        ("Basic ä", None),
        ("Basic", None),
        ("Bearer ", None),
        ("Digest abc", None),
        ("", None),
    ],
)
def test_it_is_read(field: str, expected: Credentials | None) -> None:
    assert parse_authorization(field) == expected


def test_no_secret_is_in_what_is_shown() -> None:
    assert "secret" not in repr(Login("ada", "secret"))
    assert "secret" not in repr(Bearer("secret"))
