"""Access: who is asking, what they may do, and tokens that say so.

One user today, as the settings `access.*` have it; users, roles and other identities will grow
here, behind the same questions. Names are those of the cache for what is mirrored
(`docker.io/library/alpine`), and repository names for what is hosted.

A token restricts what its subject may do and gives nobody more: every question is answered for
the subject as it is now. Wrong passwords are not slowed down and lock nobody out: a password has
to be long, and the one who asks is in the log.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from entrepot.oci.errors import Denied, Unauthorized
from entrepot.ports.clock import Clock
from entrepot.protocol.access_tokens import KEY_BYTES, AccessToken, sign, verify
from entrepot.protocol.authorization import Login, parse_authorization
from entrepot.protocol.challenges import Scope, merge_scopes
from entrepot.rules.name_patterns import NamePatterns
from entrepot.services.gates import ANONYMOUS, Actor

Action = Literal["pull", "push", "delete"]
NameOf = Callable[[str], str]

EVERYTHING: Final = "*"
"""The action of a token that allows every other one."""

MAX_TOKEN: Final = 16 * 1024
"""Longest token given, in characters: clients send it in a header."""

_ACTIONS: Final = frozenset({"pull", "push", "delete", EVERYTHING})
_LISTING: Final = Scope.catalog()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a user, or anybody (an empty name). `scopes` are those of the token that was
    shown, None without one."""

    username: str = ""
    scopes: tuple[Scope, ...] | None = None

    @property
    def actor(self) -> Actor:
        """What gates, sessions and events know of who asks."""
        return Actor(self.username) if self.username else ANONYMOUS


ANYBODY: Final = Caller()


@dataclass(frozen=True, slots=True)
class Grant:
    """A token for a client, what it allows, and for how many seconds from `issued_at`."""

    token: str
    scopes: tuple[Scope, ...]
    expires_in: int
    issued_at: int


