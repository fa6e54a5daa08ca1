"""Remote registries: what a client may ask of a registry beyond copying images.

A repository of a registry is an End (`ports/image_end.py`); these are its other abilities.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.image_end import CanMount, ImageSource, ImageTarget


@dataclass(frozen=True, slots=True)
class Ping:
    """What `GET /v2/` told: the scheme and HTTP version in use, how it wants to be asked for
    credentials ("", "basic" or "bearer"), whether ours were accepted, and its API version."""

    url: str
    http_version: str
    authentication: str
    authorised: bool
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A registry's budget as its headers tell it; None where one is not told.

    `limit` requests per `window` seconds, `remaining` of them left; `source` is who is counted.
    """

    limit: int | None
    remaining: int | None
    window: int | None
    source: str | None = None


class RemoteRepository(ImageSource, ImageTarget, CanMount, Protocol):
    """One repository of a remote registry."""

    async def head(self, reference: Tag | Digest) -> Descriptor:
        """Return the manifest's descriptor without reading it where the registry tells it all.

        Raise ManifestUnknown.
        """
        ...

    async def blob_size(self, digest: Digest) -> int:
        """Return a blob's size in bytes. Raise BlobUnknown."""
        ...

    async def delete_manifest(self, digest: Digest) -> None:
        """Delete a manifest and every tag of it. Raise ManifestUnknown, Unsupported."""
        ...

    async def delete_tag(self, tag: Tag) -> None:
        """Delete a tag only. Raise ManifestUnknown, or Unsupported where the registry can
        delete nothing less than the manifest."""
        ...

    async def delete_blob(self, digest: Digest) -> None:
        """Delete a blob. Raise BlobUnknown, Unsupported."""
        ...


class RemoteRegistry(Protocol):
    """One registry, with its connections and tokens."""

    async def ping(self) -> Ping:
        """Ask `GET /v2/`. Raise Unauthorized if credentials are wrong, Unavailable if it is
        no registry or cannot be reached."""
        ...

    def repository(self, name: RepositoryName) -> RemoteRepository:
        """Return a repository; closing it leaves the registry open."""
        ...

    def repositories(self) -> AsyncIterator[RepositoryName]:
        """Yield all repository names, page by page. Raise Unsupported where there is no
        catalog."""
        ...

    @property
    def rate_limit(self) -> RateLimit | None:
        """The budget told by the last response that told one."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
