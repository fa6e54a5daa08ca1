"""The site: which page is at which path, and for whom it is HTML, text or JSON.

/                   the page of a mirror, or of a server that redirects
/_/commands         the lines that pull an image: `?image=NAME&client=docker|podman|nerdctl`
/_/config           every client's configuration, as JSON
/_/config/CLIENT    one client's, as text; `?registry=NAME` one file where it has several
"""

import json
from collections.abc import Callable
from typing import Final

from entrepot.oci.errors import RegistryError
from entrepot.services.client_configuration import Configuration
from entrepot.services.pull_commands import CLIENTS, Client
from entrepot.web.address import Address
from entrepot.web.message import Request, Response
from entrepot.web.pages.layout import text_page
from entrepot.web.pages.mirror import Mirror
from entrepot.web.pages.redirecting import Redirecting

COMMANDS_PATH: Final = "/_/commands"
CONFIGURATION_PATH: Final = "/_/config"

_JSON: Final = "application/json"

Subject = Mirror | Redirecting


class Site:
    """Answers requests for pages. `subject` tells of the server as it is now."""

    def __init__(
        self, subject: Callable[[], Subject], address_of: Callable[[Request], Address]
    ) -> None:
        self._subject = subject
        self._address_of = address_of

    def answer(self, request: Request) -> Response | None:
        """Return the page at a request's path, None if there is none.

        Raise NameInvalid for a malformed Host.
        """
        path = request.path
        if path == "/":
            return self._front(request)
        if path == COMMANDS_PATH:
            return self._commands(request)
        if path == CONFIGURATION_PATH or path.startswith(f"{CONFIGURATION_PATH}/"):
            subject = self._subject()
            if isinstance(subject, Mirror):
                client = path[len(CONFIGURATION_PATH) :].strip("/")
                return self._configuration(request, subject, client)
        return None

    def _front(self, request: Request) -> Response:
        address, subject = self._address_of(request), self._subject()
        if not accepts_html(request):
            return text_page(subject.text(address))
        image, client = _asked(request, subject)
        shown, wrong = "", ""
        try:
            shown = subject.commands(address, image, client)
        except RegistryError as error:
            wrong = error.message
        return subject.page(address, image, client, shown, wrong)

    def _commands(self, request: Request) -> Response:
        address, subject = self._address_of(request), self._subject()
        image, client = _asked(request, subject)
        try:
            return text_page(f"{subject.commands(address, image, client)}\n")
        except RegistryError as error:
            return text_page(f"{error.message}\n", 400)

    def _configuration(self, request: Request, mirror: Mirror, client: str) -> Response:
        address = self._address_of(request)
        if not client:
            return text_page(mirror.document(address), media_type=_JSON)
        for one in mirror.configurations(address):
            if one.client == client:
                return _shown(request, one)
        known = ", ".join(one.client for one in mirror.configurations(address))
        return text_page(f"no client of that name is known here; there are {known}\n", 404)


def accepts_html(request: Request) -> bool:
    """Say whether who asks is a browser: programs that accept anything get text."""
    return any("text/html" in field.lower() for field in request.headers.all("accept"))


def _shown(request: Request, one: Configuration) -> Response:
    registry = dict(request.parameters()).get("registry")
    if registry is not None:
        found = [
            text for path, text in one.files.items() if path.endswith(f"/{registry}/hosts.toml")
        ]
        if len(found) != 1:
            return text_page("no file for that registry is needed here\n", 404)
        return text_page(found[0])
    if any(_JSON in field.lower() for field in request.headers.all("accept")):
        return text_page(json.dumps(dict(one.files), indent=2) + "\n", media_type=_JSON)
    return text_page(one.text)


def _asked(request: Request, subject: Subject) -> tuple[str, Client]:
    """Return the image and the client that a page is asked for, or what it shows unasked."""
    parameters = dict(request.parameters())
    image = parameters.get("image", "").strip()[:512]
    client: Client = next((one for one in CLIENTS if one == parameters.get("client")), "docker")
    return image or subject.example, client
