"""Who may do what in the mock registry: what a request needs, and Basic authentication.

Tokens are in `mock_tokens`. Source: RFC 7617; distribution's token specification for scopes.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from entrepot.testing.mock_exchange import Exchange, Reply, Request
from entrepot.testing.mock_origin import MockOrigin

Guard = Callable[[Exchange], Reply | None]
"""Refuses a request, or lets it pass by returning None."""

Access = tuple[str, str, str]
"""A resource's type and name, and one action on it."""

_REPOSITORY: Final = re.compile(r"/v2/(?P<name>.+?)/(?:manifests|blobs|tags|referrers)(?:/.*)?")
_ACTIONS: Final = {"GET": ("pull",), "HEAD": ("pull",), "DELETE": ("delete",)}


def needed(request: Request) -> frozenset[Access]:
    """Return what a request needs: nothing for `/v2/`."""
    if request.path == "/v2/_catalog":
        return frozenset({("registry", "catalog", "*")})
    found = _REPOSITORY.fullmatch(request.path)
    if found is None:
        return frozenset()
    actions = _ACTIONS.get(request.method, ("pull", "push"))
    return frozenset(("repository", found["name"], action) for action in actions)


def render_scope(access: frozenset[Access]) -> str:
    """Return access as scopes, one per resource, with spaces between."""
    actions: dict[tuple[str, str], list[str]] = {}
    for kind, name, action in sorted(access):
        actions.setdefault((kind, name), []).append(action)
    return " ".join(f"{kind}:{name}:{','.join(found)}" for (kind, name), found in actions.items())


def parse_scopes(scopes: list[str]) -> frozenset[Access]:
    """Read scopes, repeated or with spaces between; a name may hold colons."""
    found = set()
    for scope in " ".join(scopes).split():
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        found |= {(kind, name, action) for action in actions.split(",")}
    return frozenset(found)


def parse_basic(header: str | None) -> tuple[str, str] | None:
    """Return name and password of an Authorization header, None if it has none."""
    scheme, _, credentials = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ("", "")
    name, _, password = text.partition(":")
    return name, password


def remember_users(origin: MockOrigin, users: Mapping[str, str]) -> None:
    """Count passwords, and how they are sent, among the secrets."""
    for name, password in users.items():
        if password:
            sent = base64.b64encode(f"{name}:{password}".encode()).decode()
            origin.secrets.update({password, sent})


def forget_mount(exchange: Exchange, may_pull: Callable[[str], bool]) -> None:
    """Let a mount be a plain upload where its source may not be read."""
    request = exchange.request
    source = request.parameter("from")
    if source is not None and not may_pull(source):
        kept = tuple(pair for pair in request.query if pair[0] not in ("mount", "from"))
        exchange.request = replace(request, query=kept)


def quoted(text: str) -> str:
    """Return a quoted-string (RFC 9110, section 5.6.4)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class BasicGuard:
    """Lets in who sends a known name and password."""

    def __init__(self, origin: MockOrigin, users: Mapping[str, str], realm: str) -> None:
        remember_users(origin, users)
        self._users = users
        self._challenge = f"Basic realm={quoted(realm)}"

    def __call__(self, exchange: Exchange) -> Reply | None:
        found = parse_basic(exchange.request.header("authorization"))
        if found is not None and self._users.get(found[0]) == found[1]:
            return None
        return Reply.of_error(401, "UNAUTHORIZED", headers={"WWW-Authenticate": self._challenge})
