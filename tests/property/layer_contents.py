"""Layers as flattening reads them, without a file."""

from collections.abc import Iterator

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.services.layer_spool import SpooledLayer


class LayerInMemory(SpooledLayer):
    """A layer whose bytes are at hand."""

    def __init__(self, content: bytes) -> None:
        self.descriptor = Descriptor(media_types.OCI_LAYER, Digest.of(content), len(content))
        self.where = "a layer"
        self._content = content

    def packed(self, offset: int = 0) -> Iterator[bytes]:
        yield self._content[offset:]
