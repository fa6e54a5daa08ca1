"""Small metadata for tests: digests by name, and the shortest way to link and push."""

from collections.abc import Iterable, Mapping
from typing import Final

from entrepot.oci.digest import Digest
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.metadata_store import ManifestPush, ManifestRecord, MetadataStore

ALPHA: Final = RepositoryName("library/alpha")
BETA: Final = RepositoryName("library/beta")
NOWHERE: Final = RepositoryName("library/nowhere")

MEDIA_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
ACTOR: Final = "alice"
NOW: Final = 1_700_000_000.25
LEASE: Final = NOW + 3600


def digest(name: str) -> Digest:
    """Return the digest that stands for content called `name`."""
    return Digest.of(name.encode())


def digests(names: Iterable[str]) -> tuple[Digest, ...]:
    return tuple(digest(name) for name in names)


def record(
    name: str,
    *,
    artifact_type: str | None = None,
    subject: str | None = None,
    annotations: Mapping[str, str] | None = None,
) -> ManifestRecord:
    return ManifestRecord(
        digest(name),
        MEDIA_TYPE,
        len(name),
        artifact_type,
        digest(subject) if subject else None,
        annotations or {},
    )


def image(
    name: str,
    *blobs: str,
    manifests: Iterable[str] = (),
    tags: Iterable[str] = (),
    require_manifests: bool = False,
    optional: Iterable[str] = (),
) -> ManifestPush:
    """Return the push of a manifest that needs `blobs` and has children `manifests`."""
    return ManifestPush(
        record(name),
        digests(blobs),
        digests(manifests),
        tuple(map(Tag, tags)),
        require_manifests,
        digests(optional),
    )


async def link(store: MetadataStore, repository: RepositoryName, *names: str) -> None:
    """Link blobs, each as long as its name."""
    for name in names:
        await store.blobs.add(
            repository, digest(name), len(name), leased_until=LEASE, actor=ACTOR, at=NOW
        )


async def push(
    store: MetadataStore, repository: RepositoryName, what: ManifestPush, *, at: float = NOW
) -> None:
    await store.manifests.push(repository, what, actor=ACTOR, at=at)


async def push_image(
    store: MetadataStore,
    repository: RepositoryName,
    name: str,
    *blobs: str,
    tags: Iterable[str] = (),
) -> Digest:
    """Link blobs and push a manifest that needs them; return its digest."""
    await link(store, repository, *blobs)
    await push(store, repository, image(name, *blobs, tags=tags))
    return digest(name)


async def events(
    store: MetadataStore,
) -> list[tuple[str, RepositoryName, Digest | None, Tag | None]]:
    """Return (kind, repository, digest, tag) of what the outbox holds, oldest first."""
    pending = await store.outbox.pending(1000)
    return [(event.kind, event.repository, event.digest, event.tag) for event in pending]


async def forget_events(store: MetadataStore) -> None:
    await store.outbox.delivered([event.id for event in await store.outbox.pending(1000)])
