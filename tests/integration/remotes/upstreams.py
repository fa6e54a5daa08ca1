"""Upstream endpoints as a server opens them, for tests on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from entrepot.adapters.remotes.upstream_endpoint import HttpEndpoint
from entrepot.adapters.remotes.upstream_endpoints import Transports, open_endpoint
from entrepot.config.upstreams import UpstreamSettings
from entrepot.oci.digest import Digest
from entrepot.oci.reference import RepositoryName
from entrepot.ports.upstream_endpoint import Exchanged
from entrepot.testing.mock_exchange import Exchange, Reply
from tests.remote_registries import name


@asynccontextmanager
async def opened(
    url: str,
    *,
    exchanges: list[Exchanged] | None = None,
    warnings: list[str] | None = None,
    transports: Transports | None = None,
    environ: dict[str, str] | None = None,
    **settings: Any,
) -> AsyncIterator[HttpEndpoint]:
    """Open an endpoint with an upstream's settings, and close it."""
    endpoint = open_endpoint(
        url,
        UpstreamSettings(**settings),
        environ=environ or {},
        on_exchange=None if exchanges is None else exchanges.append,
        on_warning=(warnings if warnings is not None else []).append,
        transports=transports,
    )
    try:
        yield endpoint
    finally:
        await endpoint.close()


async def read(
    endpoint: HttpEndpoint, digest: Digest, offset: int = 0, of: RepositoryName | None = None
) -> bytes:
    """Return a blob's bytes, from where the endpoint begins."""
    found = bytearray()
    async with endpoint.blob(of or name(), digest, offset) as blob:
        await blob.pour(found.extend)
    return bytes(found)


@dataclass(frozen=True, slots=True)
class Below:
    """What a mock does that is asked below a path: nothing is anywhere else."""

    prefix: str

    async def __call__(self, exchange: Exchange) -> Reply:
        path = exchange.request.path
        if not path.startswith(f"{self.prefix}/v2/"):
            return Reply.of_error(404, "NAME_UNKNOWN", "nothing is here")
        exchange.request = replace(exchange.request, path=path.removeprefix(self.prefix))
        return await exchange.proceed()
