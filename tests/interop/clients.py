"""The clients: how each pushes an image from a layout, and pulls it to a place of its own."""

import json
import os
from typing import Final, Protocol

import pytest

from tests.interop import images
from tests.interop.layouts import Image, Layout
from tests.interop.sandbox import Sandbox
from tests.programs import NOT_RUN


class Client(Protocol):
    """One client program in a sandbox. A reference is `host:port/repository:tag`."""

    def push(self, layout: Layout, reference: str) -> Image:
        """Push a layout's image and return what the client says it has pushed."""

    def pull(self, reference: str) -> Image:
        """Pull to where nothing was before, and return what came."""


class LayoutClient:
    """A client that copies between layouts and registries, byte by byte.

    It speaks plain HTTP unless `encrypted`.
    """

    def __init__(self, sandbox: Sandbox, *, encrypted: bool = False) -> None:
        self.sandbox = sandbox
        self.encrypted = encrypted

    def push(self, layout: Layout, reference: str) -> Image:
        self.upload(layout, reference)
        return layout.image(layout.find())

    def pull(self, reference: str) -> Image:
        layout = self.download(reference, "pulled")
        return layout.image(layout.find())

    def upload(self, layout: Layout, reference: str) -> None:
        """Push what the layout holds, an image or an index, as it is."""
        raise NotImplementedError

    def download(self, reference: str, name: str) -> Layout:
        """Pull an image, or an index and all of its images, to a layout of this name."""
        raise NotImplementedError


class Skopeo(LayoutClient):
    def upload(self, layout: Layout, reference: str) -> None:
        source, target = f"oci:{layout.path}:{images.TAG}", f"docker://{reference}"
        self._copy(f"--dest-tls-verify={self._verify()}", source, target)

    def download(self, reference: str, name: str) -> Layout:
        path = self.sandbox.folder / name
        source, target = f"docker://{reference}", f"oci:{path}:{images.TAG}"
        self._copy(f"--src-tls-verify={self._verify()}", source, target)
        return Layout(path)

    def _verify(self) -> str:
        return "true" if self.encrypted else "false"

    def _copy(self, *arguments: str) -> None:
        self.sandbox.run("skopeo", "copy", "--quiet", "--all", "--preserve-digests", *arguments)


class Crane(LayoutClient):
    """crane knows by itself that loopback may speak plain HTTP."""

    def upload(self, layout: Layout, reference: str) -> None:
        self.sandbox.run("crane", "push", layout.path, reference)

    def download(self, reference: str, name: str) -> Layout:
        path = self.sandbox.folder / name
        self.sandbox.run("crane", "pull", "--format=oci", reference, path)
        return Layout(path)


class Regctl(LayoutClient):
    def upload(self, layout: Layout, reference: str) -> None:
        self._copy(reference, f"ocidir://{layout.path}:{images.TAG}", reference)

    def download(self, reference: str, name: str) -> Layout:
        path = self.sandbox.folder / name
        self._copy(reference, reference, f"ocidir://{path}:{images.TAG}")
        return Layout(path)

    def _copy(self, reference: str, source: str, target: str) -> None:
        host, _, _ = reference.partition("/")
        registry = f"reg={host},tls={'enabled' if self.encrypted else 'disabled'}"
        self.sandbox.run("regctl", "--host", registry, "image", "copy", source, target)


class Oras(LayoutClient):
    def upload(self, layout: Layout, reference: str) -> None:
        source, plain = f"{layout.path}:{images.TAG}", f"--to-plain-http={self._plain()}"
        self.sandbox.run("oras", "cp", "--from-oci-layout", plain, source, reference)

    def download(self, reference: str, name: str) -> Layout:
        path = self.sandbox.folder / name
        target, plain = f"{path}:{images.TAG}", f"--from-plain-http={self._plain()}"
        self.sandbox.run("oras", "cp", "--to-oci-layout", plain, reference, target)
        return Layout(path)

    def _plain(self) -> str:
        return "false" if self.encrypted else "true"


class Entrepot(LayoutClient):
    """Our own client: it knows by itself that loopback may speak plain HTTP."""

    def upload(self, layout: Layout, reference: str) -> None:
        self.sandbox.run("entrepot", "push", "--quiet", layout.path, reference)

    def download(self, reference: str, name: str) -> Layout:
        path = self.sandbox.folder / name
        self.sandbox.run("entrepot", "pull", "--quiet", reference, f"oci:{path}:{images.TAG}")
        return Layout(path)


