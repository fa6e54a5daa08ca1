"""A remote registry over one session: see `ports/remote_registry.py`."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from entrepot.adapters.remotes.endpoint import Answer, Endpoint, ask_session
from entrepot.adapters.remotes.exchange import Request
from entrepot.adapters.remotes.manifests import MAX_SIZE, KeptManifests, Manifests
from entrepot.adapters.remotes.pages import PAGE_BYTES, PAGE_ENTRIES, entries, pages
from entrepot.adapters.remotes.referrers import Referrers
from entrepot.adapters.remotes.repository import HttpRepository, Parts
from entrepot.adapters.remotes.retries import Retries
from entrepot.adapters.remotes.session import Session
from entrepot.adapters.remotes.upload_notes import UploadNotes
from entrepot.adapters.remotes.uploads import NOTED, ChunkLimit, Uploads
from entrepot.oci.digest import Digest
from entrepot.oci.errors import NameInvalid, Unauthorized, Unavailable, Unsupported
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.credential_store import CredentialStore
from entrepot.ports.remote_registry import Ping, RateLimit
from entrepot.protocol.challenges import Scope
from entrepot.protocol.routes import BASE_PATH, CATALOG_PATH
from entrepot.rules.retries import RetryPolicy

_API_VERSION: Final = "docker-distribution-api-version"
_SHOWN: Final = frozenset(
    {_API_VERSION, "server", "www-authenticate", "oci-namespace", "warning", "date", "via"}
)


class HttpRegistry:
    """A `RemoteRegistry`, which closes its session.

    `credentials` are those of the session. `uploads` is the folder of the notes by which the
    next process continues uploads of more than `noted` bytes; None to keep none. Manifests above
    `max_manifest` bytes are refused, and no request body has more than `chunk_size` bytes (None:
    no limit, until the registry shows one). `referrers_tag_fallback` off keeps no lists of
    referrers under tags.
    """

    def __init__(
        self,
        session: Session,
        credentials: CredentialStore | None = None,
        *,
        uploads: Path | None = None,
        noted: int = NOTED,
        retries: Retries | None = None,
        max_manifest: int = MAX_SIZE,
        chunk_size: int | None = None,
        referrers_tag_fallback: bool = True,
    ) -> None:
        self._session = session
        self._credentials = credentials
        self._notes = None if uploads is None else UploadNotes(uploads)
        self._noted = noted
        self._retries = retries or Retries(RetryPolicy())
        self._max_manifest = max_manifest
        self._chunks = ChunkLimit(chunk_size)
        self._fallback = referrers_tag_fallback
        self._kept = KeptManifests()
        self._parts: dict[RepositoryName, Parts] = {}

    @property
    def host(self) -> str:
        """The registry as `host[:port]`."""
        return self._session.host

    @property
    def rate_limit(self) -> RateLimit | None:
        """See `RemoteRegistry.rate_limit`."""
        return self._session.rate_limit

    async def ping(self) -> Ping:
        """See `RemoteRegistry.ping`."""
        try:
            answer = await self._ask(BASE_PATH, (), expect=(404,))
        except Unauthorized:
            if self._credentials is not None and await self._credentials.find(self.host):
                raise
            answer = await self._ask(BASE_PATH, (), expect=(401, 404))
        is_page = "html" in answer.headers.get("content-type", "").lower()
        if answer.status == 404 or (is_page and _API_VERSION not in answer.headers):
            raise Unavailable(
                f"{urlsplit(answer.url).netloc} is no registry: it answers {answer.status} to "
                f"GET {BASE_PATH}; check host and port"
            )
        return Ping(
            url=self._session.url or answer.url,
            http_version=answer.http_version,
            authentication=self._session.authentication,
            authorised=answer.successful,
            headers={name: text for name, text in answer.headers.items() if name in _SHOWN},
        )

    def repository(
        self, name: RepositoryName, reference: Tag | Digest | None = None
    ) -> HttpRepository:
        """See `RemoteRegistry.repository`. `reference` is what its `resolve` means by None."""
        parts = self._parts.get(name)
        if parts is None:
            endpoint = Endpoint(self._session, self.host, name, self._retries)
            manifests = Manifests(endpoint, self._kept, self._max_manifest)
            parts = self._parts[name] = Parts(
                endpoint,
                manifests,
                Referrers(endpoint, manifests, self._fallback),
                Uploads(endpoint, self._chunks, self._notes, self._noted),
            )
        return HttpRepository(parts, reference)

    async def repositories(self) -> AsyncIterator[RepositoryName]:
        """See `RemoteRegistry.repositories`. Names that are none are left out."""

        async def ask(url: str) -> Answer:
            return await self._ask(
                url, (Scope.catalog(),), expect=(404, 405, 501), limit=PAGE_BYTES
            )

        async for answer in pages(ask, f"{CATALOG_PATH}?n={PAGE_ENTRIES}"):
            if not answer.successful:
                raise Unsupported(
                    f"{self.host} has no catalog (it answers {answer.status}); name the "
                    "repositories, or look them up on its web page"
                )
            for name in _names(answer):
                yield name

    async def close(self) -> None:
        """See `RemoteRegistry.close`."""
        for parts in self._parts.values():
            await parts.uploads.close()
        await self._session.close()

    async def _ask(
        self, url: str, scopes: tuple[Scope, ...], *, expect: tuple[int, ...], limit: int = 1 << 20
    ) -> Answer:
        request = Request("GET", url)
        return await ask_session(
            self._session, request, scopes, self._retries, expect=expect, limit=limit
        )


def _names(answer: Answer) -> list[RepositoryName]:
    names = []
    for entry in entries(answer, "repositories"):
        try:
            names.append(RepositoryName.parse(str(entry)))
        except NameInvalid:
            continue
    return names
