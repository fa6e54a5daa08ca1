"""Upstream endpoints: one address at which an upstream registry can be asked.

An upstream may have several (a mirror nearby, the origin behind it). Each call here is one
attempt, without repetition: who asks decides whether to ask again, or another endpoint.

Failures are errors of `entrepot.oci.errors`: ManifestUnknown, BlobUnknown and NameUnknown say that
the upstream has answered, and has it not; TooManyRequests, Unauthorized, Denied, ConnectionLost,
Unavailable … that it cannot be had from there now. `retry_after` in an error's detail is the time
in seconds that the upstream has asked for.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.image_end import Sink
from entrepot.ports.remote_registry import Ping, RateLimit


class ArrivingBlob(Protocol):
    """A blob whose answer's head has come.

    `start` is the offset of the first byte that will come: the one asked for, or 0 where the
    endpoint knows no ranges. `size` is that of the whole blob, None if it was not told.
    """

    @property
    def start(self) -> int: ...
    @property
    def size(self) -> int | None: ...

    async def pour(self, sink: Sink) -> None:
        """Give a sink the bytes from `start`. Raise ConnectionLost once the sink has what came
        before the connection broke, or what the sink raises."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` as the reader takes them; a few MiB are buffered at most.
        Raise ConnectionLost after what came before the connection broke."""
        ...


@dataclass(frozen=True, slots=True)
class ListPage:
    """A page of tags or referrers, passed on as it came: its bytes, media type, and the query of
    the next page (as in `n=100&last=x`), empty on the last one."""

    content: bytes
    media_type: str
    next_query: str = ""
    filters_applied: str = ""


class UpstreamEndpoint(Protocol):
    """One address of an upstream, with its connections and tokens."""

    @property
    def url(self) -> str:
        """Where it is, without credentials, e.g. `https://registry-1.docker.io`."""
        ...

    @property
    def rate_limit(self) -> RateLimit | None:
        """The budget told by the last answer that told one."""
        ...

    async def head(self, name: RepositoryName, reference: Tag | Digest) -> Descriptor:
        """Return a manifest's descriptor by HEAD; by GET where HEAD does not tell everything."""
        ...

    async def manifest(
        self, name: RepositoryName, reference: Tag | Digest
    ) -> tuple[Descriptor, bytes]:
        """Return a manifest as it came, its digest computed from the bytes and, where a digest
        was asked for, equal to it. Raise DigestInvalid, ManifestInvalid."""
        ...

    async def blob_size(self, name: RepositoryName, digest: Digest) -> int:
        """Return a blob's size in bytes, downloading nothing."""
        ...

    def blob(
        self, name: RepositoryName, digest: Digest, offset: int = 0
    ) -> AbstractAsyncContextManager[ArrivingBlob]:
        """Ask for a blob from `offset`; the context's end drops what has not come."""
        ...

    async def page(self, name: RepositoryName, path: str, query: str) -> ListPage:
        """Return a page of `tags/list` or `referrers/<digest>` (`path`, below the name)."""
        ...

    async def ping(self) -> Ping:
        """Ask `/v2/`."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


@runtime_checkable
class TellsLocation(UpstreamEndpoint, Protocol):
    """An endpoint that can say where its blobs really are, for clients that are sent there."""

    async def location(self, name: RepositoryName, digest: Digest) -> str | None:
        """Return where the upstream redirects a GET of the blob to, None if it sends it itself.

        The URL may be signed for a short while only. Raise BlobUnknown, and Denied if it leads
        to where no client should be sent (`rules/realms.may_lead_to`).
        """
        ...


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One exchange with an upstream or its token server, for metrics and logs: no secret is in
    it. `seconds` is the time to the answer's head; `status` is 0, and `error` says why, where
    none came."""

    method: str
    url: str
    status: int
    seconds: float
    http_version: str = ""
    error: str = ""
