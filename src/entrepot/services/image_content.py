"""Images taken apart: the small documents that all image editing starts from."""

from dataclasses import dataclass

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import DigestInvalid, ManifestInvalid, Unsupported
from entrepot.oci.image_config import MAX_SIZE, ImageConfig, parse_config
from entrepot.oci.layer_compression import is_layer
from entrepot.oci.manifest import Index, Manifest
from entrepot.ports.image_end import ImageSource
from entrepot.services.verified_manifest import read_manifest

CONFIGS = frozenset({media_types.OCI_CONFIG, media_types.DOCKER_CONFIG})


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one platform: its descriptor, manifest and config, all verified."""

    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig

    @property
    def is_docker(self) -> bool:
        """Whether it speaks in Docker's media types."""
        return self.manifest.media_type == media_types.DOCKER_MANIFEST


async def read_image(source: ImageSource, descriptor: Descriptor) -> Image:
    """Return the image that a manifest describes.

    Raise Unsupported for an index (choose a platform first) and for an artifact, ManifestInvalid
    where config and manifest do not agree on the number of layers.
    """
    manifest = await read_manifest(source, descriptor)
    if isinstance(manifest, Index):
        raise Unsupported(
            f"{descriptor.digest} is an index of several images; choose one with --platform",
            detail={"platforms": [str(one.platform) for one in manifest.manifests if one.platform]},
        )
    if manifest.config.media_type not in CONFIGS:
        raise Unsupported(
            f"{descriptor.digest} is an artifact ({manifest.config.media_type[:120]!r}) and no "
            "image of files; copy it, or fetch its blobs"
        )
    config = parse_config(await read_small_blob(source, manifest.config))
    if len(config.diff_ids) != len(manifest.layers):
        raise ManifestInvalid(
            f"the image has {len(manifest.layers)} layers, but its config lists "
            f"{len(config.diff_ids)}; rebuild it"
        )
    return Image(descriptor, manifest, config)


async def read_small_blob(
    source: ImageSource, descriptor: Descriptor, limit: int = MAX_SIZE
) -> bytes:
    """Return a blob that fits into memory, verified. Raise ManifestInvalid above `limit` bytes,
    DigestInvalid, BlobUnknown."""
    if descriptor.size > limit:
        raise ManifestInvalid(
            f"blob {descriptor.digest} has {descriptor.size} bytes where at most {limit} are read"
        )
    content = descriptor.data
    if content is None:
        parts, size = [], 0
        async for chunk in source.blob(descriptor):
            parts.append(chunk)
            size += len(chunk)
            if size > descriptor.size:
                break
        content = b"".join(parts)
    if len(content) != descriptor.size or (
        Digest.of(content, descriptor.digest.algorithm) != descriptor.digest
    ):
        raise DigestInvalid(
            f"the bytes of blob {descriptor.digest} are not what its digest and size say; the "
            "source is damaged, so copy from another place"
        )
    return content


def layer_name(number: int, descriptor: Descriptor) -> str:
    """Return what messages call a layer; `number` counts from 1."""
    return f"layer {number} ({descriptor.digest})"


def require_layers(image: Image) -> None:
    """Raise Unsupported unless all layers are tars of files."""
    for number, layer in enumerate(image.manifest.layers, 1):
        if not is_layer(layer.media_type):
            raise Unsupported(
                f"{layer_name(number, layer)} is {layer.media_type[:120]!r}, which is no layer of "
                "files; copy the image as it is"
            )
