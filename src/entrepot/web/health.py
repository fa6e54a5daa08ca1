"""Health endpoints: is the process alive, and can it serve?"""

import asyncio
from typing import Final

from entrepot.oci.errors import RegistryError
from entrepot.ports.content_store import CanPing
from entrepot.services.registry import Registry
from entrepot.web.documents import respond_with_document
from entrepot.web.message import Response

LIVE_PATHS: Final = frozenset({"/livez"})
READY_PATHS: Final = frozenset({"/readyz", "/health", "/healthz"})
PATIENCE: Final = 5.0
"""Seconds the database may take to answer before the server counts as not ready."""


def live() -> Response:
    """Answer that the process handles requests."""
    return respond_with_document({"status": "alive"})


async def ready(registry: Registry, *, stopping: bool) -> Response:
    """Answer 200 if both stores can serve, else 503 with what is wrong."""
    if stopping:
        return _not_ready({"status": "stopping"})
    try:
        async with asyncio.timeout(PATIENCE):
            await registry.metadata.ping()
            if isinstance(registry.content, CanPing):
                await registry.content.ping()
    except TimeoutError:
        return _not_ready({"status": "unhealthy", "cause": "the database does not answer"})
    except RegistryError as error:
        return _not_ready({"status": "unhealthy", "cause": error.message})
    return respond_with_document({"status": "healthy"})


def _not_ready(document: dict[str, str]) -> Response:
    return respond_with_document(document, status=503)
