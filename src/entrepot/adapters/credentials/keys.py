"""Keys: under which names a registry's login stands in files and helpers.

podman names a registry or a namespace of it (`host`, `host/ns`, `host/ns/name`); docker names a
server, often with a scheme and `/v1/` behind it. Docker Hub goes by many names.
"""

from typing import Final

from entrepot.oci.address import DOCKER_HUB

DOCKER_HUB_SERVER: Final = "https://index.docker.io/v1/"
"""What docker calls Docker Hub in its file, and what helpers know it by."""

_HUB_HOSTS: Final = frozenset(
    {DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)
_VERSIONS: Final = frozenset({"", "v1", "v2"})


def candidates(registry: str, repository: str = "") -> tuple[str, ...]:
    """Return the names a login may stand under, the longest first."""
    host = plain_key(registry)
    parts = [part for part in repository.split("/") if part]
    names = ["/".join([host, *parts[:count]]) for count in range(len(parts), 0, -1)]
    return (*names, host)


def plain_key(key: str) -> str:
    """Return a key as `candidates` has it, however it was written.

    What stands behind a host that has a scheme is docker's, and no namespace.
    """
    _, scheme, rest = key.rpartition("://")
    host, _, path = rest.partition("/")
    host, path = host.lower(), path.strip("/")
    if host in _HUB_HOSTS:
        host = DOCKER_HUB
    if scheme or path in _VERSIONS:
        return host
    return f"{host}/{path}"


def server_name(registry: str) -> str:
    """Return what docker and helpers call a registry."""
    host = plain_key(registry)
    return DOCKER_HUB_SERVER if host == DOCKER_HUB else host
