"""The metadata store: which repositories, tags, manifests and blob links exist.

Metadata truth lives here and bytes in the content store, never both. The store is five small
ports, one per noun, held together by `MetadataStore`; every method that writes is one
transaction, in which also the events it causes are written (the outbox).

Reference counts and leases are what online garbage collection rests on. A *link* lets a
repository read a blob; it counts the manifests of that repository that reference the blob,
and it holds a lease, renewed by upload, HEAD and mount, until which an unreferenced link is
kept. Content counts the links to it. So what may be collected is an indexed look-up
(`references = 0 and leased_until < now`; then `links = 0`), never a walk. In which order a
collector deletes rows and bytes, `entrepot.ports.content_store` says.

Times are Unix seconds and always arguments. A driver proves itself against
`entrepot.testing.MetadataStoreSuite`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from entrepot.oci.digest import Digest
from entrepot.oci.reference import RepositoryName, Tag


@dataclass(frozen=True, slots=True)
class BlobLink:
    """A repository's right to read a blob of `size` bytes, kept while `references` of its
    manifests need the blob, and until `leased_until` in any case."""

    size: int
    leased_until: float
    references: int = 0


@dataclass(frozen=True, slots=True)
class ManifestRecord:
    """What is known of a manifest without reading its bytes. `size` is in bytes.

    `artifact_type` is what the referrers API shows: the manifest's `artifactType`, or else
    its config's media type; `annotations` are the manifest's own.
    """

    digest: Digest
    media_type: str
    size: int
    artifact_type: str | None = None
    subject: Digest | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ManifestPush:
    """A manifest to be recorded, with what it needs and what it is to be called.

    `blobs` must be linked to the repository (config and layers); `manifests` (an index's
    children) must exist there only if `require_manifests`. `optional` blobs may be absent
    (layers that are not distributed); they are counted from when they are linked, before or
    after. `tags` are set in the same transaction.
    """

    record: ManifestRecord
    blobs: tuple[Digest, ...] = ()
    manifests: tuple[Digest, ...] = ()
    tags: tuple[Tag, ...] = ()
    require_manifests: bool = False
    optional: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class TagChange:
    """One entry of a tag's history; `digest` is None where the tag was deleted."""

    digest: Digest | None
    at: float


@dataclass(frozen=True, slots=True)
class UploadSession:
    """An open upload: to which repository, begun by whom, to be hashed how."""

    id: str
    repository: RepositoryName
    algorithm: str
    actor: str
    started_at: float
    touched_at: float


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, as the outbox keeps it. `id` grows with time.

    Kinds: `blob.push`, `blob.mount`, `blob.delete`, `manifest.push`, `manifest.delete`,
    `tag.set`, `tag.delete`. `digest` and `tag` are None where they do not apply.
    """

    id: int
    kind: str
    repository: RepositoryName
    digest: Digest | None
    tag: Tag | None
    actor: str
    at: float


class BlobLinks(Protocol):
    """Which repository may read which blob."""

    async def find(self, repository: RepositoryName, digest: Digest) -> BlobLink:
        """Return the link. Raise BlobUnknown if the repository does not hold the blob."""
        ...

    async def add(
        self,
        repository: RepositoryName,
        digest: Digest,
        size: int,
        *,
        leased_until: float,
        actor: str,
        at: float,
        upload: str | None = None,
    ) -> None:
        """Link a blob whose content is stored, creating the repository if it is new.

        `upload` names the upload session that ends with it. A link that exists already
        only has its lease extended.
        """
        ...

    async def mount(
        self,
        source: RepositoryName,
        target: RepositoryName,
        digest: Digest,
        *,
        leased_until: float,
        actor: str,
        at: float,
    ) -> int:
        """Link a blob of `source` to `target` too; return its size in bytes.

        Raise BlobUnknown if `source` does not hold it.
        """
        ...

    async def renew(self, repository: RepositoryName, digest: Digest, leased_until: float) -> bool:
        """Extend the link's lease, never shorten it; return whether there is a link."""
        ...

    async def holders(self, digest: Digest, limit: int) -> Sequence[RepositoryName]:
        """Return up to `limit` repositories that hold the blob, the oldest first."""
        ...

    async def remove(
        self, repository: RepositoryName, digest: Digest, *, actor: str, at: float
    ) -> None:
        """Unlink the blob. Raise BlobUnknown if there is no link, Denied while a manifest of
        the repository references it."""
        ...


