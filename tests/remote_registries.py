"""Remote registries as the client opens them: transport, session and registry put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from entrepot.adapters.remotes.registry import HttpRegistry
from entrepot.adapters.remotes.retries import Retries
from entrepot.adapters.remotes.session import Session
from entrepot.adapters.remotes.transport import CurlTransport
from entrepot.oci.reference import RepositoryName
from entrepot.ports.credential_store import CredentialStore
from entrepot.rules.retries import RetryPolicy

QUICK = RetryPolicy(retries=5, first=0.05, most=0.4)
"""Repeats as often as the client does, without its pauses."""


@asynccontextmanager
async def remote(
    host: str,
    credentials: CredentialStore | None = None,
    *,
    policy: RetryPolicy = QUICK,
    **settings: Any,
) -> AsyncIterator[HttpRegistry]:
    """Open a registry on loopback and close all of it; `settings` are `HttpRegistry`'s."""
    transport = CurlTransport(environment={})
    session = Session(host, transport, credentials, retry_policy=policy)
    registry = HttpRegistry(session, credentials, retries=Retries(policy), **settings)
    try:
        yield registry
    finally:
        await registry.close()
        await transport.close()


def name(text: str = "tests/one") -> RepositoryName:
    """Return a repository's name."""
    return RepositoryName.parse(text)
