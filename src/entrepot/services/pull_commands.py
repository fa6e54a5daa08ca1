"""Pull commands: an image's name in, the lines that pull it through this server out.

The image gets the name it was asked for, and the longer one goes: `pull`, `tag`, `rmi`. All that
is shown is made of parsed names, so it can be pasted into a shell.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, get_args
from urllib.parse import urlsplit

from entrepot.oci.address import DOCKER_HUB
from entrepot.oci.errors import Denied, NameInvalid
from entrepot.oci.reference import Reference

Client = Literal["docker", "podman", "nerdctl"]
CLIENTS: Final[tuple[Client, ...]] = get_args(Client)

LATEST: Final = "latest"


@dataclass(frozen=True, slots=True)
class Names:
    """What an image is called where it is pulled, and what it is to be called: empty if it keeps
    that name."""

    pulled: str
    wanted: str = ""


def mirrored_names(
    address: str,
    image: str,
    client: Client = "docker",
    default_registry: str = "",
    known: Collection[str] | None = None,
) -> Names:
    """Return the names of an image of another registry.

    `image` is as people write it: without a registry the default registry is meant, or else
    Docker Hub. `known` are all names of upstreams, None where any registry may be named. Raise
    NameInvalid, TagInvalid or DigestInvalid; Denied for a registry that is not known.
    """
    host = urlsplit(address).netloc
    reference = _parsed(image, host)
    if reference.host is not None and ":" in reference.host:
        raise NameInvalid(
            f"clients take no port inside a name; give {reference.host} an alias among this "
            "server's upstreams, and write that"
        )
    by = f"@{reference.digest}" if reference.digest else f":{reference.tag or LATEST}"
    if reference.host is None and known and reference.repository.partition("/")[0] in known:
        return Names(f"{host}/{reference.repository}{by}")  # an upstream that a word names
    if known is not None and not (reference.host is None and default_registry):
        _check_known(reference, known)
    official = "" if "/" in reference.repository else "library/"
    full = f"{reference.host}/{reference.repository}"
    if reference.host is None:
        full = f"{DOCKER_HUB}/{official}{reference.repository}"
    path = str(reference.repository) if reference.host is None and default_registry else full
    if reference.digest is not None and reference.tag is None:
        return Names(f"{host}/{path}@{reference.digest}")  # no tag can stand for a digest
    tag = reference.tag or LATEST
    wanted = f"{reference.host}/" if reference.host else ""
    wanted = f"{wanted}{reference.repository}"
    if client == "podman" and reference.host is None:
        # Podman keeps a name without a registry below localhost/, and looks for it elsewhere.
        registry = default_registry if "." in default_registry else DOCKER_HUB
        wanted = full if registry == DOCKER_HUB else f"{registry}/{reference.repository}"
    return Names(f"{host}/{path}{by}", f"{wanted}:{tag}")


def _check_known(reference: Reference, known: Collection[str]) -> None:
    """Raise Denied, telling how to allow it, for a registry that the server would refuse."""
    registry = reference.host or DOCKER_HUB
    if registry in known:
        return
    said = "" if reference.host else "a name without a registry is Docker Hub's: "
    others = f", or name an image of {' or '.join(sorted(known)[:3])}" if known else ""
    raise Denied(
        f"{said}{registry} is not mirrored here; its operator can add it by `entrepot upstream "
        f"add {registry}`{others}",
        detail={"host": registry},
    )


def hosted_names(address: str, image: str) -> Names:
    """Return the names of an image that has its name from here. Raise as `mirrored_names`."""
    host = urlsplit(address).netloc
    reference = _parsed(image, host)
    by = f"@{reference.digest}" if reference.digest else f":{reference.tag or LATEST}"
    registry = f"{reference.host}/" if reference.host else ""
    return Names(f"{host}/{registry}{reference.repository}{by}")


def commands(address: str, names: Names, client: Client = "docker") -> str:
    """Return the lines of a shell that pull an image and name it."""
    plain = urlsplit(address).scheme == "http"
    pull = {
        "docker": "docker pull",
        "podman": "podman pull --tls-verify=false" if plain else "podman pull",
        "nerdctl": "nerdctl --insecure-registry pull" if plain else "nerdctl pull",
    }[client]
    lines = [f"{pull} {names.pulled}"]
    if names.wanted:
        lines.append(f"{client} tag {names.pulled} {names.wanted}")
        lines.append(f"{client} rmi {names.pulled}")
    return " && \\\n".join(lines)


def _parsed(image: str, host: str) -> Reference:
    """Read an image's name, also one that is pasted with this server's own name in front."""
    text = image.strip().removeprefix("docker://").removeprefix(f"{host}/")
    return Reference.parse(text)
