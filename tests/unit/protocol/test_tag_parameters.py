import pytest

from entrepot.oci.errors import TagInvalid, TooManyTags
from entrepot.protocol.tag_parameters import MAX_TAGS, parse_tags


@pytest.mark.parametrize(
    ("parameters", "tags"),
    [
        ([], ()),
        ([("digest", "x"), ("Tag", "y")], ()),
        ([("tag", "v1")], ("v1",)),
        ([("tag", "v1"), ("n", "1"), ("tag", "latest")], ("v1", "latest")),
        ([("tag", "v1"), ("tag", "v2"), ("tag", "v1")], ("v1", "v2")),
    ],
)
def test_tags_are_read_once_each_in_order(
    parameters: list[tuple[str, str]], tags: tuple[str, ...]
) -> None:
    assert parse_tags(parameters) == tags


@pytest.mark.parametrize("text", ["", "a b", "a,b", "../a", "a:b", "x" * 129])
def test_one_that_is_no_tag_refuses_the_push(text: str) -> None:
    with pytest.raises(TagInvalid) as refused:
        parse_tags([("tag", "v1"), ("tag", text)])
    assert not isinstance(refused.value, TooManyTags)


def test_there_is_a_limit_and_repeating_does_not_avoid_it() -> None:
    assert len(parse_tags([("tag", f"v{n}") for n in range(MAX_TAGS)])) == MAX_TAGS
    with pytest.raises(TooManyTags):
        parse_tags([("tag", "v1")] * (MAX_TAGS + 1))
