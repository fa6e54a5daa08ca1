"""Where images go when the command line does not say all of it: the file that `pull` writes, the
names inside archives, the tags at a target."""

from dataclasses import replace
from pathlib import PurePath
from typing import Final, Literal

from entrepot.oci.address import DOCKER_HUB, Address, parse_address
from entrepot.oci.errors import NameInvalid
from entrepot.oci.reference import RepositoryName, Tag

FileForm = Literal["oci", "oci-archive", "docker-archive"]

LATEST: Final = Tag("latest")
STREAM: Final = "-"

_TRANSPORTS: Final = ("docker://", "oci:", "oci-archive:", "docker-archive:", "store:")
_OFFICIAL: Final = "library/"
_ARCHIVE: Final = ".tar"


def is_address(text: str) -> bool:
    """Say whether the text names its transport, so that it is no path."""
    return text == STREAM or text.startswith(_TRANSPORTS)


def pull_target(image: Address, destination: str | None, form: FileForm | None) -> Address:
    """Return where `pull` writes: an End, a path, or a folder in this one named like the image.

    A path that ends in `.tar` is an OCI archive, any other an image layout, unless `form` says.
    """
    if destination is not None and is_address(destination) and destination != STREAM:
        return named_like(image, parse_address(destination))
    archive = destination == STREAM or (destination or "").endswith(_ARCHIVE)
    kind: FileForm = form or ("oci-archive" if archive else "oci")
    path = destination or default_path(image, kind)
    return named_like(image, Address(kind, path))


def default_path(image: Address, kind: FileForm) -> str:
    """Return the path in this folder that is named like the image: `alpine`, `alpine-3.20.tar`."""
    name = (image.repository or "image").rpartition("/")[2]
    tag = image.tag or (image.digest and image.digest.hex[:12]) or LATEST
    return name if kind == "oci" else f"{name}-{tag}{_ARCHIVE}"


def named_like(source: Address, target: Address) -> Address:
    """Return the target with the names of the source where it has none of its own."""
    if target.kind == "docker-archive" and target.repository is None and source.repository:
        return replace(target, repository=familiar_name(source), tag=source.tag)
    if target.tag is None and target.digest is None:
        return replace(target, tag=source.tag)
    return target


def familiar_name(address: Address) -> RepositoryName:
    """Return a repository as docker shows it: `alpine`, `bitnami/git`, `quay.io/a/b`.

    What has no repository is called like its folder or file, if that can be a name.
    """
    name = address.repository
    if name is None:
        try:
            return RepositoryName.parse(PurePath(address.path).name.removesuffix(_ARCHIVE))
        except NameInvalid:
            return RepositoryName("image")
    if address.kind != "docker":
        return name
    if address.host == DOCKER_HUB:
        return RepositoryName(name.removeprefix(_OFFICIAL))
    return RepositoryName(f"{address.host}/{name}")


def target_tags(source: Address, target: Address) -> tuple[Tag, ...]:
    """Return the tags that the image gets: the target's, else the source's, else `latest`.

    A target that is named by its digest, and a copy of something named only by its digest, get
    none; a source that names nothing was its End's only image.
    """
    if target.tag:
        return (target.tag,)
    if target.digest:
        return ()
    if source.tag:
        return (source.tag,)
    return () if source.digest else (LATEST,)


def shown(address: Address, tags: tuple[Tag, ...] = ()) -> str:
    """Return an address as people read it, with its only tag where it names none."""
    if len(tags) == 1 and address.tag is None and address.digest is None:
        address = replace(address, tag=tags[0])
    return str(address).removeprefix("docker://")


def below(destination: str, name: str) -> str:
    """Return the address of a repository below a destination, which may be a host alone."""
    gap = "" if destination.endswith((":", "/")) else "/"
    return f"{destination}{gap}{name}"
