"""An image of layers of one size, made of bodies that no registry has seen, and its upload."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Final

from bench.harness import clients, seed
from bench.harness.clients import Push
from bench.harness.content import (
    CONFIG_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    Bodies,
    Body,
    descriptor,
    digest_of,
)
from bench.harness.exchange import TIMEOUT_SECONDS
from bench.harness.servers import Server

TAG: Final = "latest"


@dataclass(frozen=True, slots=True)
class PulledImage:
    """An image in a repository of its own, so that nothing else tells a cache about it."""

    repository: str
    config: bytes
    layers: tuple[Body, ...]
    manifest: bytes

    @property
    def size(self) -> int:
        """What a client gets that pulls it, in bytes without heads."""
        return len(self.manifest) + len(self.config) + sum(body.size for body in self.layers)

    @property
    def blobs(self) -> list[tuple[str, int]]:
        """The digest and size of every blob, in the order of a pull."""
        config = digest_of(self.config), len(self.config)
        return [config, *((body.digest, body.size) for body in self.layers)]


def make(bodies: Bodies, repository: str, layers: int) -> PulledImage:
    """Return an image of so many fresh layers."""
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"User": repository}})
    content = config.encode()
    made = tuple(bodies.fresh() for _ in range(layers))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(CONFIG_TYPE, digest_of(content), len(content)),
        "layers": [descriptor(LAYER_TYPE, body.digest, body.size) for body in made],
    }
    return PulledImage(repository, content, made, json.dumps(manifest).encode())


def push(server: Server, images: Sequence[PulledImage]) -> None:
    """Push images under `TAG`. Raise MeasurementFailed if a part is refused."""
    connection = HTTPConnection(*server.address, timeout=TIMEOUT_SECONDS)
    for image in images:
        clients.run([Push(server.address, image.repository, image.layers)], lambda: None)
        seed.push_blob(connection, image.repository, image.config)
        seed.push_manifest(connection, image.repository, TAG, image.manifest)
    connection.close()
