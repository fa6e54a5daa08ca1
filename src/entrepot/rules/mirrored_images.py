"""Images of other registries as operators write them: in commands, and in `cache.warm`."""

from dataclasses import dataclass
from typing import Final

from entrepot.oci.digest import Digest
from entrepot.oci.errors import DigestInvalid, NameInvalid, NameUnknown
from entrepot.oci.reference import Reference, RepositoryName, Tag, is_host
from entrepot.rules.source_routing import Question, RoutingTable, resolve
from entrepot.rules.sources import Hosted, Mirrored, Redirected
from entrepot.rules.upstream_presets import canonical_host

LATEST: Final = Tag("latest")
"""The tag that is meant where none is written, as for every client."""

_SCHEME: Final = "docker://"


@dataclass(frozen=True, slots=True)
class MirroredImage:
    """A repository of an upstream, with the tag and digest that were written, if any."""

    source: Mirrored
    tag: Tag | None = None
    digest: Digest | None = None

    @property
    def named(self) -> Tag | Digest | None:
        """What was named in the repository: the digest if there is one, else the tag."""
        return self.digest or self.tag

    @property
    def reference(self) -> Tag | Digest:
        """Which image is meant."""
        return self.named or LATEST

    def __str__(self) -> str:
        mark = "@" if self.digest else ":"
        return f"{self.source.repository}{mark}{self.reference}"


def mirrored_image(table: RoutingTable, text: str) -> MirroredImage:
    """Read `[upstream/]name[:tag][@digest]`; without an upstream the default registry is meant.

    Raise NameInvalid or TagInvalid for what is no name or not mirrored, Denied for a registry
    that is not allowed.
    """
    try:
        written = Reference.parse(text.removeprefix(_SCHEME))
    except DigestInvalid as error:  # mistyped: it says nothing about any content
        raise NameInvalid(error.message, detail={"image": text[:255]}) from None
    source = resolve(table, Question(written.repository, prefix=written.host or ""))
    match source:
        case Mirrored():
            return MirroredImage(source, written.tag, written.digest)
        case Redirected():
            raise NameInvalid(
                f"{text} is not cached: clients are sent to {source.upstream} for it; set "
                'mode = "mirror" for that upstream to cache it'
            )
        case Hosted():
            raise NameInvalid(
                f"{text} is hosted here, not mirrored; write the registry in front of it, e.g. "
                f"docker.io/{written.repository}, or set proxy.default_registry"
            )


def mirrored_repository(table: RoutingTable, host: str, name: RepositoryName) -> str | None:
    """Return what the cache calls a repository of a registry, by the names that the registry
    itself uses: rules of rewriting, allowing and denying are for clients.

    None if clients are sent there instead. Raise NameUnknown for a registry that is no upstream.
    """
    key = host.strip().lower().removesuffix(":443")
    route = table.names.get(key) or table.names.get(canonical_host(key))
    if route is None and table.open and is_host(key):
        route = table.template(canonical_host(key))
    if route is None:
        raise NameUnknown(
            f"{host[:255] or 'a registry that is not told'} is no upstream of this server; name "
            "the one that is meant as ?upstream=NAME",
            detail={"host": host[:255]},
        )
    if route.mode != "mirror":
        return None
    official = f"{route.official}/" if route.official and "/" not in name else ""
    return f"{route.upstream}/{official}{name}"
