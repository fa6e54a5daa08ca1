"""Clients that pull through a mirror, each with the very configuration that the mirror prints.

A client is given a sandbox and a running mirror; it asks the mirror for its configuration, puts
the files where the program looks for them, and then knows images by their own names. Those that
take no such configuration put the mirror's name in front.
"""

import json
import os
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import pytest

from tests.interop.buildkit import RunningBuildKit
from tests.interop.clients import Crane, LayoutClient, Oras, Regctl, Skopeo, require_root
from tests.interop.containerd import RunningContainerd
from tests.interop.daemons import DoesNotStart
from tests.interop.docker_daemon import DockerDaemon
from tests.interop.images import HERE
from tests.interop.layouts import Layers, Layout
from tests.interop.sandbox import Sandbox
from tests.programs import NOT_RUN, find_program, require_program
from tests.server import RunningServer

REGISTRIES_CONF: Final = "home/.config/containers/registries.conf.d"
DOCKERFILE: Final = "FROM {image}\nCOPY greeting /etc/greeting\n"


def printed(mirror: RunningServer, client: str) -> Mapping[str, str]:
    """Return the files that the mirror prints for a client, by the path each belongs to."""
    files: Mapping[str, str] = json.loads(got(mirror, "/_/config"))[client]
    return files


def printed_file(mirror: RunningServer, client: str) -> str:
    """Return the only file of a client, as `/_/config/CLIENT` prints it."""
    text = got(mirror, f"/_/config/{client}")
    assert [text] == list(printed(mirror, client).values())
    return text


def got(mirror: RunningServer, path: str) -> str:
    """Return the text of a page."""
    with urllib.request.urlopen(f"{mirror.url}{path}", context=mirror.tls, timeout=30) as answer:
        return str(answer.read().decode())


def put_below(folder: Path, files: Mapping[str, str]) -> None:
    """Write files to their paths, in a folder that stands for the root directory."""
    for path, text in files.items():
        place = folder / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


class MirrorClient:
    """One client that pulls through a mirror. Images are named as ever, with the registry.

    As a context it ends what it has started.
    """

    PROGRAMS: tuple[str, ...] = ()
    AS_ROOT = True
    HUB_ONLY = False
    """Whether it mirrors Docker Hub alone."""

    def __init__(self, sandbox: Sandbox, mirror: RunningServer) -> None:
        for program in self.PROGRAMS:
            require_program(program)
            if self.AS_ROOT:
                require_root(program)
        self.sandbox = sandbox
        self.mirror = mirror
        self.set_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def set_up(self) -> None:
        """Put the mirror's configuration in place."""

    def pull(self, image: str) -> Layers:
        """Pull an image, and return the layers that came."""
        raise NotImplementedError

    def forget(self) -> None:
        """Remove every image, so that the next pull fetches all of it."""

    def stop(self) -> None:
        """End what was started."""


class RegistriesConf(MirrorClient):
    """What reads `registries.conf`: a drop-in in the home directory, of the printed form."""

    def set_up(self) -> None:
        ((path, text),) = printed(self.mirror, "podman").items()
        put_below(self.sandbox.folder, {f"{REGISTRIES_CONF}/{Path(path).name}": text})


class MirroredSkopeo(RegistriesConf):
    PROGRAMS = ("skopeo",)
    AS_ROOT = False

    def pull(self, image: str) -> Layers:
        number = len(list(self.sandbox.folder.glob("pulled-*")))
        target = self.sandbox.folder / f"pulled-{number}"
        self.sandbox.run("skopeo", "copy", f"docker://{image}", f"oci:{target}:1.0")
        return layers_of(Layout(target))


class MirroredPodman(RegistriesConf):
    PROGRAMS = ("podman",)

    def pull(self, image: str) -> Layers:
        self.sandbox.run("podman", "pull", "--quiet", image)
        (told,) = json.loads(self.sandbox.run("podman", "image", "inspect", image))
        return tuple(told["RootFS"]["Layers"])

    def forget(self) -> None:
        self.sandbox.run("podman", "rmi", "--all", "--force")


class MirroredBuildah(RegistriesConf):
    PROGRAMS = ("buildah",)

    def pull(self, image: str) -> Layers:
        self.sandbox.run("buildah", "pull", "--quiet", image)
        told = json.loads(self.sandbox.run("buildah", "inspect", "--type=image", image))
        return tuple(told["OCIv1"]["rootfs"]["diff_ids"])

    def forget(self) -> None:
        self.sandbox.run("buildah", "rmi", "--all", "--force")


