"""An upstream's endpoint over a session: see `ports/upstream_endpoint.py`.

Each call is one attempt. The session must repeat nothing either (`upstream_endpoints` opens one
that way); only a token is asked for twice. The `urls` of foreign layers are not followed: nothing
here reads what stands in a manifest.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import Final
from urllib.parse import urljoin, urlsplit

from entrepot.adapters.remotes import downloads
from entrepot.adapters.remotes.downloads import IDENTITY, parse_content_range
from entrepot.adapters.remotes.endpoint import PULL, Answer, Endpoint
from entrepot.adapters.remotes.exchange import Request, Response
from entrepot.adapters.remotes.manifests import MAX_SIZE, KeptManifests, Manifests
from entrepot.adapters.remotes.pages import PAGE_BYTES, parse_next_link
from entrepot.adapters.remotes.redirects import MOST, STATUSES, same_origin, target
from entrepot.adapters.remotes.registry import HttpRegistry
from entrepot.adapters.remotes.retries import Retries
from entrepot.adapters.remotes.session import Session
from entrepot.adapters.remotes.upstream_advice import advise
from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    BlobUnknown,
    ConnectionLost,
    ManifestUnknown,
    RegistryError,
    SizeInvalid,
    Unavailable,
    Unsupported,
)
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.credential_store import CredentialStore
from entrepot.ports.image_end import Sink
from entrepot.ports.remote_registry import Ping, RateLimit
from entrepot.ports.upstream_endpoint import ListPage
from entrepot.protocol.routes import blob_path
from entrepot.rules.retries import RetryPolicy

ONCE: Final = RetryPolicy(retries=0)

_LIST: Final = re.compile(r"tags/list|referrers/[a-z0-9]+:[0-9a-f]{32,128}", re.ASCII)
_QUERY: Final = re.compile(r"[!$-~]{0,4096}", re.ASCII)  # no space, `"` or `#`
_FIRST_BYTE: Final = {**IDENTITY, "Range": "bytes=0-0"}


class HttpEndpoint:
    """An `UpstreamEndpoint` that `TellsLocation`; it closes its session, and then `on_close`.

    `credentials` are those of the session, `url` is how it is known. Without `follow_redirects`
    no blob is read from where a redirect leads. Manifests above `max_manifest` bytes are refused.
    """

    def __init__(
        self,
        session: Session,
        credentials: CredentialStore | None = None,
        *,
        url: str = "",
        follow_redirects: bool = True,
        max_manifest: int = MAX_SIZE,
        on_close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._session = session
        self._url = url
        self._follow = follow_redirects
        self._max_manifest = max_manifest
        self._on_close = on_close
        self._once = Retries(ONCE)
        self._registry = HttpRegistry(session, credentials, retries=self._once)

    def __str__(self) -> str:
        return self.url

    @property
    def url(self) -> str:
        """See `UpstreamEndpoint.url`."""
        return self._url or self._session.url

    @property
    def host(self) -> str:
        """The registry as its logins name it: `host[:port]`, `docker.io` for Docker Hub."""
        return self._session.host

    @property
    def rate_limit(self) -> RateLimit | None:
        """See `UpstreamEndpoint.rate_limit`."""
        return self._session.rate_limit

    async def head(self, name: RepositoryName, reference: Tag | Digest) -> Descriptor:
        """See `UpstreamEndpoint.head`."""
        with _in_our_words(ManifestUnknown):
            return await self._manifests(name).head(reference)

    async def manifest(
        self, name: RepositoryName, reference: Tag | Digest
    ) -> tuple[Descriptor, bytes]:
        """See `UpstreamEndpoint.manifest`."""
        with _in_our_words(ManifestUnknown):
            return await self._manifests(name).get(reference)

    async def blob_size(self, name: RepositoryName, digest: Digest) -> int:
        """See `UpstreamEndpoint.blob_size`."""
        with _in_our_words(BlobUnknown):
            return await downloads.blob_size(self._at(name), digest)

    @asynccontextmanager
    async def blob(
        self, name: RepositoryName, digest: Digest, offset: int = 0
    ) -> AsyncIterator["PouringBlob"]:
        """See `UpstreamEndpoint.blob`. Raise Unsupported for a redirect that is not followed."""
        async with AsyncExitStack() as stack:
            with _in_our_words(BlobUnknown):
                arriving = await self._open(stack, self._at(name), digest, offset)
            yield arriving

    async def location(self, name: RepositoryName, digest: Digest) -> str | None:
        """See `TellsLocation.location`. A redirect to the registry itself is followed."""
        url = blob_path(name, digest)
        with _in_our_words(BlobUnknown):
            for _ in range(MOST):
                request = Request("GET", url, _FIRST_BYTE)
                async with self._at(name).send(request, PULL, expect=STATUSES) as response:
                    leads = response.headers.get("location")
                    if response.status not in STATUSES or not leads:
                        return None
                    url = target(response.url, leads)
                    if not same_origin(url, response.url):
                        return url
            raise Unavailable(
                f"{self.url} redirects a blob again and again; whoever runs it must mend that"
            )

    async def page(self, name: RepositoryName, path: str, query: str) -> ListPage:
        """See `UpstreamEndpoint.page`. Raise Unsupported for anything that is no such list."""
        if not _LIST.fullmatch(path) or not _QUERY.fullmatch(query):
            raise Unsupported("only tags and referrers are listed, with a query of a URL's signs")
        tags = path == "tags/list"
        headers = {"Accept": "application/json" if tags else media_types.OCI_INDEX}
        url = f"/v2/{name}/{path}" + (f"?{query}" if query else "")
        with _in_our_words(None):
            answer = await self._at(name).ask("GET", url, PULL, headers=headers, limit=PAGE_BYTES)
            if not answer.content.lstrip().startswith(b"{"):
                raise Unavailable(
                    f"{self.url} answers a list with something else; check that it is a registry, "
                    "and that no sign-in page stands before it"
                )
            return ListPage(
                answer.content,
                answer.headers.get("content-type", headers["Accept"]),
                self._next_query(answer, f"/v2/{name}/{path}", query),
                answer.headers.get("oci-filters-applied", ""),
            )

    async def ping(self) -> Ping:
        """See `UpstreamEndpoint.ping`."""
        with _in_our_words(None):
            return await self._registry.ping()

    async def close(self) -> None:
        """See `UpstreamEndpoint.close`."""
        await self._registry.close()
        if self._on_close is not None:
            on_close, self._on_close = self._on_close, None
            await on_close()

    def _at(self, name: RepositoryName) -> Endpoint:
        return Endpoint(self._session, self._session.host, name, self._once)

    def _manifests(self, name: RepositoryName) -> Manifests:
        # What was seen before is asked for again: whether it is still true is the caller's matter.
        return Manifests(self._at(name), KeptManifests(), self._max_manifest)

    async def _open(
        self, stack: AsyncExitStack, endpoint: Endpoint, digest: Digest, offset: int
    ) -> "PouringBlob":
        """Ask for a blob from `offset`, or whole where parts of it cannot be had."""
        for start in (offset, 0) if offset else (0,):
            response = await stack.enter_async_context(self._get(endpoint, digest, start))
            if response.status in STATUSES:
                raise Unsupported(
                    f"{self.url} sends the blob {digest} from another place, and its redirects "
                    "are not followed here; set follow_redirects, or ask that place"
                )
            arriving = _arriving(response, start)
            if arriving is not None:
                return arriving
            await stack.aclose()
        raise Unavailable(
            f"{self.url} answers {response.status} to a request for the blob {digest}, with a part "
            "that was not asked for; whoever runs it must mend that"
        )

    def _get(
        self, endpoint: Endpoint, digest: Digest, start: int
    ) -> AbstractAsyncContextManager[Response]:
        headers = {**IDENTITY, "Range": f"bytes={start}-"} if start else IDENTITY
        path = blob_path(endpoint.name, digest)
        request = Request("GET", path, headers, bulk=True, eager=True)
        expect = {416} if start else set[int]()
        return endpoint.send(request, PULL, expect=expect if self._follow else expect | STATUSES)

    def _next_query(self, answer: Answer, path: str, query: str) -> str:
        """Return the query of the list's next page. Where a registry names itself wrongly, behind
        a proxy, does not matter; what it lists does. Raise Unavailable if it is something else."""
        link = parse_next_link(answer.headers.get("link"))
        if link is None:
            return ""
        try:
            following = urlsplit(urljoin(answer.url, link))
        except ValueError:
            following = urlsplit("")
        same = following.path.endswith(path)
        if not same or following.query == query or not _QUERY.fullmatch(following.query):
            raise Unavailable(
                f"{self.url} names a next page that is not one of the same list; tell its "
                "operator that the Link header must lead on"
            )
        return following.query


class PouringBlob:
    """An `ArrivingBlob`: a response that holds a blob from `start` up to before `end`."""

    def __init__(self, response: Response, start: int, end: int | None, size: int | None) -> None:
        self._response = response
        self._end = end
        self.start = start
        self.size = size

    async def pour(self, sink: Sink) -> None:
        """See `ArrivingBlob.pour`. Raise SizeInvalid for more bytes than there are."""
        at = self.start

        def take(piece: memoryview) -> None:
            nonlocal at
            at += len(piece)
            if self._end is not None and at > self._end:
                raise _too_many()
            sink(piece)

        with _in_our_words(None):
            await self._response.pour(take)
            self._check_end(at)

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `ArrivingBlob.chunks`. Raise SizeInvalid for more bytes than there are."""
        at = self.start
        with _in_our_words(None):
            async for chunk in self._response.chunks():
                at += len(chunk)
                if self._end is not None and at > self._end:
                    raise _too_many()
                yield chunk
            self._check_end(at)

    def _check_end(self, at: int) -> None:
        if at < (self.size or self._end or 0):
            raise ConnectionLost(
                f"{urlsplit(self._response.url).hostname} has sent the blob up to byte {at} of "
                f"{self.size}; ask for the rest"
            )


def _too_many() -> SizeInvalid:
    return SizeInvalid("more bytes come than were announced; the registry is broken")


def _arriving(response: Response, start: int) -> PouringBlob | None:
    """Return what a response to a request for the bytes from `start` holds; None if it is of no
    use."""
    if response.status == 200:
        length = response.headers.get("content-length", "")
        size = int(length) if length.isascii() and length.isdigit() else None
        return PouringBlob(response, 0, size, size)
    part = parse_content_range(response.headers.get("content-range"))
    if response.status != 206 or part is None or part.end is None or part.start != start:
        return None
    if part.size is not None and part.end > part.size:
        return None
    return PouringBlob(response, start, part.end, part.size)


@contextmanager
def _in_our_words(unknown: type[BlobUnknown] | type[ManifestUnknown] | None) -> Iterator[None]:
    """Raise errors with an operator's advice. What was asked for and is not there is `unknown`,
    whatever word the registry has for it."""
    try:
        yield
    except RegistryError as error:
        advise(error)
        absent = isinstance(error, BlobUnknown | ManifestUnknown)
        if absent and unknown and not isinstance(error, unknown):
            raise unknown(error.message, detail=error.detail) from None
        raise
