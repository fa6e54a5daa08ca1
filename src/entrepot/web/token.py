"""`/token`: the token service of distribution's token authentication specification.

GET takes the login as Basic, or none for what is public; POST takes an OAuth2 form with the grant
`password`, as containerd sends it. Both answer with what may be done of what was asked for.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl

from entrepot.oci.errors import SizeInvalid, Unsupported
from entrepot.protocol.challenges import Scope
from entrepot.services.access import Access, Caller
from entrepot.web.bodies import read_body
from entrepot.web.documents import respond_with_document
from entrepot.web.message import Request, Response
from entrepot.web.v2 import errors
from entrepot.web.v2.guard import Guard

PATH: Final = "/token"
MAX_FORM: Final = 64 * 1024
"""Largest form in bytes."""

_METHODS: Final = "GET, POST"

Parameters = list[tuple[str, str]]
NameOf = Callable[[Request, str], str]
"""Tells the name of the repository that a client spells in its own way."""


class TokenService:
    """Answers requests for tokens."""

    def __init__(
        self, access: Access, guard: Guard, name_of: NameOf = lambda _, name: name
    ) -> None:
        self._access = access
        self._guard = guard
        self._name_of = name_of

    async def answer(self, request: Request) -> Response:
        """Return the answer to a request at `PATH`. Raise Unauthorized for a wrong login, Denied
        for more than a token can hold, BodyIncomplete."""
        match request.method:
            case "GET" | "HEAD":
                caller = self._guard.caller_for_token(request)
                return self._render(request, caller, request.parameters())
            case "POST":
                form = await _form(request)
                return self._render(request, self._caller_of(request, dict(form)), form)
            case _:
                return errors.render(
                    Unsupported(f"{request.method[:40]} is not possible here; use {_METHODS}"),
                    [("Allow", _METHODS)],
                )

    def _caller_of(self, request: Request, form: dict[str, str]) -> Caller:
        """Return whom a form's login speaks for (RFC 6749, section 4.3)."""
        if form.get("grant_type") != "password":
            raise Unsupported("the only grant_type here is password; log in with one")
        return self._guard.caller_of_form(
            request, form.get("username", ""), form.get("password", "")
        )

    def _render(self, request: Request, caller: Caller, parameters: Parameters) -> Response:
        words = (word for name, text in parameters if name == "scope" for word in text.split())
        grant = self._access.grant(
            caller, map(Scope.parse, words), lambda name: self._name_of(request, name)
        )
        issued = datetime.fromtimestamp(grant.issued_at, UTC)
        document = {
            "token": grant.token,
            "access_token": grant.token,
            "token_type": "Bearer",
            "scope": " ".join(map(str, grant.scopes)),
            "expires_in": grant.expires_in,
            "issued_at": issued.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return respond_with_document(document)


async def _form(request: Request) -> Parameters:
    body = await read_body(request, MAX_FORM, _too_large)
    return parse_qsl(body.decode(errors="replace"), keep_blank_values=True)


def _too_large(limit: int) -> SizeInvalid:
    return SizeInvalid(f"the form is above {limit} bytes; ask for fewer repositories at once")
