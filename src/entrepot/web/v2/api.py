"""Dispatch under `/v2/`: a route and a method to the handler of one noun."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from entrepot.oci.errors import Denied, NameUnknown, Unsupported
from entrepot.oci.reference import is_host
from entrepot.protocol import routes
from entrepot.protocol.warnings import render_warnings
from entrepot.rules.site_choice import NetworkTable
from entrepot.rules.source_routing import Question
from entrepot.rules.sources import Hosted, Mirrored, Redirected
from entrepot.services.proxy import Proxy
from entrepot.services.registry import Registry
from entrepot.web.address import host_of
from entrepot.web.message import Header, Request, Response
from entrepot.web.v2 import (
    blobs,
    catalog,
    errors,
    manifests,
    mirrored,
    redirected,
    referrers,
    tags,
    uploads,
    version_check,
)
from entrepot.web.v2.guard import Guard
from entrepot.web.v2.pages import Paging

Handler = Callable[[Registry, Request, Any], Awaitable[Response]]

VERSION: Final = ("Docker-Distribution-API-Version", "registry/2.0")

NAMES: Final[Mapping[type[routes.Route], str]] = {
    routes.Base: "base",
    routes.Catalog: "catalog",
    routes.TagsList: "tags",
    routes.Blob: "blob",
    routes.StartUpload: "blob_upload",
    routes.Upload: "blob_upload_chunk",
    routes.Manifest: "manifest",
    routes.Referrers: "referrers",
}
"""What metrics call each route: distribution's names, so that its dashboards work."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the API tells or grants clients. `chunk_min_length` is in bytes, 0 for none."""

    page_size: int = 1000
    chunk_min_length: int = 0
    warnings: tuple[str, ...] = ()


class Api:
    """Answers requests under `/v2/`. `trusted` are the proxies in front; without a `guard`
    everybody may do everything."""

    def __init__(
        self,
        registry: Registry,
        options: Options,
        *,
        guard: Guard | None = None,
        trusted: NetworkTable[bool] | None = None,
    ) -> None:
        self._registry = registry
        self._guard = guard
        self._trusted = trusted or NetworkTable()
        self._headers: list[Header] = [VERSION]
        self._headers += [("Warning", value) for value in render_warnings(options.warnings)]
        self._handlers = _handlers(
            Paging(options.page_size, options.page_size), options.chunk_min_length
        )

    async def answer(
        self, request: Request, route: routes.Route | None, prefix: str = ""
    ) -> Response:
        """Return the response to a request for a route that `routes.parse` found.

        `prefix` is the registry that the path named in front of it, or empty. Raise RegistryError
        for what services refuse.
        """
        if route is None:
            return self.mark(errors.refuse(404, f"there is nothing at {request.path[:300]!r}"))
        if self._registry.proxy is not None and (prefix or not self._registry.proxy.table.plain):
            return await self._proxied(self._registry.proxy, request, route, prefix)
        try:
            return await self._hosted(request, route)
        except NameUnknown as error:
            # Nobody hosts this by a registry's name: whoever asks means the registry.
            host, slash, _ = str(getattr(route, "name", "")).partition("/")
            if self._registry.proxy is None or not (slash and "." in host and is_host(host)):
                raise
            raise NameUnknown(
                f"{error.message}; to pull from {host} through this server, run "
                f"`entrepot upstream add {host}` on it",
                detail=error.detail,
            ) from None

    async def _proxied(
        self, proxy: Proxy, request: Request, route: routes.Route, prefix: str
    ) -> Response:
        """Answer where names may lead to other registries."""
        if isinstance(route, routes.Base | routes.Catalog):
            if isinstance(route, routes.Catalog) and proxy.table.everything is not None:
                return self.mark(errors.refuse(404, "what is elsewhere is not listed here"))
            return await self._hosted(request, route)
        namespace = _namespace(request)
        try:
            source = proxy.source(Question(route.name, host_of(request), namespace, prefix))
        except Denied:
            # Whoever has not logged in where that is needed is asked to, before anything else.
            self._admit(request, routes.Base(), "")
            raise
        self._admit(request, route, source.access_name)
        match source:
            case Mirrored():
                response = await mirrored.answer(proxy.mirror, request, source, route)
            case Redirected():
                response = await redirected.answer(
                    proxy.redirects, self._trusted, request, route, source
                )
            case Hosted():
                return await self._dispatch(request, route)
        if namespace:
            response.headers.append(("OCI-Namespace", source.upstream))
        return self.mark(response)

    async def _hosted(self, request: Request, route: routes.Route) -> Response:
        self._admit(request, route, str(getattr(route, "name", "")))
        return await self._dispatch(request, route)

    def _admit(self, request: Request, route: routes.Route, name: str) -> None:
        """Let the guard look at a request for the repository `name`. Raise Unauthorized."""
        if self._guard is not None:
            self._guard.admit(request, route, name)

    async def _dispatch(self, request: Request, route: routes.Route) -> Response:
        methods = self._handlers[type(route)]
        handler = methods.get(request.method)
        if handler is None:
            allowed = ", ".join(methods)
            refusal = errors.refuse(
                405, f"{request.method[:40]} is not possible here; use {allowed}"
            )
            refusal.headers.append(("Allow", allowed))
            return self.mark(refusal)
        try:
            response = await handler(self._registry, request, route)
        except Unsupported as error:
            others = ", ".join(method for method in methods if method != request.method)
            response = errors.render(error, [("Allow", others)])
        return self.mark(response)

    def mark(self, response: Response) -> Response:
        """Add the headers that every response under `/v2/` carries."""
        response.headers += self._headers
        return response


def _namespace(request: Request) -> str | None:
    """Return the registry that the client says it means (`ns`); containerd and BuildKit do."""
    if "ns=" not in request.query:
        return None
    return next((value for key, value in request.parameters() if key == "ns" and value), None)


def _handlers(
    paging: Paging, chunk_min_length: int
) -> Mapping[type[routes.Route], Mapping[str, Handler]]:
    def reading(handler: Handler) -> dict[str, Handler]:
        return {"GET": handler, "HEAD": handler}

    return {
        routes.Base: reading(version_check.get),
        routes.Catalog: reading(partial(catalog.get, paging=paging)),
        routes.TagsList: reading(partial(tags.get, paging=paging)),
        routes.Referrers: reading(partial(referrers.get, paging=paging)),
        routes.Blob: {**reading(blobs.get), "DELETE": blobs.delete},
        routes.Manifest: {
            **reading(manifests.get),
            "PUT": manifests.put,
            "DELETE": manifests.delete,
        },
        routes.StartUpload: {"POST": partial(uploads.post, chunk_min_length=chunk_min_length)},
        routes.Upload: {
            **reading(uploads.get),
            "PATCH": uploads.patch,
            "PUT": uploads.put,
            "DELETE": uploads.delete,
        },
    }