class MirroredDocker(MirrorClient):
    """dockerd with the printed `daemon.json`. Its daemon is of its own."""

    PROGRAMS = ("dockerd", "docker")
    HUB_ONLY = True

    def set_up(self) -> None:
        settings = json.loads(printed_file(self.mirror, "dockerd"))
        self._daemon = started_daemon(self.sandbox, settings)

    def pull(self, image: str) -> Layers:
        self.sandbox.run("docker", "pull", image)
        return docker_layers(self.sandbox, image)

    def forget(self) -> None:
        self.sandbox.run("docker", "image", "prune", "--all", "--force")

    def stop(self) -> None:
        self._daemon.stop()


class MirroredDockerBuild(MirroredDocker):
    """The BuildKit inside dockerd, by a `docker` that has it: newer ones leave it to a plug-in."""

    _PRUNE = ("builder", "prune", "--all", "--force")

    def set_up(self) -> None:
        super().set_up()
        self.sandbox.environment["DOCKER_BUILDKIT"] = "1"
        able = (one for one in ("docker", "/usr/bin/docker") if self._is_able(one))
        self._docker = next(able, "")
        if not self._docker:
            self.stop()
            pytest.skip(f"{NOT_RUN}docker's BuildKit needs buildx, which is not on this machine")

    def pull(self, image: str) -> Layers:
        context = build_context(self.sandbox, image)
        words = ("--pull", "--no-cache", "--tag=built", context)
        self.sandbox.run(self._docker, "build", *words)
        return docker_layers(self.sandbox, "built")[:-1]

    def forget(self) -> None:
        super().forget()
        self.sandbox.run(self._docker, *self._PRUNE)

    def _is_able(self, program: str) -> bool:
        there = find_program(program) is not None
        return there and self.sandbox.attempt(program, *self._PRUNE).returncode == 0


class MirroredBuildKit(MirrorClient):
    """A buildkitd with the printed `buildkitd.toml`."""

    PROGRAMS = ("buildkitd", "buildctl", "runc")

    def set_up(self) -> None:
        folder = self.sandbox.folder / "buildkit"
        put_below(folder, {"buildkitd.toml": printed_file(self.mirror, "buildkit")})
        self._daemon = RunningBuildKit(folder, folder / "buildkitd.toml", self.sandbox.environment)

    def pull(self, image: str) -> Layers:
        context = build_context(self.sandbox, image)
        target = context / "built.tar"
        self._ask("build", "--frontend=dockerfile.v0", "--no-cache", f"--local=context={context}",
                  f"--local=dockerfile={context}", f"--output=type=oci,dest={target}")  # fmt: skip
        (context / "built").mkdir()
        self.sandbox.run("tar", "-xf", target, "-C", context / "built")
        return layers_of(Layout(context / "built"))[:-1]

    def forget(self) -> None:
        self._ask("prune", "--all")

    def stop(self) -> None:
        self._daemon.stop()

    def _ask(self, *words: str) -> str:
        return self.sandbox.run("buildctl", f"--addr={self._daemon.address}", *words)


class MirroredContainerd(MirrorClient):
    """containerd with the printed `hosts.toml` of each registry; `login` as `ctr --user` has it."""

    PROGRAMS = ("containerd", "ctr")
    login = ""

    def set_up(self) -> None:
        files = printed(self.mirror, "containerd")
        put_below(self.sandbox.folder, files)
        self._hosts = self.sandbox.folder / "etc/containerd/certs.d"
        assert {str(self._hosts)} == {
            str((self.sandbox.folder / path.lstrip("/")).parent.parent) for path in files
        }
        folder = self.sandbox.folder / "containerd"
        folder.mkdir()
        self._daemon = RunningContainerd(folder)

    def pull(self, image: str) -> Layers:
        login = [f"--user={self.login}"] if self.login else []
        words = ["--snapshotter=native", f"--hosts-dir={self._hosts}", *login, image]
        self.ask("images", "pull", *words)
        return self._layers(self._target(image))

    def forget(self) -> None:
        images = self.ask("images", "ls", "--quiet").split()
        self.ask("images", "rm", "--sync", *images)
        assert self.ask("content", "ls", "--quiet") == ""

    def stop(self) -> None:
        self._daemon.stop()

    def ask(self, *words: str) -> str:
        """Run `ctr`, and return what it prints."""
        return self.sandbox.run("ctr", f"--address={self._daemon.address}", *words)

    def _target(self, image: str) -> str:
        lines = self.ask("images", "ls", f"name=={image}").splitlines()
        return lines[1].split()[2]

    def _layers(self, digest: str) -> Layers:
        """Follow an index and a manifest to the config."""
        document = json.loads(self.ask("content", "get", digest))
        if "manifests" in document:
            return self._layers(_here(document))
        config = json.loads(self.ask("content", "get", document["config"]["digest"]))
        return tuple(config["rootfs"]["diff_ids"])


