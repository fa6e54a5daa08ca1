"""Places an image can be at, as our program's command line writes them."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from tests.interop import images
from tests.interop.images import HERE, TAG
from tests.interop.layouts import MANIFEST, Descriptor, Layout
from tests.interop.sandbox import Sandbox

SBOM: Final = "application/spdx+json"

_EMPTY: Final = "application/vnd.oci.empty.v1+json"
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Places:
    """Addresses that were never used before: in two registries, and in a machine's folder.

    `ours` and `theirs` are `host:port` of Entrepot's server and of docker-registry.
    """

    sandbox: Sandbox
    ours: str
    theirs: str

    def new(self, kind: str) -> str:
        """Return an address where nothing is yet. `kind` is a key of `KINDS`."""
        return KINDS[kind](self, next(_numbers))

    def copy(self, source: str, target: str, *options: str) -> str:
        """Copy with our program, and return the digest that it prints."""
        return self.sandbox.run("entrepot", "cp", "--quiet", *options, source, target).strip()

    def read(self, address: str, *options: str) -> Layout:
        """Copy an End into a layout, which can be verified without our code."""
        path = self.sandbox.folder / f"read-{next(_numbers)}"
        self.copy(address, f"oci:{path}:{TAG}", *options)
        return Layout(path)


KINDS: Final[dict[str, Callable[[Places, int], str]]] = {
    "entrepot": lambda places, number: f"docker://{places.ours}/ends/{number}:{TAG}",
    "docker-registry": lambda places, number: f"docker://{places.theirs}/ends/{number}:{TAG}",
    "oci": lambda _places, number: f"oci:layout-{number}:{TAG}",
    "oci-archive": lambda _places, number: f"oci-archive:{number}.tar:{TAG}",
    "docker-archive": lambda _, number: (
        f"docker-archive:{number}.tar:localhost/ends/{number}:{TAG}"
    ),
    "store": lambda _places, number: f"store:./store-{number}:ends/{number}:{TAG}",
}


def here(layout: Layout) -> Descriptor:
    """Return a layout's image; of one for many platforms, that for this machine."""
    root = layout.find()
    children: list[dict[str, Any]] = layout.document(root).get("manifests", [])
    for child in children:
        if child["platform"]["architecture"] == HERE:
            return {name: child[name] for name in ("mediaType", "digest", "size")}
    return root


def attach(layout: Layout, subject: Descriptor, content: bytes, kind: str = SBOM) -> Descriptor:
    """Store an artifact that refers to a manifest of the layout; return its descriptor."""
    empty = layout.add(b"{}", _EMPTY)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": empty,
        "layers": [layout.add(content, kind)],
        "subject": subject,
        "annotations": {"org.opencontainers.image.created": images.CREATED},
    }
    made = layout.add_json(manifest, MANIFEST)
    layout.list(made | {"artifactType": kind})
    return made
