"""The guard: who asks, and whether that one may; and how to log in if not.

It looks at every request under `/v2/` before anything else does, and at the pages that need a
login. A server that is private as a whole asks for Basic, which every client has; one with public
names, too, asks for tokens (`web/token`), for some clients fetch one only where `/v2/` itself tells
them to. Logins of clients end here: nothing passes them on.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from entrepot.oci.errors import NameInvalid, Unauthorized
from entrepot.oci.reference import RepositoryName
from entrepot.protocol.authorization import Bearer, Credentials, Login, parse_authorization
from entrepot.protocol.challenges import Scope
from entrepot.protocol.routes import (
    Base,
    Blob,
    Catalog,
    Manifest,
    Referrers,
    Route,
    StartUpload,
    TagsList,
    Upload,
)
from entrepot.services.access import Access, Action, Caller
from entrepot.services.gates import Actor
from entrepot.web.address import Address
from entrepot.web.message import Request

REALM: Final = "Entrepot"
"""What Basic is asked for; clients show it to people."""

MAX_NAME: Final = 64
"""How much of a user name is told, in characters."""

Report = Callable[[Request, str, str], None]
"""Told of every login or token that was refused: the request, the user name or an empty text, and
why. Never the password."""

AddressOf = Callable[[Request], Address]

InRepository = TagsList | Blob | StartUpload | Upload | Manifest | Referrers


class Guard:
    """Lets requests pass, or raises Unauthorized with the challenge that leads on."""

    def __init__(self, access: Access, address_of: AddressOf, report: Report) -> None:
        self._access = access
        self._address_of = address_of
        self._report = report

    def admit(self, request: Request, route: Route, name: str) -> None:
        """Note in the request who asks for a route, if that one may use the method on it.

        `name` is that of the repository which the route's name leads to: the cache's for what is
        mirrored (`docker.io/library/alpine`). It is empty for routes without one. Raise
        Unauthorized.
        """
        if self._access.open:
            return
        caller = self.caller(request)
        if isinstance(route, Base):
            if not self._access.may_enter(caller):
                raise self._refusal(request, caller)
        elif isinstance(route, Catalog):
            if not self._access.may_list(caller):
                raise self._refusal(request, caller, Scope.catalog())
        else:
            self._check_repository(request, caller, route, name or route.name)
        request.actor = caller.actor
        request.may_pull = partial(self._access.may_pull, caller)

    def check_metrics(self, request: Request) -> None:
        """Look at who asks for the metrics: they name upstreams and endpoints, which a server that
        is private as a whole tells nobody. Raise as `check_page`."""
        if self._access.closed:
            self.check_page(request)

    def check_page(self, request: Request) -> Actor:
        """Return who asks for a page that needs a login where there are any. Raise Unauthorized
        with a challenge that browsers and curl know."""
        try:
            caller = self.caller(request)
        except Unauthorized as error:
            error.challenge = _basic()
            raise
        if not self._access.may_list(caller):
            raise Unauthorized("this page needs a login; log in", challenge=_basic())
        return caller.actor

    def caller(self, request: Request) -> Caller:
        """Return who a request speaks for. Raise Unauthorized for a wrong login or token."""
        try:
            return self._access.authenticate(request.headers.get("authorization"))
        except Unauthorized as error:
            self._refused(request, error)
            token = isinstance(self._shown(request), Bearer)
            error.challenge = self._challenge(request, error="invalid_token" if token else "")
            raise

    def caller_for_token(self, request: Request) -> Caller:
        """Return who wants a token, by the login of the request. Raise Unauthorized."""
        try:
            return self._access.log_in(request.headers.get("authorization"))
        except Unauthorized as error:
            self._refused(request, error)
            error.challenge = _basic()
            raise

    def caller_of_form(self, request: Request, username: str, password: str) -> Caller:
        """Return who wants a token, by the login in a form. Raise Unauthorized."""
        try:
            return self._access.check(username, password)
        except Unauthorized as error:
            self._tell(request, username, error)
            error.challenge = _basic()
            raise

    def _refused(self, request: Request, error: Unauthorized) -> None:
        """Tell of a login that was refused; without any there is nothing to tell."""
        if request.headers.get("authorization") is not None:
            shown = self._shown(request)
            self._tell(request, shown.username if isinstance(shown, Login) else "", error)

    def _shown(self, request: Request) -> Credentials | None:
        return parse_authorization(request.headers.get("authorization") or "")

    def _tell(self, request: Request, username: str, error: Unauthorized) -> None:
        printable = "".join(one if one.isprintable() else "?" for one in username[:MAX_NAME])
        self._report(request, printable, error.message)

    def _check_repository(
        self, request: Request, caller: Caller, route: InRepository, name: str
    ) -> None:
        spelled = route.name
        action = _action(request.method, route)
        may = {
            "pull": self._access.may_pull,
            "push": self._access.may_push,
            "delete": self._access.may_delete,
        }[action]
        wanted = [Scope.repository(spelled, *_SCOPES[action])]
        allowed = may(caller, name, spelled, *_without_registry(name))
        source = _mount_source(request, route)
        if source is not None:
            wanted.append(Scope.repository(source, "pull"))
            allowed = allowed and self._access.may_pull(caller, source)
        if not allowed:
            raise self._refusal(request, caller, *wanted)

    def _refusal(self, request: Request, caller: Caller, *scopes: Scope) -> Unauthorized:
        if caller.scopes is None:
            return Unauthorized(
                "this needs a login; log in", challenge=self._challenge(request, *scopes)
            )
        return Unauthorized(
            "the token does not allow this; fetch one with a login that does",
            challenge=self._challenge(request, *scopes, error="insufficient_scope"),
        )

    def _challenge(self, request: Request, *scopes: Scope, error: str = "") -> str:
        if self._access.closed:
            return _basic()
        address = self._address_of(request)
        challenge = f'Bearer realm="{address}/token",service="{address.host}"'
        if scopes:
            challenge += f',scope="{" ".join(map(str, scopes))}"'
        return f'{challenge},error="{error}"' if error else challenge


_SCOPES: Final[dict[Action, tuple[str, ...]]] = {
    "pull": ("pull",),
    "push": ("pull", "push"),  # whoever pushes also looks what is there
    "delete": ("delete",),
}


def _basic() -> str:
    return f'Basic realm="{REALM}"'


def _action(method: str, route: Route) -> Action:
    if isinstance(route, StartUpload | Upload):
        return "push"
    if method in ("GET", "HEAD"):
        return "pull"
    return "delete" if method == "DELETE" else "push"


def _without_registry(name: str) -> tuple[str, ...]:
    """Return what clients may call a mirrored repository, too: their mirrors know the registry
    from `ns`, from the path or from the host."""
    registry, _, rest = name.partition("/")
    return (rest,) if rest and ("." in registry or ":" in registry) else ()


def _mount_source(request: Request, route: Route) -> str | None:
    """Return the repository that a blob is to be mounted from."""
    if not isinstance(route, StartUpload):
        return None
    parameters = dict(request.parameters())
    if "mount" not in parameters:
        return None
    try:
        return RepositoryName.parse(parameters.get("from", ""))
    except NameInvalid:
        return None  # whoever mounts refuses it
