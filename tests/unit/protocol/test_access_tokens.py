"""Access tokens: signed by one key, read by the same, and nothing else is."""

import base64
import hashlib
import hmac
from typing import Final

import pytest

from entrepot.oci.errors import Unauthorized
from entrepot.protocol.access_tokens import AccessToken, sign, verify
from entrepot.protocol.challenges import Scope

KEY: Final = bytes(32)
TOKEN: Final = AccessToken(
    "ada", (Scope.repository("apps/web", "pull", "push"),), issued_at=1000, expires_at=1300
)


def forged(payload: bytes) -> str:
    """Return a token of these claims, signed as ours are: by who has the key."""
    text = base64.urlsafe_b64encode(payload).rstrip(b"=")
    mac = hmac.digest(KEY, b"entrepot access token 1\0" + text, hashlib.sha256)
    return f"{text.decode()}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def test_it_fits_into_a_header_and_is_not_read_by_others() -> None:
    text = sign(TOKEN, KEY)
    assert text.isascii()
    assert not set(text) & set(' ,;"=')
    assert verify(text, KEY, 1299.9) == TOKEN


def test_it_is_good_until_it_ends() -> None:
    with pytest.raises(Unauthorized, match="over"):
        verify(sign(TOKEN, KEY), KEY, 1300.0)


def test_the_key_has_a_length() -> None:
    with pytest.raises(ValueError, match="32"):
        sign(TOKEN, bytes(31))


CLAIMS: Final = {
    "no JSON": b"{",
    "no object": b"[]",
    "nothing": b"{}",
    "no end": b'{"sub":"ada","iat":1,"access":[]}',
    "an end that is no number": b'{"sub":"ada","iat":1,"exp":"x","access":[]}',
    "access that is no list": b'{"sub":"ada","iat":1,"exp":9999,"access":1}',
    "a scope of one part": b'{"sub":"ada","iat":1,"exp":9999,"access":[["repository"]]}',
    "endless": b"[" * 20_000,
}


@pytest.mark.parametrize("claims", CLAIMS.values(), ids=CLAIMS.keys())
def test_claims_of_another_shape_are_refused(claims: bytes) -> None:
    with pytest.raises(Unauthorized):
        verify(forged(claims), KEY, 1000.0)


@pytest.mark.parametrize(
    "text", ["", ".", "a.b", "ä.b", "eyJhbGciOiJub25lIn0.e30.", "x" * 40_000 + ".y"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(Unauthorized):
        verify(text, KEY, 1000.0)
