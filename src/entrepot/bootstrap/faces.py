"""The faces put together: who may, pages about this server as it is now, statistics."""

import contextlib
import os
import secrets
from typing import Final

from entrepot import logs
from entrepot.bootstrap.proxy import OpenedProxy
from entrepot.config import Settings
from entrepot.oci.errors import RegistryError
from entrepot.oci.reference import RepositoryName
from entrepot.ports.clock import Clock
from entrepot.rules.source_routing import Question
from entrepot.services.access import Access
from entrepot.web.address import Address, address_of, networks
from entrepot.web.faces import Faces
from entrepot.web.message import Request, Response
from entrepot.web.pages.mirror import Mirror
from entrepot.web.pages.redirecting import Redirecting
from entrepot.web.pages.site import Site, Subject
from entrepot.web.purge_hook import PurgeHook
from entrepot.web.statistics import statistics
from entrepot.web.token import TokenService
from entrepot.web.v2.guard import Guard

_KEY_FILE: Final = "token.key"
_KEY_BYTES: Final = 32


def token_key(settings: Settings) -> bytes:
    """Return the key that tokens are signed with, making it at the first start. Raise OSError."""
    path = settings.storage.path / _KEY_FILE
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    new = path.with_name(f"{_KEY_FILE}.{os.getpid()}")
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, secrets.token_bytes(_KEY_BYTES))
    finally:
        os.close(file)
    with contextlib.suppress(FileExistsError):  # another server has just made one
        os.link(new, path)
    new.unlink()
    return path.read_bytes()


def faces(settings: Settings, opened: OpenedProxy, key: bytes, clock: Clock) -> Faces:
    """Put the faces together."""
    log = logs.get_logger("access")
    trusted = networks(settings.proxy.trusted_proxies)
    rules = settings.access
    access = Access(rules.username, rules.password, rules.private, key, rules.token_ttl, clock)

    def here(request: Request) -> Address:
        return address_of(request, settings.proxy.external_url, trusted)

    def refused(request: Request, username: str, why: str) -> None:
        log.warning("login refused", request=request.id, username=username, cause=why)

    def name_of(request: Request, spelled: str) -> str:
        """Return what rules of access call a name that a client has spelled."""
        try:
            host = request.headers.get("host") or ""
            source = opened.proxy.source(Question(RepositoryName.parse(spelled), host))
        except RegistryError:
            return spelled
        return source.access_name

    guard = Guard(access, here, refused)
    return Faces(
        guard,
        TokenService(access, guard, name_of),
        Site(lambda: _subject(settings, opened), here),
        lambda: _statistics(opened),
        lambda: opened.opened,
        PurgeHook(opened.proxy, guard) if settings.proxy.purge_hook else None,
    )


def _subject(settings: Settings, opened: OpenedProxy) -> Subject:
    if settings.redirect.upstream:
        return Redirecting(settings.redirect.upstream)
    return Mirror(
        tuple(name for name, one in opened.upstreams.items() if one.mode == "mirror"),
        settings.proxy.default_registry,
        settings.proxy.open,
        bool(settings.access.username),
        tuple(opened.proxy.table.names),
    )


async def _statistics(opened: OpenedProxy) -> Response:
    await opened.flush()
    limits = {name: one.max_size for name, one in opened.upstreams.items() if one.mode == "mirror"}
    return await statistics([cache.index for cache in opened.caches()], limits)
