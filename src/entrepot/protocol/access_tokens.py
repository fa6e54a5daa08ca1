"""Access tokens that we give and that only we read: who may do what, until when.

A token is `<claims>.<mac>`, both in base64url without padding: claims are compact JSON, the MAC is
HMAC-SHA256 over a label of ours and the claims. There is one algorithm and no header that could
name another. To clients a token is opaque (distribution's token authentication specification,
"Using the token"), so it need not be a JWT.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from entrepot.oci.errors import Unauthorized
from entrepot.protocol.challenges import Scope

KEY_BYTES: Final = 32
"""How long a key must be at least."""

MAX_LENGTH: Final = 32 * 1024
"""Longest token in characters; it travels in a header."""

_LABEL: Final = b"entrepot access token 1\0"
_INVALID: Final = "the token is not one of this server's; fetch a new one"


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a token says. `subject` is a user's name, empty for anybody; times are Unix seconds.

    Scopes only restrict what the subject may do; they give nobody more.
    """

    subject: str
    scopes: tuple[Scope, ...]
    issued_at: int
    expires_at: int


def sign(token: AccessToken, key: bytes) -> str:
    """Return the token's text. Raise ValueError if the key is too short."""
    claims = {
        "sub": token.subject,
        "iat": token.issued_at,
        "exp": token.expires_at,
        "access": [[one.kind, one.name, sorted(one.actions)] for one in token.scopes],
    }
    payload = _encoded(json.dumps(claims, separators=(",", ":")).encode())
    return f"{payload}.{_encoded(_mac(payload, key))}"


def verify(text: str, key: bytes, now: float) -> AccessToken:
    """Read a token. Raise Unauthorized if it was not signed with the key, or is over."""
    payload, dot, mac = text.rpartition(".")
    if not dot or len(text) > MAX_LENGTH or not text.isascii():
        raise Unauthorized(_INVALID)
    if not hmac.compare_digest(mac, _encoded(_mac(payload, key))):
        raise Unauthorized(_INVALID)
    try:
        token = _read(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))
    except (binascii.Error, ValueError, TypeError, KeyError, RecursionError):
        raise Unauthorized(_INVALID) from None
    if now >= token.expires_at:
        raise Unauthorized("the token is over; fetch a new one")
    return token


def _read(claims: Any) -> AccessToken:
    access: Sequence[Any] = claims["access"]
    scopes = tuple(Scope(kind, name, frozenset(actions)) for kind, name, actions in access)
    return AccessToken(claims["sub"], scopes, int(claims["iat"]), int(claims["exp"]))


def _mac(payload: str, key: bytes) -> bytes:
    if len(key) < KEY_BYTES:
        raise ValueError(f"a key of {KEY_BYTES} bytes")
    return hmac.digest(key, _LABEL + payload.encode("ascii"), hashlib.sha256)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
