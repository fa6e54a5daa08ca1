import pytest

from entrepot.oci.errors import NameInvalid
from entrepot.oci.reference import RepositoryName
from entrepot.rules.name_patterns import NamePatterns, Rewrite, rewritten


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*", "a", True),
        ("*", "a/b/c", True),
        ("a/*", "a/b/c", True),
        ("a/*", "a", False),
        ("*/secret", "a/b/secret", True),
        ("*secret*", "my-secrets/x", True),
        ("library/alpine", "library/alpine", True),
        ("library/alpine", "library/alpine-x", False),
        ("a.b", "axb", False),
        ("a[bc]", "ab", False),
        ("a?", "ab", False),
        ("", "a", False),
        ("a***b", "axxb", True),
    ],
)
def test_a_star_is_anything_and_all_else_is_itself(pattern: str, name: str, matches: bool) -> None:
    assert NamePatterns.of([pattern]).first(name) == (pattern if matches else None)


def test_the_first_pattern_is_told() -> None:
    patterns = NamePatterns.of(["x", "a/*", "*"])
    assert patterns.first("a/b") == "a/*"
    assert patterns.first("y", "x") == "x"
    assert NamePatterns().first("a") is None


def test_many_stars_match_in_no_time() -> None:
    assert NamePatterns.of(["*" * 200 + "b"]).first("a" * 255) is None


@pytest.mark.parametrize(
    ("rewrite", "name", "other"),
    [
        ("rancher/*=stable/rancher/*", "rancher/shell", "stable/rancher/shell"),
        ("*=docker/*", "library/alpine", "docker/library/alpine"),
        ("*/x/*=y/*/*", "a/x/b", "y/a/b"),
        ("old=new/name", "old", "new/name"),
        ("a/*=b", "a/anything", "b"),
        ("rancher/*=x/*", "other/rancher", None),
        (" a/* = b/* ", "a/c", "b/c"),
    ],
)
def test_a_rewrite_puts_in_what_stars_stood_for(rewrite: str, name: str, other: str | None) -> None:
    assert Rewrite.parse(rewrite).apply(RepositoryName.parse(name)) == other


def test_of_several_rewrites_the_first_match_counts() -> None:
    rewrites = [Rewrite.parse("a/b/*=first/*"), Rewrite.parse("a/*=second/*")]
    assert rewritten(RepositoryName("a/b/c"), rewrites) == "first/c"
    assert rewritten(RepositoryName("a/c"), rewrites) == "second/c"
    assert rewritten(RepositoryName("c"), rewrites) == "c"


@pytest.mark.parametrize("text", ["", "a", "=b", "a=", "a=b=c", "a=*", "*=*/*"])
def test_what_is_no_rewrite_is_refused(text: str) -> None:
    with pytest.raises(NameInvalid, match="is no rewrite"):
        Rewrite.parse(text)


@pytest.mark.parametrize("text", ["*=A/*", "a*=*", "*=*/"])
def test_a_rewrite_that_makes_no_name_is_told(text: str) -> None:
    with pytest.raises(NameInvalid, match=r"the rewrite .* makes no name of a/?"):
        Rewrite.parse(text).apply(RepositoryName("a"))
