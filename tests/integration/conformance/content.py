"""What the tests push: blobs, and manifests over them, built here and by no code under test."""

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_FOREIGN_LAYER: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar"
OCI_FOREIGN_LAYER_GZIP: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCTETS: Final = "application/octet-stream"
SBOM: Final = "application/vnd.example.sbom.v1"
SIGNATURE: Final = "application/vnd.example.signature.v1+json"

Json = dict[str, Any]


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """Return the digest of some bytes as text."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes, their media type, and the algorithm they are known by."""

    content: bytes
    media_type: str = OCTETS
    algorithm: str = "sha256"

    @property
    def digest(self) -> str:
        return digest_of(self.content, self.algorithm)

    def descriptor(self, **fields: Any) -> Json:
        """Return a descriptor of it, with further fields as an image-spec writes them."""
        size = len(self.content)
        return {"mediaType": self.media_type, "digest": self.digest, "size": size, **fields}

    def embedding_descriptor(self) -> Json:
        """Return a descriptor that carries the content itself."""
        return self.descriptor(data=base64.b64encode(self.content).decode())

    def corrupted(self) -> bytes:
        """Return bytes that are not those of the digest."""
        return self.content + b"oh no"


def random_blob(size: int = 512, *, media_type: str = OCTETS, algorithm: str = "sha256") -> Content:
    """Return content that no other test has."""
    return Content(os.urandom(size), media_type, algorithm)


def empty_json(algorithm: str = "sha256") -> Content:
    """Return the empty JSON object that stands for "no config" in artifacts."""
    return Content(b"{}", OCI_EMPTY, algorithm)


def layer(*, compressed: bool = True, algorithm: str = "sha256") -> Content:
    """Return a layer with one small file in it."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        file = os.urandom(32).hex().encode()
        member = tarfile.TarInfo("data.txt")
        member.size = len(file)
        tar.addfile(member, io.BytesIO(file))
    if compressed:
        return Content(gzip.compress(archive.getvalue()), OCI_LAYER_GZIP, algorithm)
    return Content(archive.getvalue(), OCI_LAYER, algorithm)


def document(fields: Mapping[str, object], media_type: str, algorithm: str = "sha256") -> Content:
    """Return JSON as content."""
    return Content(json.dumps(fields).encode(), media_type, algorithm)


@dataclass(frozen=True, slots=True)
class Graph:
    """Manifests and the blobs they need, each in an order in which they may be pushed."""

    blobs: tuple[Content, ...]
    manifests: tuple[Content, ...]

    @property
    def top(self) -> Content:
        """The manifest that all the rest is for."""
        return self.manifests[-1]

    def __add__(self, other: "Graph") -> "Graph":
        return Graph(self.blobs + other.blobs, self.manifests + other.manifests)

    def without(self, missing: Content) -> "Graph":
        """Return the graph with one of its blobs left out."""
        return Graph(tuple(blob for blob in self.blobs if blob != missing), self.manifests)


def manifest(
    config: Json, layers: Iterable[Json], *, algorithm: str = "sha256", **fields: Any
) -> Content:
    """Return an image manifest over the descriptors of a config and of layers."""
    body: Json = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config,
        "layers": list(layers),
    }
    return document(body | fields, OCI_MANIFEST, algorithm)


def image(
    *,
    algorithm: str = "sha256",
    layers: int = 2,
    compressed: bool = True,
    architecture: str = "amd64",
    embed: bool = False,
    config_fields: Mapping[str, object] | None = None,
    **fields: Any,
) -> Graph:
    """Return an image; `fields` are further ones of its manifest."""
    content = tuple(layer(compressed=compressed, algorithm=algorithm) for _ in range(layers))
    config = document(
        {
            "architecture": architecture,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [blob.digest for blob in content]},
            "author": os.urandom(8).hex(),
            **(config_fields or {}),
        },
        OCI_CONFIG,
        algorithm,
    )
    described = Content.embedding_descriptor if embed else Content.descriptor
    top = manifest(
        described(config), [described(blob) for blob in content], algorithm=algorithm, **fields
    )
    return Graph((*content, config), (top,))


def artifact(artifact_type: str, *, content: Content | None = None, **fields: Any) -> Graph:
    """Return an artifact with one layer of its own type (or `content`) and an empty config."""
    blob = content or random_blob(2048, media_type=artifact_type)
    config = empty_json()
    body = manifest(config.descriptor(), [blob.descriptor()], artifactType=artifact_type, **fields)
    blobs = (config,) if blob == config else (blob, config)
    return Graph(blobs, (body,))


def index(
    *children: Graph, algorithm: str = "sha256", absent: Iterable[Json] = (), **fields: Any
) -> Graph:
    """Return an index over the tops of graphs, and over descriptors of what is not there."""
    architectures = ("amd64", "arm64", "riscv64")
    listed = [
        child.top.descriptor(platform={"os": "linux", "architecture": architecture})
        for child, architecture in zip(children, architectures, strict=False)
    ]
    body: Json = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [*listed, *absent],
    }
    together = sum(children, Graph((), ()))
    return together + Graph((), (document(body | fields, OCI_INDEX, algorithm),))
