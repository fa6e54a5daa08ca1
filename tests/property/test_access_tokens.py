"""Access tokens: what is signed is read, and nothing that was touched is."""

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from entrepot.oci.errors import Unauthorized
from entrepot.protocol.access_tokens import AccessToken, sign, verify
from entrepot.protocol.challenges import Scope
from tests.property import strategies

_ALPHABET = string.ascii_letters + string.digits + "-_."
_KEYS = st.binary(min_size=32, max_size=32)
_SCOPES = st.builds(
    Scope,
    st.sampled_from(["repository", "registry"]),
    strategies.names,
    st.frozensets(st.sampled_from(["pull", "push", "delete", "*"])),
)
_TOKENS = st.builds(
    AccessToken,
    st.text(max_size=20),
    st.lists(_SCOPES, max_size=4).map(tuple),
    st.integers(0, 2**40),
    st.integers(1, 2**40),
)


@given(_TOKENS, _KEYS)
def test_what_is_signed_is_read_until_it_ends(token: AccessToken, key: bytes) -> None:
    text = sign(token, key)
    assert verify(text, key, token.expires_at - 1) == token
    with pytest.raises(Unauthorized):
        verify(text, key, token.expires_at)


@given(_TOKENS, _KEYS, st.data())
def test_no_other_character_does(token: AccessToken, key: bytes, data: st.DataObject) -> None:
    text = sign(token, key)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(_ALPHABET))
    assume(text[place] != other)
    with pytest.raises(Unauthorized):
        verify(text[:place] + other + text[place + 1 :], key, 0)
    with pytest.raises(Unauthorized):
        verify(text[:place], key, 0)


@given(_TOKENS, _KEYS, _KEYS)
def test_no_other_key_does(token: AccessToken, key: bytes, other: bytes) -> None:
    assume(key != other)
    with pytest.raises(Unauthorized):
        verify(sign(token, key), other, 0)


@given(st.one_of(st.text(max_size=80), st.text(_ALPHABET, max_size=80)), _KEYS)
def test_any_text_is_refused_in_words(text: str, key: bytes) -> None:
    with pytest.raises(Unauthorized):
        verify(text, key, 0)
