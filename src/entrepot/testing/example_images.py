"""Small images, indexes and artifacts, made in memory: what Ends and transfers are tested with.

They are well-formed: configs name the layers' digests, so also a docker archive takes them.
"""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.platform import Platform

HERE: Final = Platform("linux", "amd64")
ELSEWHERE: Final = Platform("linux", "arm64", "v8")
SIGNATURE: Final = "application/vnd.example.signature"
SBOM: Final = "application/vnd.example.sbom"

_CREATED: Final = "2024-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class ExampleImage:
    """An image graph: its root, and all manifests (bottom-up, the root last) and blobs by
    descriptor."""

    root: Descriptor
    manifests: Mapping[Descriptor, bytes] = field(hash=False)
    blobs: Mapping[Descriptor, bytes] = field(hash=False)

    @property
    def content(self) -> bytes:
        """The root's bytes."""
        return self.manifests[self.root]

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The layers of an image manifest, as it lists them."""
        listed = json.loads(self.content)["layers"]
        return tuple(Descriptor.of_json(one, "layers") for one in listed)

    def size(self) -> int:
        """Return how many bytes its blobs have together."""
        return sum(descriptor.size for descriptor in self.blobs)


def described(content: bytes, media_type: str, algorithm: str = "sha256") -> Descriptor:
    """Return the descriptor of some bytes."""
    return Descriptor(media_type, Digest.of(content, algorithm), len(content))


def document(value: Mapping[str, object], *, odd: bool = False) -> bytes:
    """Render JSON; `odd` writes it as no encoder does: its bytes survive only verbatim."""
    text = json.dumps(value, separators=(",", ":"))
    if odd:
        text = "\n " + text.replace(":{", " :\t{ ", 1) + "\r\n\n"
    return text.encode()


def image(
    seed: str = "image",
    *,
    layers: Sequence[bytes] | None = None,
    platform: Platform = HERE,
    algorithm: str = "sha256",
    compressed: bool = True,
    docker: bool = False,
    odd: bool = False,
) -> ExampleImage:
    """Make an image of these uncompressed layers, two small ones of `seed` by default.

    `docker` makes it Docker schema 2, `odd` writes its manifest with unusual white space.
    """
    contents = layers if layers is not None else [f"{seed} {n}\n".encode() * 99 for n in (1, 2)]
    packed = [gzip.compress(one, mtime=0) if compressed else one for one in contents]
    config = document(
        {
            "created": _CREATED,
            "architecture": platform.architecture,
            "os": platform.os,
            **({"variant": platform.variant} if platform.variant else {}),
            "config": {"Cmd": ["/bin/true"], "Labels": {"seed": seed}},
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(one)) for one in contents]},
            "history": [{"created": _CREATED, "created_by": "example"} for _ in contents],
        }
    )
    types = _DOCKER if docker else _OCI
    blobs = {described(config, types.config, algorithm): config}
    listed = []
    for one in packed:
        layer = described(one, types.packed if compressed else types.layer, algorithm)
        blobs[layer] = one
        listed.append(layer.to_json())
    content = document(
        {
            "schemaVersion": 2,
            "mediaType": types.manifest,
            "config": next(iter(blobs)).to_json(),
            "layers": listed,
        },
        odd=odd,
    )
    root = described(content, types.manifest, algorithm)
    return ExampleImage(root, {root: content}, blobs)


def index(*images: tuple[Platform, ExampleImage], odd: bool = False) -> ExampleImage:
    """Make an index of images; of two small ones for two platforms if none are given."""
    listed = images or tuple((one, image(str(one), platform=one)) for one in (HERE, ELSEWHERE))
    content = document(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": [replace(one.root, platform=where).to_json() for where, one in listed],
        },
        odd=odd,
    )
    root = described(content, media_types.OCI_INDEX)
    manifests = {key: value for _, one in listed for key, value in one.manifests.items()}
    blobs = {key: value for _, one in listed for key, value in one.blobs.items()}
    return ExampleImage(root, {**manifests, root: content}, blobs)


def artifact(
    subject: Descriptor | None = None,
    artifact_type: str = SIGNATURE,
    payload: bytes = b"signed",
    annotations: Mapping[str, str] | None = None,
) -> ExampleImage:
    """Make an artifact with one blob, which refers to `subject` if there is one."""
    empty, content = b"{}", payload
    config = described(empty, media_types.OCI_EMPTY)
    layer = described(content, "application/octet-stream")
    manifest = document(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": config.to_json(),
            "layers": [layer.to_json()],
            **({"subject": _bare(subject).to_json()} if subject else {}),
            **({"annotations": dict(annotations)} if annotations else {}),
        }
    )
    root = described(manifest, media_types.OCI_MANIFEST)
    return ExampleImage(root, {root: manifest}, {config: empty, layer: content})


def _bare(descriptor: Descriptor) -> Descriptor:
    return Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)


@dataclass(frozen=True, slots=True)
class _Types:
    manifest: str
    config: str
    layer: str
    packed: str


_OCI: Final = _Types(
    media_types.OCI_MANIFEST,
    media_types.OCI_CONFIG,
    media_types.OCI_LAYER,
    media_types.OCI_LAYER_GZIP,
)
_DOCKER: Final = _Types(
    media_types.DOCKER_MANIFEST,
    media_types.DOCKER_CONFIG,
    media_types.DOCKER_LAYER,
    media_types.DOCKER_LAYER_GZIP,
)
