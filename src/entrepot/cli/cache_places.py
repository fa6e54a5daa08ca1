"""The caches that are there, opened for a command, and what its words mean in them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entrepot.cli.failures import warn
from entrepot.cli.upstream_places import Configured
from entrepot.client import Client
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import Denied, DigestInvalid, ManifestUnknown, NameInvalid, NameUnknown
from entrepot.oci.reference import Reference, Tag

if TYPE_CHECKING:
    from entrepot.rules.source_routing import RoutingTable
    from entrepot.services.cache import Cache

_ALGORITHMS = ("sha256:", "sha384:", "sha512:")
_OCTETS = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Target:
    """What a word names: all of an upstream (`repository` ends with `/`), a repository, or a tag
    or digest in one; a digest in all of them where `repository` is empty."""

    repository: str
    reference: Tag | Digest | None = None

    def holds(self, repository: str) -> bool:
        """Say whether a repository is named."""
        if self.repository.endswith("/"):
            return repository.startswith(self.repository)
        return repository == self.repository


@dataclass(frozen=True, slots=True)
class OpenCaches:
    """The caches of a data directory by their place, and the routes that names take there."""

    known: Configured
    caches: dict[Path, "Cache"]
    table: "RoutingTable"

    def target(self, word: str) -> Target:
        """Return what a word names: an upstream, a repository, an image or a digest.

        Names of upstreams that were removed are read as they stand: what they have left is still
        there. Raise NameInvalid, TagInvalid.
        """
        from entrepot.rules.mirrored_images import mirrored_image

        if word.startswith(_ALGORITHMS):
            try:
                return Target("", Digest.parse(word))
            except DigestInvalid as error:  # mistyped: it says nothing about any content
                raise NameInvalid(error.message) from None
        upstream = self.known.named(word.rstrip("/"))
        if upstream is not None:
            return Target(f"{upstream}/")
        try:
            image = mirrored_image(self.table, word)
        except (Denied, NameUnknown):
            written = Reference.parse(word)
            host = f"{written.host}/" if written.host else ""
            return Target(f"{host}{written.repository}", written.digest or written.tag)
        return Target(image.source.repository, image.named)

    def image(self, word: str) -> Target:
        """Return the image that a word names; the tag `latest` where it says none."""
        from entrepot.rules.mirrored_images import LATEST

        target = self.target(word)
        if target.repository.endswith("/"):
            raise NameUnknown(f"{word} is an upstream; name an image of it")
        if target.reference is None:
            return Target(target.repository, LATEST)
        return target

    async def find(self, word: str) -> "tuple[Cache, Descriptor, str]":
        """Return the image that a word names, the cache it is in and its repository. A digest
        alone is looked for in every repository. Raise ManifestUnknown."""
        from entrepot.services.cached_images import CachedImages

        target = self.image(word)
        assert target.reference is not None, "an image is named by something"
        refused = ManifestUnknown(f"{word} is not in the cache; `entrepot cache ls` lists what is")
        for cache in self.caches.values():
            names = [target.repository] if target.repository else await repositories(cache)
            for repository in names:
                try:
                    root = await CachedImages(cache).root(repository, target.reference)
                except ManifestUnknown as error:
                    refused = error if target.repository else refused
                    continue
                return cache, root, repository
        if isinstance(target.reference, Digest) and not target.repository:
            for cache in self.caches.values():  # a blob, or what no name leads to
                found = await cache.index.contents.find(target.reference)
                if found is not None:
                    return cache, Descriptor(_OCTETS, found.digest, found.size), ""
        raise refused


async def opened(client: Client, known: Configured) -> OpenCaches:
    """Open the caches that are there; none is made. Raise Unavailable."""
    paths = existing(known)
    for path in paths:
        warn_of_owner(path)
    caches = await client.caches(paths, known.settings.cache)
    table = client.routes(known.settings, known.upstreams)
    return OpenCaches(known, dict(zip(paths, caches, strict=True)), table)


def candidates(known: Configured) -> Sequence[Path]:
    """Return where caches are or would be, each once."""
    usual = known.settings.cache_path()
    return list(dict.fromkeys([usual, *map(known.cache, known.upstreams.values())]))


def existing(known: Configured) -> Sequence[Path]:
    """Return where caches are."""
    return [path for path in candidates(known) if (path / "index.db").is_file()]


def nothing(known: Configured) -> str:
    """Say that there is no cache, and how there will be one."""
    places = ", ".join(map(str, candidates(known)))
    return (
        f"there is no cache yet at {places}; it is made when something is pulled through "
        "`entrepot serve`, or by `entrepot cache warm IMAGE`"
    )


def required(known: Configured) -> None:
    """Raise NameUnknown if there is no cache."""
    if not existing(known):
        raise NameUnknown(nothing(known))


def warn_of_owner(path: Path) -> None:
    """Say so if what is written here could not be changed by the server that the cache is of."""
    try:
        owner = path.stat().st_uid
    except OSError:
        return
    if os.geteuid() == 0 and owner != 0:
        warn(
            f"the cache {path} belongs to user {owner}, who cannot change what root leaves in it; "
            "run this as that user"
        )


async def repositories(cache: "Cache") -> Sequence[str]:
    """Return all repositories with a name in a cache."""
    from entrepot.services.purging import Purging

    # A bare name of an upstream holds what that has once delivered.
    return [name for name in await Purging(cache).repositories() if "/" in name]


def moment(at: float) -> str | None:
    """Return a time for programs, in UTC; None for none."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at > 0 else None


def age(at: float, now: float) -> str:
    """Return how long ago a time was, in the largest unit: `5m`; `-` for none."""
    if at <= 0:
        return "-"
    seconds = max(0, int(now - at))
    for unit, name in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit:
            return f"{seconds // unit}{name}"
    return f"{seconds}s"


def short(digest: Any) -> str:
    """Return a digest's beginning, for tables."""
    return str(digest)[:19]