class NamedDocker(MirroredDocker):
    """dockerd as it comes: images are below the mirror's name."""

    HUB_ONLY = False

    def set_up(self) -> None:
        self._daemon = started_daemon(self.sandbox)

    def pull(self, image: str) -> Layers:
        return super().pull(f"{self.mirror.host}/{image}")


class NamedPodman(MirroredPodman):
    """podman as it comes. Who writes the mirror's name also says so if it has no TLS."""

    def set_up(self) -> None:
        host, plain = self.mirror.host, str(self.mirror.tls is None).lower()
        text = f'[[registry]]\nlocation = "{host}"\ninsecure = {plain}\n'
        put_below(self.sandbox.folder, {f"{REGISTRIES_CONF}/plain.conf": text})

    def pull(self, image: str) -> Layers:
        return super().pull(f"{self.mirror.host}/{image}")


class NamedCopy(MirrorClient):
    """A client without mirrors: images are below the mirror's name."""

    AS_ROOT = False
    COPIER: type[LayoutClient] = Skopeo

    def pull(self, image: str) -> Layers:
        number = len(list(self.sandbox.folder.glob("pulled-*")))
        copier = self.COPIER(self.sandbox, encrypted=self.mirror.tls is not None)
        layout = copier.download(f"{self.mirror.host}/{image}", f"pulled-{number}")
        layout.contents(layout.find())
        return layers_of(layout)


class NamedCrane(NamedCopy):
    PROGRAMS = ("crane",)
    COPIER = Crane


class NamedRegctl(NamedCopy):
    PROGRAMS = ("regctl",)
    COPIER = Regctl


class NamedOras(NamedCopy):
    PROGRAMS = ("oras",)
    COPIER = Oras


MIRROR_CLIENTS: Final[dict[str, type[MirrorClient]]] = {
    "dockerd": MirroredDocker,
    "docker-build": MirroredDockerBuild,
    "podman": MirroredPodman,
    "buildah": MirroredBuildah,
    "skopeo": MirroredSkopeo,
    "containerd": MirroredContainerd,
    "buildkit": MirroredBuildKit,
    "crane": NamedCrane,
    "regctl": NamedRegctl,
    "oras": NamedOras,
}


def started_daemon(
    sandbox: Sandbox,
    settings: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> DockerDaemon:
    """Start a dockerd in a sandbox, for the `docker` of that sandbox.

    Report the test at hand as not run where none starts.
    """
    require_root("dockerd")
    folder = sandbox.folder / "dockerd"
    folder.mkdir()
    try:
        daemon = DockerDaemon(folder, settings, environment)
    except DoesNotStart as reason:
        pytest.skip(f"{NOT_RUN}dockerd does not start here: {reason}")
    sandbox.environment["DOCKER_HOST"] = daemon.address
    return daemon


def docker_layers(sandbox: Sandbox, image: str) -> Layers:
    """Return the layers of an image that dockerd has."""
    (told,) = json.loads(sandbox.run("docker", "image", "inspect", image))
    return tuple(told["RootFS"]["Layers"])


def build_context(sandbox: Sandbox, image: str) -> Path:
    """Make a context that builds one more layer on an image."""
    number = len(list(sandbox.folder.glob("context-*")))
    files = {"Dockerfile": DOCKERFILE.format(image=image), "greeting": f"built {os.getpid()}\n"}
    context = sandbox.folder / f"context-{number}"
    put_below(context, files)
    return context


def layers_of(layout: Layout) -> Layers:
    """Return the layers of a layout's image, of an index that for this machine."""
    found = layout.document(layout.find())
    if "manifests" in found:
        listed = {one["digest"]: one for one in found["manifests"]}
        found = layout.document(listed[_here(found)])
    return tuple(layout.document(found["config"])["rootfs"]["diff_ids"])


def _here(index: Mapping[str, Any]) -> str:
    """Return the digest of an index's manifest for this machine."""
    listed: Iterable[Mapping[str, Any]] = index["manifests"]
    (found,) = [one for one in listed if one["platform"]["architecture"] == HERE]
    return str(found["digest"])