class Podman:
    """podman keeps images unpacked: what it pushes is compressed anew, the config stays."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def push(self, layout: Layout, reference: str) -> Image:
        name = self.sandbox.run("podman", "pull", "--quiet", f"oci:{layout.path}:{images.TAG}")
        digest = self.sandbox.folder / "digest"
        options = ["--quiet", "--tls-verify=false", f"--digestfile={digest}"]
        self.sandbox.run("podman", "push", *options, name.strip(), f"docker://{reference}")
        pushed = self._inspect(name.strip())
        self.sandbox.run("podman", "rmi", "--force", name.strip())
        return Image(digest.read_text().strip(), pushed.config, pushed.diff_ids)

    def pull(self, reference: str) -> Image:
        self.sandbox.run("podman", "pull", "--quiet", "--tls-verify=false", reference)
        return self._inspect(reference)

    def _inspect(self, name: str) -> Image:
        (told,) = json.loads(self.sandbox.run("podman", "image", "inspect", name))
        return Image(told["Digest"], f"sha256:{told['Id']}", tuple(told["RootFS"]["Layers"]))


class Buildah:
    """buildah shares podman's storage, and has commands of its own."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def push(self, layout: Layout, reference: str) -> Image:
        name = self.sandbox.run("buildah", "pull", "--quiet", f"oci:{layout.path}:{images.TAG}")
        digest = self.sandbox.folder / "digest"
        options = ["--quiet", "--tls-verify=false", f"--digestfile={digest}"]
        self.sandbox.run("buildah", "push", *options, name.strip(), f"docker://{reference}")
        pushed = self._inspect(name.strip())
        self.sandbox.run("buildah", "rmi", "--force", name.strip())
        return Image(digest.read_text().strip(), pushed.config, pushed.diff_ids)

    def pull(self, reference: str) -> Image:
        self.sandbox.run("buildah", "pull", "--quiet", "--tls-verify=false", reference)
        return self._inspect(reference)

    def _inspect(self, name: str) -> Image:
        told = json.loads(self.sandbox.run("buildah", "inspect", "--type=image", name))
        diff_ids = tuple(told["OCIv1"]["rootfs"]["diff_ids"])
        return Image(told["FromImageDigest"], f"sha256:{told['FromImageID']}", diff_ids)


class Docker:
    """docker, whose images are in the daemon that `DOCKER_HOST` of its sandbox names.

    That daemon serves many sandboxes one after the other, so it is told to forget.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.forget()

    def push(self, layout: Layout, reference: str) -> Image:
        archive = self.sandbox.folder / "image.tar"
        images.docker_archive(layout, archive, reference)
        self.sandbox.run("docker", "load", "--input", archive)
        told = self.sandbox.run("docker", "push", reference)
        pushed = self._inspect(reference)
        assert pushed.manifest in told
        return pushed

    def pull(self, reference: str) -> Image:
        self.forget()
        told = self.sandbox.run("docker", "pull", reference)
        assert "Already exists" not in told
        return self._inspect(reference)

    def forget(self) -> None:
        """Remove every image from the daemon."""
        self.sandbox.run("docker", "image", "prune", "--all", "--force")

    def _inspect(self, reference: str) -> Image:
        (told,) = json.loads(self.sandbox.run("docker", "image", "inspect", reference))
        (name,) = told["RepoDigests"]
        return Image(name.partition("@")[2], told["Id"], tuple(told["RootFS"]["Layers"]))


LAYOUT_CLIENTS: Final[dict[str, type[LayoutClient]]] = {
    "entrepot": Entrepot,
    "skopeo": Skopeo,
    "crane": Crane,
    "regctl": Regctl,
    "oras": Oras,
}
STORAGE_CLIENTS: Final[dict[str, type[Podman | Buildah | Docker]]] = {
    "podman": Podman,
    "buildah": Buildah,
    "docker": Docker,
}
NAMES: Final = (*LAYOUT_CLIENTS, *STORAGE_CLIENTS)


def require_root(program: str) -> None:
    """Report the test at hand as not run where we may not do what the program needs."""
    if os.geteuid() != 0:
        pytest.skip(f"{NOT_RUN}{program} needs root here")
