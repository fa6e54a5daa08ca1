"""Prefetch: what a client will ask for next, once it has pulled a manifest."""

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.manifest import Index, Manifest
from entrepot.oci.media_types import is_manifest_kind
from entrepot.oci.platform import Platform
from entrepot.rules.platform_choice import choose


def to_prefetch(pulled: Manifest | Index, wanted: Platform | None) -> tuple[Descriptor, ...]:
    """Return the content to fetch beforehand, each digest once, in the order clients take it.

    Of a manifest that is its config and the layers that registries hold: what is elsewhere
    (`urls`) is never fetched. Of an index it is the one image for the platform `wanted`, nothing
    if none is wanted or offered; attestations are no images.
    """
    if isinstance(pulled, Index):
        images = [entry for entry in pulled.manifests if is_manifest_kind(entry.media_type)]
        image = choose(images, wanted) if wanted is not None else None
        return () if image is None else (image,)
    blobs = (pulled.config, *pulled.layers)
    return tuple({blob.digest: blob for blob in blobs if blob.is_distributable}.values())
