"""Client configuration: what makes each client pull through this server, ready to be pasted.

Pure text. `address` is this server as clients reach it, `http://HOST[:PORT]` or `https://…`;
`upstreams` are the names of its mirrored registries. How clients build their paths:

    dockerd, containerd         a path in the mirror's URL goes in front of `/v2/`
    podman, BuildKit, kaniko    it goes behind `/v2/`
    k3s                         it is taken as it is, `/v2/` included

A registry whose name holds a port cannot be written behind `/v2/`: `:` starts a tag there. A name
without a dot and a port is a word of this server's own that no image name begins with. Such
registries are left out where they cannot be written; an upstream's `aliases` help.

Source: moby `registry/config.go` and `daemon/hosts.go`, containerd `docs/hosts.md`,
containers-registries.conf(5), buildkitd.toml(5), k3s "Private Registry Configuration", kaniko's
README.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from entrepot.oci.address import DOCKER_HUB
from entrepot.oci.reference import looks_like_host

CERTIFICATES: Final = "/etc/containerd/certs.d"
"""Where containerd, nerdctl and CRI plug-ins look for `hosts.toml`."""

_ELSEWHERE: Final = {DOCKER_HUB: "registry-1.docker.io"}
"""Registries whose API has another host than their name."""

_KANIKO: Final = {DOCKER_HUB: "index.docker.io"}


@dataclass(frozen=True, slots=True)
class Configuration:
    """A client's configuration: text by the path it belongs to, and what to do with it. Flags have
    the path of the program they are for."""

    client: str
    title: str
    files: Mapping[str, str]
    advice: str
    reason: str = ""
    """Why no registry is in it; empty if one is."""

    @property
    def text(self) -> str:
        """All files in one text; of several, each has its path in a comment above it."""
        reason = f"# {self.reason}\n" if self.reason else ""
        if len(self.files) == 1:
            return reason + next(iter(self.files.values()))
        return reason + "\n".join(f"# {path}\n{text}" for path, text in self.files.items())


def dockerd(address: str, upstreams: Sequence[str], default_registry: str = "") -> str:
    """Return `daemon.json`. dockerd mirrors Docker Hub alone.

    Before 24.0.8, and 25, it refuses mirrors with a path: there it takes a server whose default
    registry is Docker Hub, which needs none.
    """
    document: dict[str, list[str]] = {}
    if default_registry == DOCKER_HUB:
        document["registry-mirrors"] = [address]
    elif DOCKER_HUB in upstreams:
        document["registry-mirrors"] = [f"{address}/{DOCKER_HUB}"]
    if _is_plain(address):
        document["insecure-registries"] = [_host(address)]
    return json.dumps(document, indent=2) + "\n"


def containerd(address: str, upstreams: Sequence[str]) -> dict[str, str]:
    """Return a `hosts.toml` for each registry, by path."""
    return {
        f"{CERTIFICATES}/{name}/hosts.toml": (
            f'server = "https://{_ELSEWHERE.get(name, name)}"\n\n'
            f'[host."{address}/{name}"]\n'
            f'  capabilities = ["pull", "resolve"]\n'
        )
        for name in _registries(upstreams)
    }


def podman(address: str, upstreams: Sequence[str]) -> str:
    """Return a drop-in for `registries.conf` (version 2), for all that reads it: podman, buildah,
    skopeo, CRI-O."""
    insecure = "insecure = true\n" if _is_plain(address) else ""
    return "\n".join(
        f'[[registry]]\nprefix = "{name}"\nlocation = "{name}"\n\n'
        f'[[registry.mirror]]\nlocation = "{_host(address)}/{name}"\n{insecure}'
        for name in _without_port(upstreams)
    )


def buildkit(address: str, upstreams: Sequence[str]) -> str:
    """Return `buildkitd.toml`. BuildKit takes plain HTTP for granted on its own machine."""
    tables = [
        f'[registry."{name}"]\n  mirrors = ["{_host(address)}/{name}"]\n'
        for name in _without_port(upstreams)
    ]
    if _is_plain(address) or _is_this_machine(address):
        plain = "true" if _is_plain(address) else "false"
        tables.append(f'[registry."{_host(address)}"]\n  http = {plain}\n')
    return "\n".join(tables)


def k3s(address: str, upstreams: Sequence[str]) -> str:
    """Return `registries.yaml`, for k3s and RKE2."""
    mirrors = "".join(
        f'  "{name}":\n    endpoint:\n      - "{address}/v2/{name}"\n'
        for name in _registries(upstreams)
    )
    return f"mirrors:\n{mirrors}" if mirrors else "mirrors: {}\n"


def kaniko(address: str, upstreams: Sequence[str]) -> str:
    """Return the flags of kaniko's executor (1.21 or newer), one per line."""
    names = _without_port(upstreams)
    host = _host(address)
    flags = [f"--registry-mirror={host}/{name}" for name in names if name == DOCKER_HUB]
    flags += [
        f"--registry-map={_KANIKO.get(name, name)}={host}/{name}"
        for name in names
        if name != DOCKER_HUB
    ]
    if _is_plain(address):
        flags.append(f"--insecure-registry={host}")
    return "".join(f"{flag}\n" for flag in flags)