class Access:
    """Answers who may do what.

    Without a user everybody may do everything and no login is looked at: clients send mirrors the
    logins of other registries. `private` are patterns of the names that only the user may pull;
    all others anybody may. `key` signs tokens, which are good for `token_ttl` seconds.
    """

    def __init__(
        self,
        username: str,
        password: str,
        private: Sequence[str],
        key: bytes,
        token_ttl: float,
        clock: Clock,
    ) -> None:
        if bool(username) != bool(password):
            raise ValueError("a user needs both a name and a password")
        if len(key) < KEY_BYTES:
            raise ValueError(f"a key of {KEY_BYTES} bytes")
        self._username = username
        self._private = NamePatterns.of(private)
        # A new password ends all tokens; equal lengths make comparing tell nothing.
        self._key = hmac.digest(key, _joined("token", username, password), hashlib.sha256)
        self._login = self._digest(username, password)
        self._ttl = int(token_ttl)
        self._clock = clock
        self.open = not username
        """Whether everybody may do everything."""
        self.closed = not self.open and any(set(text) == {"*"} for text in private)
        """Whether nothing may be read without a login."""

    def authenticate(self, authorization: str | None) -> Caller:
        """Return who an Authorization field (None without one) speaks of.

        Raise Unauthorized if its login or token is wrong, also where none is needed.
        """
        if self.open or authorization is None:
            return ANYBODY
        shown = parse_authorization(authorization)
        if isinstance(shown, Login):
            return self._logged_in(shown)
        if shown is None:
            raise Unauthorized("the Authorization field is not understood; use Basic or Bearer")
        token = verify(shown.token, self._key, self._clock.now())
        return Caller(token.subject, token.scopes)

    def log_in(self, authorization: str | None) -> Caller:
        """Do the same for who wants a token: a token does not do."""
        if self.open:
            return ANYBODY
        if authorization is None:
            return self._anybody()
        shown = parse_authorization(authorization)
        if not isinstance(shown, Login):
            raise Unauthorized("a token is given for a user name and a password; log in")
        return self._logged_in(shown)

    def check(self, username: str, password: str) -> Caller:
        """Return the user of this name and password. Raise Unauthorized if there is none."""
        return ANYBODY if self.open else self._logged_in(Login(username, password))

    def may_enter(self, caller: Caller) -> bool:
        """Say whether `/v2/` itself is answered: without, clients would not ask for a token."""
        if self.open or caller.username:
            return True
        return not self.closed and caller.scopes is not None

    def may_pull(self, caller: Caller, name: str, *spellings: str) -> bool:
        """Say whether a caller may read a repository. `spellings` are other ways to write its
        name, which a token may have instead."""
        if self.open or self._is_public(name):
            return True
        return bool(caller.username) and _allows(caller, "pull", (name, *spellings))

    def may_push(self, caller: Caller, name: str, *spellings: str) -> bool:
        """Say whether a caller may write to a repository."""
        return self._may_change(caller, "push", (name, *spellings))

    def may_delete(self, caller: Caller, name: str, *spellings: str) -> bool:
        """Say whether a caller may delete from a repository."""
        return self._may_change(caller, "delete", (name, *spellings))

    def may_list(self, caller: Caller) -> bool:
        """Say whether a caller may see all names, and the statistics."""
        if self.open:
            return True
        listing = caller.scopes is None or any(one.covers(_LISTING) for one in caller.scopes)
        return bool(caller.username) and listing

    def grant(self, caller: Caller, scopes: Iterable[Scope], name_of: NameOf = str) -> Grant:
        """Return a token with what a caller may do of what is asked for: maybe nothing.

        `name_of` tells the name of a repository that a client spells in a way of its own. Raise
        Denied if the token would be too long for a header.
        """
        allowed = tuple(
            Scope(one.kind, one.name, actions)
            for one in merge_scopes(scopes)
            if (actions := self._granted(caller, one, name_of))
        )
        now = int(self._clock.now())
        token = sign(AccessToken(caller.username, allowed, now, now + self._ttl), self._key)
        if len(token) > MAX_TOKEN:
            raise Denied(
                f"a token for {len(allowed)} repositories is too long; ask for fewer at once"
            )
        return Grant(token, allowed, self._ttl, now)

    def _granted(
        self, caller: Caller, scope: Scope, name_of: Callable[[str], str]
    ) -> frozenset[str]:
        trusted = self.open or bool(caller.username)
        if scope.kind == "repository":
            if trusted:
                return scope.actions & _ACTIONS
            wanted = bool({"pull", EVERYTHING} & scope.actions)
            return frozenset({"pull"} if wanted and self._is_public(name_of(scope.name)) else ())
        listing = (scope.kind, scope.name) == (_LISTING.kind, _LISTING.name)
        return scope.actions & _LISTING.actions if trusted and listing else frozenset()

    def _may_change(self, caller: Caller, action: Action, names: tuple[str, ...]) -> bool:
        if self.open:
            return True
        return bool(caller.username) and _allows(caller, action, names)

    def _is_public(self, name: str) -> bool:
        return not self.closed and self._private.first(name) is None

    def _anybody(self) -> Caller:
        if self.closed:
            raise Unauthorized("nothing is public here; log in")
        return ANYBODY

    def _logged_in(self, login: Login) -> Caller:
        if not hmac.compare_digest(self._digest(login.username, login.password), self._login):
            raise Unauthorized("the user name or the password is wrong; log in again")
        return Caller(self._username)

    def _digest(self, username: str, password: str) -> bytes:
        return hmac.digest(self._key, _joined("login", username, password), hashlib.sha256)


def _allows(caller: Caller, action: Action, names: tuple[str, ...]) -> bool:
    return caller.scopes is None or any(
        one.kind == "repository" and one.name in names and {action, EVERYTHING} & one.actions
        for one in caller.scopes
    )


def _joined(*parts: str) -> bytes:
    """Return parts as bytes, such that different parts never give the same."""
    encoded = (part.encode(errors="surrogateescape") for part in parts)
    return b"".join(b"%d:%b" % (len(part), part) for part in encoded)