class Manifests(Protocol):
    """Which repository holds which manifest, and which manifests refer to which subject."""

    async def find(self, repository: RepositoryName, reference: Tag | Digest) -> ManifestRecord:
        """Return the manifest a tag or digest names.

        Raise NameUnknown if the repository does not exist, else ManifestUnknown.
        The record's annotations are left empty, here and wherever records are returned: they
        may be long, and only `annotations` gives them.
        """
        ...

    async def held(
        self, repository: RepositoryName, digests: Sequence[Digest]
    ) -> Sequence[ManifestRecord]:
        """Return those of the manifests that the repository holds, in no particular order."""
        ...

    async def check(self, repository: RepositoryName, push: ManifestPush) -> None:
        """Raise ManifestBlobUnknown as `push` would now; write nothing.

        So that a refused manifest's bytes need not be stored first. `push` looks again.
        """
        ...

    async def push(
        self, repository: RepositoryName, push: ManifestPush, *, actor: str, at: float
    ) -> None:
        """Record a manifest whose bytes are stored, its references, tags and events.

        Raise ManifestBlobUnknown, with every missing digest in the detail
        (`{"digests": [...]}`), if a needed blob or manifest is not in the repository.
        Pushing what exists already changes only the tags.
        """
        ...

    async def delete(
        self, repository: RepositoryName, digest: Digest, *, actor: str, at: float
    ) -> None:
        """Delete a manifest and every tag that points to it. Raise ManifestUnknown/NameUnknown."""
        ...

    async def referrers(
        self,
        repository: RepositoryName,
        subject: Digest,
        *,
        artifact_type: str | None = None,
        after: Digest | None = None,
        limit: int,
    ) -> Sequence[ManifestRecord]:
        """Return manifests with that subject, in the order of their digest's text, from the
        first one behind `after`; an unknown repository or subject has none."""
        ...

    async def annotations(
        self, repository: RepositoryName, digests: Sequence[Digest]
    ) -> Mapping[Digest, Mapping[str, str]]:
        """Return the annotations of those of the manifests that the repository holds.

        A manifest's are about as long as it at most (`size`): the caller sees to it that all
        of them fit into memory.
        """
        ...


class Tags(Protocol):
    """A repository's tags and what they pointed to before."""

    async def list(
        self, repository: RepositoryName, *, after: str | None = None, limit: int
    ) -> Sequence[Tag]:
        """Return tags in lexical (byte) order from the first one behind `after`.

        Raise NameUnknown if the repository does not exist.
        """
        ...

    async def delete(self, repository: RepositoryName, tag: Tag, *, actor: str, at: float) -> None:
        """Delete a tag; its manifest stays. Raise ManifestUnknown/NameUnknown if absent."""
        ...

    async def history(
        self, repository: RepositoryName, tag: Tag, limit: int
    ) -> Sequence[TagChange]:
        """Return the tag's changes, newest first."""
        ...


class Uploads(Protocol):
    """Open upload sessions."""

    async def start(self, session: UploadSession) -> None:
        """Record a new session."""
        ...

    async def find(self, upload: str) -> UploadSession:
        """Return the session. Raise BlobUploadUnknown if there is none."""
        ...

    async def touch(self, upload: str, at: float) -> None:
        """Note that the session is alive. A session that is gone is no error."""
        ...

    async def end(self, upload: str) -> None:
        """Forget the session. Raise BlobUploadUnknown if there is none."""
        ...

    async def idle_since(self, before: float, limit: int) -> Sequence[UploadSession]:
        """Return sessions last touched before a time, oldest first."""
        ...


class Catalog(Protocol):
    """All repositories."""

    async def list(self, *, after: str | None = None, limit: int) -> Sequence[RepositoryName]:
        """Return repository names in lexical (byte) order from the first one behind `after`.

        A repository exists from its first blob or manifest on.
        """
        ...


class Outbox(Protocol):
    """Events that await delivery."""

    async def pending(self, limit: int) -> Sequence[Event]:
        """Return the oldest undelivered events in the order of their ids."""
        ...

    async def delivered(self, ids: Sequence[int]) -> None:
        """Drop events that have been delivered."""
        ...

    async def expire(self, before: float, limit: int) -> int:
        """Drop up to `limit` events older than a time; return how many."""
        ...


class MetadataStore(Protocol):
    """The ports of one metadata database."""

    @property
    def blobs(self) -> BlobLinks: ...
    @property
    def manifests(self) -> Manifests: ...
    @property
    def tags(self) -> Tags: ...
    @property
    def uploads(self) -> Uploads: ...
    @property
    def catalog(self) -> Catalog: ...
    @property
    def outbox(self) -> Outbox: ...

    async def ping(self) -> None:
        """Return if the database answers. Raise Unavailable if not."""
        ...

    async def close(self) -> None:
        """Give back connections. Running transactions end first."""
        ...
