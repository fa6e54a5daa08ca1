"""The Link header in all the forms that registries send it."""

import pytest

from entrepot.adapters.remotes.endpoint import Answer
from entrepot.adapters.remotes.pages import entries, next_page, parse_next_link
from entrepot.oci.errors import Denied, Unavailable


@pytest.mark.parametrize(
    ("field", "target"),
    [
        ('</v2/_catalog?last=b&n=2>; rel="next"', "/v2/_catalog?last=b&n=2"),
        ("</v2/x>;rel=next", "/v2/x"),
        ("</v2/x>; REL=NEXT", "/v2/x"),
        ('<https://r.example/v2/x?n=1>; rel="next"', "https://r.example/v2/x?n=1"),
        ('</v2/a>; rel="prev" , </v2/b>; rel="next"', "/v2/b"),
        ('</v2/b>; rel="next", </v2/a>; rel="prev"', "/v2/b"),
        ('</v2/x>; rel="last next"', "/v2/x"),
        ('</v2/x?a=1,2>; title="a, b; rel=prev"; rel="next"', "/v2/x?a=1,2"),
        ('< /v2/x >; rel="next"', "/v2/x"),
        ("/v2/x?n=1; rel=next", "/v2/x?n=1"),
        ('</v2/x>; rel="prev"', None),
        ("</v2/x>", None),
        ('<>; rel="next"', None),
        ("rel=next", None),
        ("", None),
        (None, None),
        ("<" * 5000, None),
        ("<a>" + '"' * 5000, None),
    ],
)
def test_the_next_page(field: str | None, target: str | None) -> None:
    assert parse_next_link(field) == target


def answer(link: str, url: str = "https://r.example/v2/a/tags/list?n=1000") -> Answer:
    return Answer(200, url, {"link": link}, "1.1", b"{}")


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("</v2/a/tags/list?last=b>; rel=next", "https://r.example/v2/a/tags/list?last=b"),
        ("<?last=b>; rel=next", "https://r.example/v2/a/tags/list?last=b"),
        ("<list?last=b>; rel=next", "https://r.example/v2/a/tags/list?last=b"),
        ("<https://r.example:443/v2/x>; rel=next", "https://r.example:443/v2/x"),
        ("<http://r.example/v2/x>; rel=next", "https://r.example/v2/x"),
        (
            "<https://inside.example/v2/a/tags/list?last=b>; rel=next",
            "https://r.example/v2/a/tags/list?last=b",
        ),
    ],
)
def test_where_the_next_page_is(link: str, url: str) -> None:
    assert next_page(answer(link)) == url


@pytest.mark.parametrize(
    "link",
    [
        "<https://evil.example/v2/b/tags/list>; rel=next",
        "<http://169.254.169.254/latest>; rel=next",
        "<file:///etc/passwd>; rel=next",
    ],
)
def test_where_it_is_not(link: str) -> None:
    with pytest.raises((Unavailable, Denied)):
        next_page(answer(link))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"tags":["a"]}', ["a"]),
        (b'{"tags":[]}', []),
        (b'{"tags":null}', []),
        (b"{}", []),
    ],
)
def test_entries(content: bytes, found: list[object]) -> None:
    assert entries(Answer(200, "http://r.example/", {}, "1.1", content), "tags") == found


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[]", b"null", b'{"tags":"a"}', b'{"tags":{}}x', b"[" * 100_000]
)
def test_what_is_no_list(content: bytes) -> None:
    wrong = Answer(200, "http://r.example/", {}, "1.1", content)
    with pytest.raises(Unavailable, match=r"r\.example"):
        entries(wrong, "tags")
