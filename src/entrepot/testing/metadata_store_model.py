"""The contract once more, as a model in memory that a metadata store is compared with.

`Model` foretells what each operation does; `random_operation` makes them up from few names, so
that they meet. Equal seeds make equal operations.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    BlobUnknown,
    Denied,
    ManifestBlobUnknown,
    ManifestUnknown,
    NameUnknown,
    RegistryError,
)
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.metadata_store import ManifestPush, MetadataStore
from entrepot.testing.metadata_store_examples import ACTOR, ALPHA, BETA, LEASE, NOW, digest, image

Outcome = type[RegistryError] | None

REPOSITORIES: Final = (ALPHA, BETA)
BLOBS: Final = tuple(f"blob {number}" for number in range(5))
TAGS: Final = tuple(map(Tag, ("Z", "_", "a", "latest")))


def _images() -> tuple[ManifestPush, ...]:
    """A few images over shared blobs, one of them sparse, and indexes, one of them strict."""
    images = [image(f"image {n}", *BLOBS[n : n + 3]) for n in range(4)]
    children = ("image 0", "image 1")
    indexes = [
        image("index", manifests=children),
        image("strict index", BLOBS[0], manifests=children, require_manifests=True),
    ]
    sparse = image("sparse image", BLOBS[0], optional=BLOBS[1:4])
    return (*images, sparse, *indexes)


MANIFESTS: Final = _images()


@dataclass(slots=True)
class Model:
    """What a store should hold; each method returns the error that should be raised."""

    repositories: set[RepositoryName] = field(default_factory=set)
    leases: dict[tuple[RepositoryName, Digest], float] = field(default_factory=dict)
    manifests: dict[tuple[RepositoryName, Digest], ManifestPush] = field(default_factory=dict)
    tags: dict[tuple[RepositoryName, Tag], Digest] = field(default_factory=dict)

    def add(self, repository: RepositoryName, blob: Digest, lease: float) -> Outcome:
        self.repositories.add(repository)
        self.leases[repository, blob] = max(lease, self.leases.get((repository, blob), lease))
        return None

    def mount(
        self, source: RepositoryName, target: RepositoryName, blob: Digest, lease: float
    ) -> Outcome:
        if (source, blob) not in self.leases:
            return BlobUnknown
        return self.add(target, blob, lease)

    def renew(self, repository: RepositoryName, blob: Digest, lease: float) -> Outcome:
        if (repository, blob) in self.leases:
            self.add(repository, blob, lease)
        return None

    def remove(self, repository: RepositoryName, blob: Digest) -> Outcome:
        if (repository, blob) not in self.leases:
            return BlobUnknown
        for (home, _), push in self.manifests.items():
            if home == repository and blob in push.blobs + push.optional:
                return Denied
        del self.leases[repository, blob]
        return None

    def push(self, repository: RepositoryName, push: ManifestPush) -> Outcome:
        children = push.manifests if push.require_manifests else ()
        blobs_present = all((repository, blob) in self.leases for blob in push.blobs)
        children_present = all((repository, child) in self.manifests for child in children)
        if not (blobs_present and children_present):
            return ManifestBlobUnknown
        self.repositories.add(repository)
        self.manifests[repository, push.record.digest] = replace(push, tags=())
        for tag in push.tags:
            self.tags[repository, tag] = push.record.digest
        return None

    def delete(self, repository: RepositoryName, manifest: Digest) -> Outcome:
        if repository not in self.repositories:
            return NameUnknown
        if self.manifests.pop((repository, manifest), None) is None:
            return ManifestUnknown
        self.tags = {
            (home, tag): named
            for (home, tag), named in self.tags.items()
            if (home, named) != (repository, manifest)
        }
        return None

    def untag(self, repository: RepositoryName, tag: Tag) -> Outcome:
        if repository not in self.repositories:
            return NameUnknown
        return None if self.tags.pop((repository, tag), None) else ManifestUnknown


@dataclass(frozen=True, slots=True)
class Operation:
    """One call, for the model and for the store."""

    name: str
    foretell: Callable[[Model], Outcome]
    perform: Callable[[MetadataStore], Awaitable[object]]


def random_operation(rng: random.Random) -> Operation:
    """Make up the next operation."""
    make = rng.choices(
        (_add, _mount, _renew, _remove, _push, _delete, _untag), (4, 3, 1, 3, 6, 2, 1)
    )
    return make[0](rng)


def _add(rng: random.Random) -> Operation:
    home, blob, lease = rng.choice(REPOSITORIES), rng.choice(BLOBS), LEASE + rng.randrange(9)
    return Operation(
        f"add {home} {blob} {lease}",
        lambda model: model.add(home, digest(blob), lease),
        lambda store: store.blobs.add(
            home, digest(blob), len(blob), leased_until=lease, actor=ACTOR, at=NOW
        ),
    )


def _mount(rng: random.Random) -> Operation:
    source, target = rng.choice(REPOSITORIES), rng.choice(REPOSITORIES)
    blob, lease = digest(rng.choice(BLOBS)), LEASE + rng.randrange(9)
    return Operation(
        f"mount {source} {target} {blob} {lease}",
        lambda model: model.mount(source, target, blob, lease),
        lambda store: store.blobs.mount(
            source, target, blob, leased_until=lease, actor=ACTOR, at=NOW
        ),
    )


def _renew(rng: random.Random) -> Operation:
    home, blob, lease = rng.choice(REPOSITORIES), digest(rng.choice(BLOBS)), LEASE + 10
    return Operation(
        f"renew {home} {blob}",
        lambda model: model.renew(home, blob, lease),
        lambda store: store.blobs.renew(home, blob, lease),
    )


def _remove(rng: random.Random) -> Operation:
    home, blob = rng.choice(REPOSITORIES), digest(rng.choice(BLOBS))
    return Operation(
        f"remove {home} {blob}",
        lambda model: model.remove(home, blob),
        lambda store: store.blobs.remove(home, blob, actor=ACTOR, at=NOW),
    )


def _push(rng: random.Random) -> Operation:
    home, bare = rng.choice(REPOSITORIES), rng.choice(MANIFESTS)
    tags = tuple(rng.sample(TAGS, rng.randrange(3)))
    what = replace(bare, tags=tags)
    return Operation(
        f"push {home} {what}",
        lambda model: model.push(home, what),
        lambda store: store.manifests.push(home, what, actor=ACTOR, at=NOW),
    )


def _delete(rng: random.Random) -> Operation:
    home, manifest = rng.choice(REPOSITORIES), rng.choice(MANIFESTS).record.digest
    return Operation(
        f"delete {home} {manifest}",
        lambda model: model.delete(home, manifest),
        lambda store: store.manifests.delete(home, manifest, actor=ACTOR, at=NOW),
    )


def _untag(rng: random.Random) -> Operation:
    home, tag = rng.choice(REPOSITORIES), rng.choice(TAGS)
    return Operation(
        f"untag {home} {tag}",
        lambda model: model.untag(home, tag),
        lambda store: store.tags.delete(home, tag, actor=ACTOR, at=NOW),
    )


async def outcome(operation: Operation, store: MetadataStore) -> Outcome:
    """Perform an operation; return the class of the refusal it met."""
    try:
        await operation.perform(store)
    except RegistryError as error:
        return type(error)
    return None


async def observe(store: MetadataStore) -> Model:
    """Return what a store holds of the names used here, as far as the port shows it."""
    seen = Model(repositories=set(await store.catalog.list(limit=100)))
    for home in seen.repositories:
        for blob in map(digest, BLOBS):
            try:
                seen.leases[home, blob] = (await store.blobs.find(home, blob)).leased_until
            except BlobUnknown:
                assert home not in await store.blobs.holders(blob, 10)
            else:
                assert home in await store.blobs.holders(blob, 10)
        for push in MANIFESTS:
            try:
                await store.manifests.find(home, push.record.digest)
            except ManifestUnknown:
                continue
            seen.manifests[home, push.record.digest] = push
        for tag in await store.tags.list(home, limit=100):
            seen.tags[home, tag] = (await store.manifests.find(home, tag)).digest
    return seen
