"""Names that are elsewhere: GET and HEAD are answered with 307 to where the content is.

Only what the distribution-spec names is forwarded. A Location is built from parsed values, never
from the path that was received, so that whatever is malformed has been refused before.
"""

from typing import Final

from entrepot.oci.errors import Unsupported
from entrepot.ports.delivery import Redirect
from entrepot.protocol import routes
from entrepot.rules.site_choice import NetworkTable, client_address
from entrepot.rules.sources import Redirected
from entrepot.services.redirects import Redirects
from entrepot.web.content import deliver
from entrepot.web.message import Request, Response
from entrepot.web.v2 import errors

_READS: Final = ("GET", "HEAD")


async def answer(
    redirects: Redirects,
    trusted: NetworkTable[bool],
    request: Request,
    route: routes.Route,
    source: Redirected,
) -> Response:
    """Return the response to a request for a route whose name is a redirected one.

    `trusted` are the proxies in front whose `X-Forwarded-For` is believed. Raise RegistryError.
    """
    match route:
        case routes.Manifest() | routes.Blob() | routes.TagsList() | routes.Referrers():
            if request.method not in _READS:
                return _refused(request, source, ", ".join(_READS))
        case routes.StartUpload() | routes.Upload():
            return _refused(request, source, "")
        case routes.Base() | routes.Catalog():
            return errors.refuse(404, "what is elsewhere is not listed here; ask for it by name")
    client = client_address(request.client, request.headers.all("x-forwarded-for"), trusted)
    try:
        url = await redirects.target(source, route, query=request.query, client=client)
    except Unsupported as error:
        return errors.refuse(400, error.message)
    return deliver(200, [], Redirect(url))


def _refused(request: Request, source: Redirected, allowed: str) -> Response:
    response = errors.refuse(
        405,
        f"{request.method[:40]} is not possible here: images of this name are at "
        f"{source.upstream}; push them there",
    )
    response.headers.append(("Allow", allowed))
    return response
