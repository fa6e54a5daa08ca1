"""The application: every request enters here and every response leaves here.

It finds the face that answers, turns refusals into responses, and keeps the books (request
ids, metrics, access log).
"""

import itertools
import secrets
import time
from collections.abc import Callable
from typing import Final

from entrepot.logs import AccessLog
from entrepot.oci.errors import RegistryError
from entrepot.ports.delivery import Inline
from entrepot.protocol import mirror_paths, routes
from entrepot.services.registry import Registry
from entrepot.web import health, metrics
from entrepot.web.faces import Faces
from entrepot.web.message import BodyIncomplete, Header, Request, Response
from entrepot.web.metrics import Metrics
from entrepot.web.v2 import errors
from entrepot.web.v2.api import NAMES, Api

NOSNIFF: Final[Header] = ("X-Content-Type-Options", "nosniff")
"""Keeps browsers from taking content for anything but what its Content-Type says."""


class WebApplication:
    """Answers requests; `observe` is told when their responses have left.

    `fault(request, error)` is told of exceptions that no one expected.
    """

    def __init__(
        self,
        registry: Registry,
        api: Api,
        metrics: Metrics,
        access_log: AccessLog | None,
        fault: Callable[[Request, Exception], None],
        faces: Faces | None = None,
    ) -> None:
        self._registry = registry
        self._api = api
        self._metrics = metrics
        self._access_log = access_log
        self._fault = fault
        self._faces = faces
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self.stopping = False

    async def __call__(self, request: Request) -> Response:
        """Answer a request; never raises."""
        request.id = f"{self._prefix}-{next(self._numbers):x}"
        try:
            prefix, path = mirror_paths.split(request.path)
            if path.startswith("/v2"):
                response = await self._answer_v2(request, prefix, path)
            else:
                response = await self._answer_other(request)
        except Exception as error:
            self._fault(request, error)
            response = errors.refuse(
                500, f"the server failed; its log says why under request {request.id}"
            )
            response.close = True
        response.headers += (("X-Request-Id", request.id), NOSNIFF)
        return response

    def observe(self, request: Request, response: Response, sent: int, seconds: float) -> None:
        """Record a response that has left, or was given up, after `sent` bytes of body."""
        if request.handler:
            self._metrics.end(
                request.handler,
                request.method,
                response.status,
                seconds,
                request.body.length or 0,
                sent,
            )
        if self._access_log is not None:
            self._access_log.write(
                time.time(),
                request.id,
                request.client,
                request.method,
                request.path,
                request.query,
                response.status,
                sent,
                seconds,
                request.headers.get("user-agent") or "",
            )

    async def _answer_v2(self, request: Request, prefix: str, path: str) -> Response:
        try:
            route = routes.parse(path)
            if route is not None and not request.handler:  # the server may ask a second time
                request.handler = handler = NAMES[type(route)]
                self._metrics.begin(handler)
            return await self._api.answer(request, route, prefix)
        except RegistryError as error:
            return self._api.mark(errors.render(error))
        except BodyIncomplete as error:
            return self._api.mark(errors.incomplete(error))

    async def _answer_other(self, request: Request) -> Response:
        path = request.path
        if self._faces is not None:
            response = await self._faces.answer(request)
            if response is not None:
                return response
        if request.method not in ("GET", "HEAD"):
            return errors.refuse(404, f"there is nothing at {path[:300]!r}")
        if path == metrics.PATH:
            return Response(
                200,
                [("Content-Type", metrics.CONTENT_TYPE), ("Cache-Control", "no-store")],
                Inline(await self._metrics.scrape()),
            )
        if path in health.LIVE_PATHS:
            return health.live()
        if path in health.READY_PATHS:
            return await health.ready(self._registry, stopping=self.stopping)
        return errors.refuse(
            404, f"there is nothing at {path[:300]!r}; the registry API is at /v2/"
        )
