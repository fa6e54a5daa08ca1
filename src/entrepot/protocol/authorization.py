"""The Authorization field of a request: what a client shows of itself.

Source: RFC 9110, section 11.6.2; RFC 7617 (Basic), RFC 6750 (Bearer). How a client of ours writes
the field is in `challenges`.
"""

import base64
import binascii
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Login:
    """A user's name and password."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token."""

    token: str = field(repr=False)


Credentials = Login | Bearer


def parse_authorization(text: str) -> Credentials | None:
    """Read the field's value; None if it is of another scheme, or malformed.

    A password may hold `:`, a name may not. Both are UTF-8.
    """
    scheme, _, rest = text.strip(" \t").partition(" ")
    value = rest.strip(" \t")
    match scheme.lower():
        case "basic":
            return _login(value)
        case "bearer" if value:
            return Bearer(value)
        case _:
            return None


def _login(value: str) -> Login | None:
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    username, colon, password = text.partition(":")
    return Login(username, password) if colon else None