def configurations(
    address: str, upstreams: Sequence[str], default_registry: str = ""
) -> tuple[Configuration, ...]:
    """Return the configuration of every client."""
    by_path = _reason(address, upstreams, _registries(upstreams), "a registry's host")
    by_name = _reason(
        address, upstreams, _without_port(upstreams), "a registry's host without a port"
    )
    return (
        Configuration(
            "dockerd",
            "Docker",
            {"/etc/docker/daemon.json": dockerd(address, upstreams, default_registry)},
            "For Docker Hub only, which is all that Docker mirrors. Add it to what is there and "
            "restart Docker."
            + (
                ""
                if default_registry == DOCKER_HUB
                else " Docker 24.0.8, 25 or newer; older ones take no mirror with a path."
            ),
        ),
        Configuration(
            "containerd",
            "containerd, nerdctl",
            containerd(address, upstreams),
            f'In containerd\'s config.toml, config_path of the CRI plug-in must be "{CERTIFICATES}"'
            "; nerdctl looks there by itself, ctr with --hosts-dir. No restart.",
            by_path,
        ),
        Configuration(
            "k3s",
            "k3s, RKE2",
            {"/etc/rancher/k3s/registries.yaml": k3s(address, upstreams)},
            "On every node; then restart k3s. For RKE2 the folder is /etc/rancher/rke2.",
            by_path,
        ),
        Configuration(
            "podman",
            "Podman, Buildah, Skopeo, CRI-O",
            {"/etc/containers/registries.conf.d/50-entrepot.conf": podman(address, upstreams)},
            "Read at the next command; CRI-O has to be reloaded.",
            by_name,
        ),
        Configuration(
            "buildkit",
            "BuildKit",
            {"/etc/buildkit/buildkitd.toml": buildkit(address, upstreams)},
            "For a builder of docker buildx: docker buildx create --buildkitd-config FILE.",
            by_name,
        ),
        Configuration(
            "kaniko",
            "kaniko",
            {"/kaniko/executor": kaniko(address, upstreams)},
            "Arguments of the executor, version 1.21 or newer.",
            by_name,
        ),
    )


def _reason(address: str, upstreams: Sequence[str], usable: Sequence[str], needed: str) -> str:
    """Return why a client cannot be configured; nothing if it can, for some upstream."""
    if usable:
        return ""
    if not upstreams:
        return "no upstream is configured yet: entrepot upstream add docker.io"
    return (
        f"this client takes {needed}, which none of {', '.join(upstreams)} is; pull their images "
        f"as {_host(address)}/NAME/IMAGE, where NAME is an upstream or an alias of it"
    )


def _host(address: str) -> str:
    return urlsplit(address).netloc


def _is_plain(address: str) -> bool:
    return urlsplit(address).scheme == "http"


def _is_this_machine(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _registries(upstreams: Sequence[str]) -> list[str]:
    """Return the upstreams that image names can begin with."""
    return [name for name in upstreams if looks_like_host(name)]


def _without_port(upstreams: Sequence[str]) -> list[str]:
    """Return those that can stand inside another name, too."""
    return [name for name in _registries(upstreams) if ":" not in name]
