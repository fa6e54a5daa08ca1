import pytest

from entrepot.oci.errors import PaginationNumberInvalid
from entrepot.oci.reference import RepositoryName
from entrepot.protocol.pagination import Page, parse_page, render_next_link
from entrepot.protocol.routes import tags_path


@pytest.mark.parametrize(
    ("parameters", "page"),
    [
        ([], Page(100)),
        ([("n", "10")], Page(10)),
        ([("n", "0")], Page(0)),
        ([("n", "007")], Page(7)),
        ([("n", "1000")], Page(1000)),
        ([("n", "1001")], Page(1000)),
        ([("n", "9" * 1000)], Page(1000)),
        ([("n", "5"), ("n", "6")], Page(5)),
        ([("last", "v1")], Page(100, "v1")),
        ([("last", "")], Page(100)),
        ([("last", "not/a tag!")], Page(100, "not/a tag!")),
        ([("n", "2"), ("other", "x"), ("last", "v1")], Page(2, "v1")),
    ],
)
def test_a_page_is_read(parameters: list[tuple[str, str]], page: Page) -> None:
    assert parse_page(parameters, default=100, cap=1000) == page


@pytest.mark.parametrize(
    "number", ["", "-1", "+1", "1.0", "1e3", "a", " 1", "1\n", "٣", "0x10", "9" * 5000]
)
def test_a_number_that_is_none_is_refused(number: str) -> None:
    with pytest.raises(PaginationNumberInvalid):
        parse_page([("n", number)], default=100, cap=1000)


@pytest.mark.parametrize("last", ["v1", "v1\0", "v1\0x", "\0", "v" * 300, "v" * 255 + "w" * 9])
def test_last_is_cut_to_what_databases_compare_and_keeps_what_is_behind_it(last: str) -> None:
    entries = ["a", "v", "v1", "v10", "v2", "v" * 128, "v" * 255, "w"]
    cut = parse_page([("last", last)], default=100, cap=100).last or ""
    assert [name for name in entries if name > cut] == [name for name in entries if name > last]
    assert "\0" not in cut
    assert len(cut) <= 256


def test_the_link_to_the_next_page_keeps_the_limit_and_other_parameters() -> None:
    path = tags_path(RepositoryName("library/busybox"))
    assert render_next_link(path, Page(2), "v1") == (
        '</v2/library/busybox/tags/list?n=2&last=v1>; rel="next"'
    )
    assert render_next_link(path, Page(2, "v0"), "v1", [("artifactType", "a/b+json")]) == (
        '</v2/library/busybox/tags/list?n=2&last=v1&artifactType=a%2Fb%2Bjson>; rel="next"'
    )


def test_nothing_breaks_out_of_the_link() -> None:
    link = render_next_link("/v2/_catalog", Page(1), 'x>; rel="prev"\r\n&n=9')
    assert link == '</v2/_catalog?n=1&last=x%3E%3B%20rel%3D%22prev%22%0D%0A%26n%3D9>; rel="next"'
