"""Challenges and scopes: how a registry asks for credentials, and for which rights.

Source: RFC 9110, section 11; RFC 6750 (Bearer), RFC 7617 (Basic); distribution's token
authentication specification, "Scope". Which challenge is answered, and with what, is decided in
`adapters/remotes/authentication`.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from entrepot.oci.errors import Unauthorized

_GAP: Final = re.compile(r"[ \t,]*")
_SPACE: Final = re.compile(r"[ \t]*")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TOKEN68: Final = re.compile(r"([0-9A-Za-z\-._~+/]+=*)[ \t]*(?:,|\Z)")
_NAME: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
# More than the grammar's token: `realm=https://…` without quotes is seen, and clear.
_BARE: Final = re.compile(r'[^\s,"]+')
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
_CREDENTIAL: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge: scheme and parameter names in lower case, values as they were sent."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    token68: str = ""


def parse_challenges(*fields: str) -> tuple[Challenge, ...]:
    """Read the values of all WWW-Authenticate fields of a response, in their order.

    What is malformed is skipped: a parameter, or what is left of a field behind an open quote.
    A field does not suffer from the one before it. Of a repeated parameter the first counts.
    """
    return tuple(challenge for text in fields for challenge in _challenges(text))


def _challenges(text: str) -> Iterable[Challenge]:
    at = _skip(_GAP, text, 0)
    while at < len(text):
        scheme = _TOKEN.match(text, at)
        if scheme is None or _NAME.match(text, at):
            at = _skip(_GAP, text, _after_garbage(text, at))
            continue
        at = scheme.end()
        token68 = ""
        parameters: dict[str, str] = {}
        start = _skip(_SPACE, text, at)
        found = _TOKEN68.match(text, start) if start > at else None
        if found is not None:
            token68, at = found[1], found.end(1)
        elif start > at or text.startswith(",", start):
            at = _parameters(text, start, parameters)
        yield Challenge(scheme[0].lower(), parameters, token68)
        at = _skip(_GAP, text, at)


def _parameters(text: str, at: int, into: dict[str, str]) -> int:
    """Read parameters up to the next challenge; return where that starts."""
    while True:
        at = _skip(_GAP, text, at)
        name = _NAME.match(text, at)
        if name is None:
            # A word of its own is the next scheme; anything else is noise.
            if at >= len(text) or _TOKEN.match(text, at):
                return at
            at = _after_garbage(text, at)
            continue
        at = name.end()
        quoted = _QUOTED.match(text, at)
        bare = _BARE.match(text, at)
        if quoted is not None:
            into.setdefault(name[1].lower(), _QUOTED_PAIR.sub(r"\1", quoted[1]))
            at = quoted.end()
        elif bare is not None:
            into.setdefault(name[1].lower(), bare[0])
            at = bare.end()
        else:
            at = _after_garbage(text, at)


def _after_garbage(text: str, at: int) -> int:
    """Return where reading goes on behind something that is no part of a challenge."""
    if text.startswith('"', at):
        quoted = _QUOTED.match(text, at)
        return quoted.end() if quoted else len(text)
    while at < len(text) and text[at] not in ',"':
        at += 1
    return at


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


@dataclass(frozen=True, slots=True)
class Scope:
    """Rights on one resource, e.g. `repository:library/busybox:pull`.

    A scope of another shape (OAuth2 knows many) is kept whole in `kind`.
    """

    kind: str
    name: str = ""
    actions: frozenset[str] = frozenset()

    @classmethod
    def repository(cls, name: str, *actions: str) -> "Scope":
        """Return the scope of `pull`, `push`, `delete` or `*` in a repository."""
        return cls("repository", name, frozenset(actions))

    @classmethod
    def catalog(cls) -> "Scope":
        """Return the scope of listing all repositories."""
        return cls("registry", "catalog", frozenset({"*"}))

    @classmethod
    def parse(cls, text: str) -> "Scope":
        """Read one scope. It is split from both ends, because a name may hold `:`."""
        kind, colon, rest = text.partition(":")
        name, second, actions = rest.rpartition(":")
        if not colon or not second or not kind or not name:
            return cls(text)
        return cls(kind, name, frozenset(action for action in actions.split(",") if action))

    def covers(self, other: "Scope") -> bool:
        """Say whether who has this scope has the other as well."""
        same = self.kind == other.kind and self.name == other.name
        return same and self.actions >= other.actions

    def __str__(self) -> str:
        if not self.name:
            return self.kind
        return f"{self.kind}:{self.name}:{','.join(sorted(self.actions))}"


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """Read the scopes of a challenge, which are separated by spaces, and merge them."""
    return merge_scopes(Scope.parse(word) for word in text.split())


def merge_scopes(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Return one scope per resource with all actions asked for, in one order for equal sets."""
    actions: dict[tuple[str, str], frozenset[str]] = {}
    for scope in scopes:
        resource = (scope.kind, scope.name)
        actions[resource] = actions.get(resource, frozenset()) | scope.actions
    return tuple(Scope(kind, name, actions[kind, name]) for kind, name in sorted(actions))


def render_basic(username: str, password: str) -> str:
    """Return the Authorization value of a name and a password (RFC 7617, in UTF-8).

    Raise Unauthorized for what it cannot carry.
    """
    if ":" in username or _CONTROL.search(username) or _CONTROL.search(password):
        raise Unauthorized(
            "the user name holds ':' or the login a control character, which HTTP cannot carry; "
            "log in again"
        )
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")


def render_bearer(token: str) -> str:
    """Return the Authorization value of a token. Raise Unauthorized for what is none."""
    if _CREDENTIAL.fullmatch(token) is None:
        raise Unauthorized(
            "the token holds spaces or control characters, which HTTP cannot carry; log in again"
        )
    return f"Bearer {token}"
