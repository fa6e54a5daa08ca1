"""The face of redirected names, asked as the application asks it: path, route, source, answer."""

from collections.abc import Sequence

from entrepot.oci.errors import RegistryError
from entrepot.oci.reference import RepositoryName
from entrepot.protocol import mirror_paths, routes
from entrepot.rules.site_choice import trusted_networks
from entrepot.rules.source_routing import Question, RoutingTable, resolve
from entrepot.rules.sources import Redirected
from entrepot.services.redirects import Redirects
from entrepot.web.message import Header, Headers, Request, Response
from entrepot.web.v2 import errors, redirected

NOBODY = RepositoryName("nobody")


class RedirectFace:
    """Answers requests for redirected names; all others are 404."""

    def __init__(
        self, table: RoutingTable, redirects: Redirects, trusted: Sequence[str] = ()
    ) -> None:
        self._table = table
        self._redirects = redirects
        self._trusted = trusted_networks(trusted)

    async def __call__(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except RegistryError as error:
            return errors.render(error)

    async def _answer(self, request: Request) -> Response:
        prefix, path = mirror_paths.split(request.path)
        route = routes.parse(path)
        if isinstance(route, routes.Base):
            return Response(200)
        if route is None:
            return errors.refuse(404, "there is nothing")
        name = getattr(route, "name", NOBODY)
        ns = dict(request.parameters()).get("ns")
        host = request.headers.get("host") or ""
        source = resolve(self._table, Question(name, host, ns, prefix))
        if not isinstance(source, Redirected):
            return errors.refuse(404, "this is not elsewhere")
        return await redirected.answer(self._redirects, self._trusted, request, route, source)


async def ask(
    face: RedirectFace,
    target: str,
    *,
    method: str = "GET",
    headers: Sequence[Header] = (),
    client: str = "203.0.113.9",
) -> Response:
    """Send a request for `path?query` as the server would hand it over."""
    path, _, query = target.partition("?")
    return await face(Request(method, path, query, Headers(headers), client=client))


def location(response: Response) -> str | None:
    """Return where a response leads, None if it leads nowhere."""
    return dict(response.headers).get("Location")
