"""Headers and query parameters: conditions, pages, referrers, warnings, tags."""

import json
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import PaginationNumberInvalid, RegistryError, TagInvalid, Unsupported
from entrepot.oci.manifest import Index, parse_manifest
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.protocol.conditional import etag, if_none_match
from entrepot.protocol.pagination import Page, parse_page, render_next_link
from entrepot.protocol.referrers import (
    fallback_tag,
    parse_artifact_type,
    render_referrers,
)
from entrepot.protocol.routes import tags_path
from entrepot.protocol.tag_parameters import parse_tags
from entrepot.protocol.warnings import (
    MAX_TOTAL,
    parse_warnings,
    render_warning,
    render_warnings,
)
from tests.property import strategies

_PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
_WARNINGS = st.text(_PRINTABLE, min_size=1, max_size=256)


@given(
    strategies.digests(),
    st.lists(st.tuples(strategies.digests(), st.booleans()), max_size=4),
    st.sampled_from([",", ", ", " ,\t"]),
)
def test_a_condition_names_what_its_list_names(
    current: Digest, listed: list[tuple[Digest, bool]], separator: str
) -> None:
    field = separator.join(("W/" if weak else "") + etag(digest) for digest, weak in listed)
    assert if_none_match(field, current) == (current not in [digest for digest, _ in listed])


@given(st.one_of(strategies.any_text, st.text('W/"*, a:', max_size=20)), strategies.digests())
def test_any_condition_is_decided(field: str, digest: Digest) -> None:
    assert if_none_match(field, digest) == (field.strip() != "*")


@given(strategies.names, st.integers(1, 1000), strategies.text.filter(bool), strategies.text)
def test_following_the_link_asks_for_the_page_behind(
    name: RepositoryName, limit: int, last: str, filtered: str
) -> None:
    link = render_next_link(tags_path(name), Page(limit), last, [("artifactType", filtered)])
    target, closing, relation = link[1:].partition(">")
    assert (link[0], closing, relation) == ("<", ">", '; rel="next"')
    url = urlsplit(target)
    parameters = parse_qsl(url.query, keep_blank_values=True)
    assert url.path == tags_path(name)
    assert parse_page(parameters, default=5, cap=1000) == Page(
        limit, last.partition("\0")[0] or None
    )
    assert ("artifactType", filtered) in parameters


_PARAMETERS = st.lists(
    st.tuples(
        st.sampled_from(["n", "last", "tag", "artifactType", "x"]),
        st.one_of(strategies.any_text, st.integers().map(str)),
    ),
    max_size=5,
)


@given(_PARAMETERS)
def test_any_page_is_within_its_bounds_or_refused(parameters: list[tuple[str, str]]) -> None:
    try:
        page = parse_page(parameters, default=7, cap=100)
    except PaginationNumberInvalid:
        return
    assert 0 <= page.limit <= 100
    assert page.last is None or ("\0" not in page.last and 0 < len(page.last) <= 256)


@given(_PARAMETERS)
def test_any_tag_parameters_are_tags_or_refused(parameters: list[tuple[str, str]]) -> None:
    try:
        tags = parse_tags(parameters)
    except TagInvalid:
        return
    assert [Tag.parse(tag) for tag in tags] == list(tags)
    assert {value for key, value in parameters if key == "tag"} == set(tags)


@given(_PARAMETERS)
def test_any_artifact_type_is_one_or_refused(parameters: list[tuple[str, str]]) -> None:
    try:
        artifact_type = parse_artifact_type(parameters)
    except RegistryError:
        return
    assert artifact_type is None or (artifact_type.isascii() and artifact_type.isprintable())


@given(st.lists(strategies.descriptors(), max_size=4))
def test_the_list_of_referrers_is_an_index_that_can_be_read(referrers: list[Descriptor]) -> None:
    content = render_referrers(referrers)
    assert json.loads(content)["schemaVersion"] == 2
    index = parse_manifest(content)
    assert isinstance(index, Index)
    assert index.manifests == tuple(referrers)


@given(strategies.digests())
def test_a_fallback_tag_is_a_tag(subject: Digest) -> None:
    tag = fallback_tag(subject)
    assert Tag.parse(tag) == tag


@given(st.lists(_WARNINGS, max_size=30))
def test_warnings_round_trip_within_the_limit(texts: list[str]) -> None:
    values = render_warnings(texts)
    assert sum(map(len, values)) <= MAX_TOTAL
    assert parse_warnings(", ".join(values)) == tuple(dict.fromkeys(texts))[: len(values)]


@given(st.one_of(strategies.any_text, st.text('29 -"\\,a\r\n', max_size=40)))
def test_any_text_is_a_warning_or_refused_and_any_header_is_read(text: str) -> None:
    for read in parse_warnings(text):
        assert "\r" not in read
        assert "\n" not in read
    try:
        value = render_warning(text)
    except Unsupported:
        return
    assert parse_warnings(value) == (text,)
    assert value.isascii()


@pytest.mark.parametrize("text", ["\r", "\n", "\0", "\x7f"])
@given(before=_WARNINGS, after=_WARNINGS)
def test_no_control_character_gets_into_a_header(text: str, before: str, after: str) -> None:
    with pytest.raises(Unsupported):
        render_warning(before + text + after)
