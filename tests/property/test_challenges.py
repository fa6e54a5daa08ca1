"""Challenges and scopes: what is written is read, and nothing makes the readers stumble."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from entrepot.protocol.challenges import (
    Challenge,
    Scope,
    merge_scopes,
    parse_challenges,
    parse_scopes,
)
from tests.property import strategies

_TOKENS = st.from_regex(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,12}", fullmatch=True)
_VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"))
_CHALLENGES = st.builds(
    Challenge,
    _TOKENS.map(str.lower),
    st.dictionaries(_TOKENS.map(str.lower), _VALUES, max_size=4),
)
_PIECES = st.sampled_from(
    ["Basic", "Bearer ", "realm=", '"', '"a"', "\\", ",", "=", " ", "x", "==", '"a, b"', "ä", "\0"]
)


def _rendered(challenge: Challenge, upper: bool) -> str:
    scheme = challenge.scheme.upper() if upper else challenge.scheme
    values = {name: re.sub(r'(["\\])', r"\\\1", v) for name, v in challenge.parameters.items()}
    parameters = ", ".join(f'{name}="{value}"' for name, value in values.items())
    return f"{scheme} {parameters}" if parameters else scheme


@given(st.lists(_CHALLENGES, max_size=4), st.booleans())
def test_what_is_written_is_read(challenges: list[Challenge], upper: bool) -> None:
    fields = [_rendered(challenge, upper) for challenge in challenges]
    assert list(parse_challenges(*fields)) == challenges
    assert list(parse_challenges(", ".join(fields))) == challenges


@given(st.one_of(st.text(max_size=60), st.lists(_PIECES, max_size=14).map("".join)))
@example('Bearer realm="' + '\\"' * 500)
@example("a=" * 500)
@example("a " * 500)
def test_any_field_is_read_to_its_end(field: str) -> None:
    for challenge in parse_challenges(field, 'Basic realm="behind"'):
        assert challenge.scheme == challenge.scheme.lower() != ""
        assert all(name == name.lower() != "" for name in challenge.parameters)
    assert parse_challenges(field, 'Basic realm="behind"')[-1] == Challenge(
        "basic", {"realm": "behind"}
    )


_ACTIONS = st.frozensets(st.sampled_from(["pull", "push", "delete", "*"]))
_SCOPES = st.one_of(
    st.builds(Scope, st.just("repository"), strategies.names, _ACTIONS),
    st.builds(Scope, st.just("repository"), strategies.names.map("host:5000/{}".format), _ACTIONS),
    st.just(Scope.catalog()),
)


@given(st.lists(_SCOPES, max_size=6))
def test_scopes_are_read_as_written_and_merging_loses_nothing(scopes: list[Scope]) -> None:
    assert [Scope.parse(str(scope)) for scope in scopes] == scopes
    merged = merge_scopes(scopes)
    assert parse_scopes(" ".join(map(str, scopes))) == merged == merge_scopes(merged)
    assert all(any(one.covers(scope) for one in merged) for scope in scopes)
    assert len({(scope.kind, scope.name) for scope in merged}) == len(merged)


@given(st.text(max_size=40))
def test_any_scope_is_written_as_it_was_read(text: str) -> None:
    scope = Scope.parse(text)
    assert Scope.parse(str(scope)) == scope
