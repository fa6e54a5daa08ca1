"""Health endpoints: is the process alive, and can it serve?"""

import asyncio
import json
from typing import Final

from entrepot.oci.errors import RegistryError
from entrepot.ports.content_store import CanPing
from entrepot.ports.delivery import Inline
from entrepot.services.registry import Registry
from entrepot.web.message import Response

LIVE_PATHS: Final = frozenset({"/livez"})
READY_PATHS: Final = frozenset({"/readyz", "/health", "/healthz"})
PATIENCE: Final = 5.0
"""Seconds the database may take to answer before the server counts as not ready."""


def live() -> Response:
    """Answer that the process handles requests."""
    return _status(200, {"status": "alive"})


async def ready(registry: Registry, *, stopping: bool) -> Response:
    """Answer 200 if both stores can serve, else 503 with what is wrong."""
    if stopping:
        return _status(503, {"status": "stopping"})
    try:
        async with asyncio.timeout(PATIENCE):
            await registry.metadata.ping()
            if isinstance(registry.content, CanPing):
                await registry.content.ping()
    except TimeoutError:
        return _status(503, {"status": "unhealthy", "cause": "the database does not answer"})
    except RegistryError as error:
        return _status(503, {"status": "unhealthy", "cause": error.message})
    return _status(200, {"status": "healthy"})


def _status(status: int, document: dict[str, str]) -> Response:
    return Response(
        status,
        [("Content-Type", "application/json"), ("Cache-Control", "no-store")],
        Inline(json.dumps(document).encode()),
    )
