"""One image looked at: what its name stands for, and which platform of it is meant."""

from dataclasses import dataclass

from entrepot.cli import progress
from entrepot.client import Client, RemoteOptions
from entrepot.oci.address import Address
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.errors import ManifestUnknown
from entrepot.oci.manifest import Index, Manifest
from entrepot.oci.platform import Platform
from entrepot.ports.image_end import ImageSource
from entrepot.services.local_platform import local_platform
from entrepot.services.platform_selection import select
from entrepot.services.verified_manifest import read_manifest


@dataclass(frozen=True, slots=True)
class SingleImage:
    """An image's manifest, and the index it was chosen from where there is one.

    `root` is what the name stands for, `descriptor` the manifest that was chosen.
    """

    root: Descriptor
    index: Index | None
    descriptor: Descriptor
    manifest: Manifest


async def found(
    client: Client, address: Address, remote: RemoteOptions, wanted: Platform | None
) -> tuple[ImageSource, SingleImage]:
    """Return an End and the image of it that is wanted, this machine's unless told.

    Raise ManifestUnknown naming the platforms that there are.
    """
    source = await client.source(address, remote)
    root = await source.resolve(address.reference)
    return source, await choice(source, root, wanted or local_platform())


async def choice(source: ImageSource, root: Descriptor, wanted: Platform) -> SingleImage:
    """Return the image for a platform. Raise ManifestUnknown."""
    selected = await select(source, root, [wanted], False, progress.warnings_only)
    if isinstance(selected.manifest, Index):
        raise ManifestUnknown(f"{root.digest} lists another index for {wanted}; name it by digest")
    index = None
    if selected.root.digest != root.digest:
        outer = await read_manifest(source, root)
        index = outer if isinstance(outer, Index) else None
    return SingleImage(root, index, selected.root, selected.manifest)
