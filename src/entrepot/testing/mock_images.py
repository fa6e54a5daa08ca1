"""Images, indexes and artifacts to put into the mock registry: valid, deterministic, of any size.

Layers are real archives with one file each, so that every client can unpack them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.platform import Platform
from entrepot.testing.mock_content import Compression, Content, Held, Made, compressed, tar
from entrepot.testing.mock_content import digest_of as hashed
from entrepot.testing.mock_store import MockStore, StoredManifest

_CREATED: Final = "2026-01-01T00:00:00Z"
_OCI_LAYERS: Final = {
    "none": media_types.OCI_LAYER,
    "gzip": media_types.OCI_LAYER_GZIP,
    "zstd": media_types.OCI_LAYER_ZSTD,
}
_DOCKER_LAYERS: Final = {
    "none": media_types.DOCKER_LAYER,
    "gzip": media_types.DOCKER_LAYER_GZIP,
    "zstd": media_types.DOCKER_LAYER_ZSTD,
}


@dataclass(frozen=True, slots=True)
class MockImage:
    """A manifest or index that was added. `blobs` are its config and layers, `children` the
    images an index lists."""

    host: str
    repository: str
    tag: str | None
    descriptor: Descriptor
    manifest: bytes = field(repr=False)
    blobs: tuple[Descriptor, ...] = ()
    children: tuple["MockImage", ...] = ()

    @property
    def digest(self) -> Digest:
        """The manifest's digest."""
        return self.descriptor.digest

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The layers, lowest first."""
        return self.blobs[1:]

    @property
    def size(self) -> int:
        """Bytes of all blobs, those of children too."""
        own = sum(blob.size for blob in self.blobs)
        return own + sum(child.size for child in self.children)

    @property
    def reference(self) -> str:
        """`host:port/repository:tag`, or `@digest` without a tag."""
        behind = f":{self.tag}" if self.tag else f"@{self.digest}"
        return f"{self.host}/{self.repository}{behind}"

    @property
    def address(self) -> str:
        """The reference with `docker://` before it."""
        return f"docker://{self.reference}"

    @property
    def path(self) -> str:
        """The manifest's path, by its tag if it has one."""
        return f"/v2/{self.repository}/manifests/{self.tag or self.digest}"

    def blob_path(self, number: int) -> str:
        """Return the path of a blob: 0 is the config, 1 the lowest layer."""
        return f"/v2/{self.repository}/blobs/{self.blobs[number].digest}"


