"""Addresses: where an End is, as people write it.

    docker://host/name[:tag][@digest]   a repository of a registry; `docker://` may be left out
    oci:DIR[:tag|@digest]               an image layout in a folder
    oci-archive:FILE[:tag|@digest]      the same in a tar file
    docker-archive:FILE[:name[:tag]]    what `docker save` writes and `docker load` reads
    store:[DIR:]name[:tag|@digest]      our own data directory, without a server
    -                                   an archive on standard input or output

Source: containers-transports(5); names without a host mean Docker Hub, as for every client.
"""

from dataclasses import dataclass
from typing import Final, Literal

from entrepot.oci.digest import Digest
from entrepot.oci.errors import DigestInvalid, NameInvalid
from entrepot.oci.reference import Reference, RepositoryName, Tag

Kind = Literal["docker", "oci", "oci-archive", "docker-archive", "store"]

DOCKER_HUB: Final = "docker.io"
"""What Docker Hub is called wherever one name is needed."""

_HUB_ALIASES: Final = frozenset(
    {DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)
_OFFICIAL: Final = "library/"


@dataclass(frozen=True, slots=True)
class Address:
    """An End's address taken apart.

    `path` is the folder or file of a local End: `-` is a standard stream, and empty the default
    data directory of `store`. `host` is set for registries only. Without `tag` and `digest` the
    End's only image is meant where one is read from, or `latest` of a repository.
    """

    kind: Kind
    path: str = ""
    host: str = ""
    repository: RepositoryName | None = None
    tag: Tag | None = None
    digest: Digest | None = None

    @property
    def reference(self) -> Tag | Digest | None:
        """What the address names: the digest if there is one, else the tag."""
        return self.digest or self.tag

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        name = f"{self.repository or ''}{tag}{digest}"
        if self.kind == "docker":
            return f"docker://{self.host}/{name}"
        if self.path == "-":
            return "-"
        if self.kind == "store":
            return f"store:{self.path}:{name}" if self.path else f"store:{name}"
        return f"{self.kind}:{self.path}{':' if self.repository else ''}{name}"


def parse_address(text: str) -> Address:
    """Read an address; a bare name is one of a registry. Raise NameInvalid or TagInvalid, naming
    what is wrong."""
    try:
        return _parse(text)
    except DigestInvalid as error:  # mistyped: it says nothing about any content
        raise NameInvalid(error.message, detail={"address": text[:255]}) from None


def _parse(text: str) -> Address:
    kind, colon, rest = text.partition(":")
    if text == "-":
        return Address("oci-archive", "-")
    if rest.startswith("//") and kind != "docker" and colon:
        raise NameInvalid(
            f"{kind[:40]!r} is no transport that is known here; use docker://, oci:, "
            "oci-archive:, docker-archive:, store: or -",
            detail={"address": text[:255]},
        )
    match kind if colon else "":
        case "docker":
            if not rest.startswith("//"):
                return repository_address(text)
            return repository_address(rest[2:])
        case "oci":
            return _in_file("oci", rest)
        case "oci-archive":
            return _in_file("oci-archive", rest)
        case "docker-archive":
            return _docker_archive(rest)
        case "store":
            return _in_store(rest)
        case _:
            return repository_address(text)


def repository_address(text: str) -> Address:
    """Read `[host/]name[:tag][@digest]` as clients do: without a host on Docker Hub, where a
    single word stands below `library/`. No tag is filled in."""
    reference = Reference.parse(text)
    host, name = reference.host or DOCKER_HUB, reference.repository
    if host in _HUB_ALIASES:
        host = DOCKER_HUB
        if "/" not in name:
            name = RepositoryName.parse(_OFFICIAL + name)
    return Address("docker", "", host, name, reference.tag, reference.digest)


def registry_host(text: str) -> str:
    """Read a registry's `host[:port]`, also with a scheme or a path behind it, as people paste
    it to `login`. Docker Hub has one name. Raise NameInvalid."""
    bare = text.partition("://")[2] if "://" in text else text
    host = bare.partition("/")[0]
    if not host or Reference.parse(f"{host}:0/x" if ":" not in host else f"{host}/x").host is None:
        raise NameInvalid(f"{text[:255]!r} is not a registry; write host or host:port")
    return DOCKER_HUB if host in _HUB_ALIASES else host


def _in_file(kind: Literal["oci", "oci-archive"], rest: str) -> Address:
    path, tag, digest = _reference_behind(rest)
    _require_path(kind, path)
    return Address(kind, path, tag=tag, digest=digest)


def _docker_archive(rest: str) -> Address:
    path, _, name = rest.partition(":")
    _require_path("docker-archive", path)
    if not name:
        return Address("docker-archive", path)
    named = Reference.parse(name)
    host = f"{named.host}/" if named.host else ""
    repository = RepositoryName(f"{host}{named.repository}")
    return Address("docker-archive", path, "", repository, named.tag, named.digest)


def _in_store(rest: str) -> Address:
    # A name holds no upper-case path and never starts with `.`, `/` or `~`; a folder that could
    # be a name is written ./folder.
    path, name = "", rest
    if rest.startswith((".", "/", "~")):
        path, _, name = rest.partition(":")
    if not name:
        raise NameInvalid(f"'store:{rest}' names no repository; write store:[DIR:]name[:tag]")
    named = Reference.parse(name)
    if named.host is not None:
        raise NameInvalid(
            f"{named.host!r} is a host, and our own store has none; write store:"
            f"{named.repository}, or store:./DIR:name for another data directory"
        )
    return Address("store", path, "", named.repository, named.tag, named.digest)


def _reference_behind(rest: str) -> tuple[str, Tag | None, Digest | None]:
    path, at, digest = rest.rpartition("@")
    if at and digest.startswith(("sha256:", "sha512:")):
        return path, None, Digest.parse(digest)
    path, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        return rest, None, None
    return path, Tag.parse(tag) if tag else None, None


def _require_path(kind: str, path: str) -> None:
    if not path:
        raise NameInvalid(f"'{kind}:' needs a path; write {kind}:PATH[:tag]")
