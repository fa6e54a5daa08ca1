"""The faces beside the registry API: pages, tokens, statistics, notices of other registries.
Everything that is not `/v2/`, metrics or health."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from entrepot.oci.errors import RegistryError
from entrepot.services.upstream import Upstream
from entrepot.web import metrics, purge_hook, statistics, token, upstream_health
from entrepot.web.message import BodyIncomplete, Request, Response
from entrepot.web.pages.site import Site
from entrepot.web.purge_hook import PurgeHook
from entrepot.web.token import TokenService
from entrepot.web.v2 import errors
from entrepot.web.v2.guard import Guard


@dataclass(frozen=True, slots=True)
class Faces:
    """The guard, and what stands beside the API. `statistics` makes the answer of `/_/stats`,
    `upstreams` are those that are open; without `purge_hook`, notifications of registries are
    not taken."""

    guard: Guard
    tokens: TokenService
    site: Site
    statistics: Callable[[], Awaitable[Response]]
    upstreams: Callable[[], Mapping[str, Upstream]]
    purge_hook: PurgeHook | None = None

    async def answer(self, request: Request) -> Response | None:
        """Return the answer to a request, None if there is nothing at its path."""
        try:
            return await self._answer(request)
        except RegistryError as error:
            return errors.render(error)
        except BodyIncomplete as error:
            return errors.incomplete(error)

    async def _answer(self, request: Request) -> Response | None:
        if request.path == token.PATH:
            return await self.tokens.answer(request)
        if request.path == purge_hook.PATH and self.purge_hook is not None:
            return await self.purge_hook.answer(request)
        if request.method not in ("GET", "HEAD"):
            return None
        if request.path == statistics.HEALTH_PATH:
            return statistics.health()
        if request.path == statistics.STATISTICS_PATH:
            self.guard.check_page(request)
            return await self.statistics()
        if request.path == upstream_health.PATH:
            self.guard.check_page(request)
            return upstream_health.upstream_health(self.upstreams())
        if request.path == metrics.PATH:
            self.guard.check_metrics(request)
            return None  # the application has them
        return self.site.answer(request)
