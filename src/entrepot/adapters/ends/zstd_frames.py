"""zstd decompressed as it arrives, in blocks of bounded size."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from entrepot.adapters.ends.block_reading import BLOCK
from entrepot.oci.errors import ContentInvalid

if TYPE_CHECKING:
    from backports.zstd import ZstdDecompressor


class ZstdFrames:
    """One or more zstd frames, fed in chunks. `where` names the content in messages."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._frame = _decompressor()
        self._begun = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what a chunk decompresses to, at most 1 MiB at a time. Raise ContentInvalid."""
        while chunk or not self._frame.needs_input:
            if self._frame.eof:
                chunk = self._frame.unused_data or chunk
                if not chunk:
                    return
                self._frame = _decompressor()
            self._begun = True
            try:
                block = self._frame.decompress(chunk, BLOCK)
            except Exception:  # the library's own error, which is not imported here
                raise self._damaged() from None
            chunk = b""
            if block:
                yield block

    def finish(self) -> None:
        """Raise ContentInvalid unless the last frame is whole."""
        if not self._frame.eof:
            raise self._damaged()

    def _damaged(self) -> ContentInvalid:
        return ContentInvalid(
            f"{self._where} is no whole zstd, though its media type says so; build it anew"
        )


def _decompressor() -> "ZstdDecompressor":
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdDecompressor
    else:
        from backports.zstd import ZstdDecompressor
    return ZstdDecompressor()