class ImageMaker:
    """Puts images into a store."""

    def __init__(self, store: MockStore, host: str) -> None:
        self._store = store
        self._host = host

    def blob(
        self, repository: str, content: bytes | Content | int, *, seed: str | None = None
    ) -> Descriptor:
        """Add a blob: these bytes, or so many that follow from the seed."""
        if isinstance(content, bytes):
            content = Held(content)
        elif isinstance(content, int):
            content = Made(content, seed or repository)
        digest = hashed(content)
        self._store.link(repository, digest, content)
        return Descriptor("application/octet-stream", digest, content.size)

    def image(
        self,
        repository: str,
        tag: str | None = "latest",
        *,
        layers: int | Sequence[bytes | Content] = 2,
        layer_size: int = 2048,
        compression: Compression = "gzip",
        platform: str = "linux/amd64",
        docker: bool = False,
        annotations: Mapping[str, str] | None = None,
        subject: Descriptor | None = None,
        seed: str | None = None,
    ) -> MockImage:
        """Add an image of `layers` layers with a file of `layer_size` bytes each, or with these
        uncompressed archives; `docker` makes it schema 2. The same `seed` (repository, tag and
        platform, if not given) makes the same bytes."""
        seed = seed or f"{repository}:{tag} {platform}"
        if isinstance(layers, int):
            names = [f"layer-{number}" for number in range(layers)]
            layers = [tar(name, Made(layer_size, f"{seed} {name}")) for name in names]
        archives = [Held(one) if isinstance(one, bytes) else one for one in layers]
        kinds = _DOCKER_LAYERS if docker else _OCI_LAYERS
        blobs, diff_ids = [], []
        for archive in archives:
            packed = compressed(archive, compression)
            found = self.blob(repository, packed)
            blobs.append(Descriptor(kinds[compression], found.digest, found.size))
            diff_ids.append(str(hashed(archive)))
        config = self.blob(repository, _config(platform, diff_ids, seed))
        kind = media_types.DOCKER_CONFIG if docker else media_types.OCI_CONFIG
        config = Descriptor(kind, config.digest, config.size)
        document = {
            "config": config.to_json(),
            "layers": [one.to_json() for one in blobs],
            **_more(annotations, subject),
        }
        media_type = media_types.DOCKER_MANIFEST if docker else media_types.OCI_MANIFEST
        return self._manifest(repository, tag, media_type, document, (config, *blobs))

    def artifact(
        self,
        repository: str,
        tag: str | None = None,
        *,
        artifact_type: str = "application/vnd.example.sbom.v1",
        content: bytes = b"{}",
        annotations: Mapping[str, str] | None = None,
        subject: Descriptor | None = None,
    ) -> MockImage:
        """Add an artifact with one layer and the empty config; with a `subject`, a referrer."""
        empty = self.blob(repository, b"{}")
        config = Descriptor(media_types.OCI_EMPTY, empty.digest, empty.size)
        held = self.blob(repository, content)
        layer = Descriptor(artifact_type, held.digest, held.size)
        document = {
            "artifactType": artifact_type,
            "config": config.to_json(),
            "layers": [layer.to_json()],
            **_more(annotations, subject),
        }
        return self._manifest(repository, tag, media_types.OCI_MANIFEST, document, (config, layer))

    def index(
        self,
        repository: str,
        tag: str | None = "latest",
        *,
        platforms: Sequence[str] = ("linux/amd64", "linux/arm64"),
        images: Sequence[MockImage] | None = None,
        docker: bool = False,
        annotations: Mapping[str, str] | None = None,
        subject: Descriptor | None = None,
        **each: Any,
    ) -> MockImage:
        """Add an index over one image per platform, each made with `each` as `image` takes it,
        or over images that were added already, in the order of the platforms."""
        seed = each.pop("seed", None) or f"{repository}:{tag}"
        if images is None:
            images = [
                self.image(
                    repository, None, platform=one, docker=docker, seed=f"{seed} {one}", **each
                )
                for one in platforms
            ]
        listed = []
        for number, image in enumerate(images):
            document = image.descriptor.to_json()
            if number < len(platforms):
                document["platform"] = _platform(platforms[number]).to_json()
            listed.append(document)
        document = {"manifests": listed, **_more(annotations, subject)}
        media_type = media_types.DOCKER_MANIFEST_LIST if docker else media_types.OCI_INDEX
        return self._manifest(repository, tag, media_type, document, (), tuple(images))

    def manifest(
        self, repository: str, tag: str | None, content: bytes, media_type: str
    ) -> MockImage:
        """Add a manifest as it is, valid or not."""
        digest = Digest.of(content)
        self._store.put_manifest(repository, StoredManifest(digest, content, media_type))
        if tag is not None:
            self._store.tag(repository, tag, digest)
        descriptor = Descriptor(media_type, digest, len(content))
        return MockImage(self._host, repository, tag, descriptor, content)

    def _manifest(
        self,
        repository: str,
        tag: str | None,
        media_type: str,
        document: Mapping[str, object],
        blobs: tuple[Descriptor, ...],
        children: tuple[MockImage, ...] = (),
    ) -> MockImage:
        whole = {"schemaVersion": 2, "mediaType": media_type, **document}
        content = json.dumps(whole, indent=2).encode()
        made = self.manifest(repository, tag, content, media_type)
        return MockImage(self._host, repository, tag, made.descriptor, content, blobs, children)


def _more(annotations: Mapping[str, str] | None, subject: Descriptor | None) -> dict[str, object]:
    found: dict[str, object] = {}
    if subject is not None:
        found["subject"] = subject.to_json()
    if annotations:
        found["annotations"] = dict(annotations)
    return found


def _platform(text: str) -> Platform:
    system, architecture, *variant = text.split("/")
    return Platform(system, architecture, variant[0] if variant else "")


def _config(platform: str, diff_ids: Sequence[str], seed: str) -> bytes:
    document = {
        "created": _CREATED,
        **_platform(platform).to_json(),
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/true"], "Labels": {"mock.seed": seed}},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": [{"created": _CREATED, "created_by": "the mock registry"} for _ in diff_ids],
    }
    return json.dumps(document).encode()
