"""The memory for small content: manifests, configs and signatures, served without the disk."""

from collections import OrderedDict

from entrepot.oci.digest import Digest


class SmallContent:
    """The least recently used content is forgotten once all of it exceeds `capacity` bytes.

    Content is immutable, so what is remembered is never wrong; it may outlive a delete by
    another process, or damage to its file. Used from the event loop only.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held = 0
        self._contents: OrderedDict[Digest, tuple[bytes, str]] = OrderedDict()

    def get(self, digest: Digest) -> bytes | None:
        """Return the content if it is remembered."""
        found = self._contents.get(digest)
        if found is None:
            return None
        self._contents.move_to_end(digest)
        return found[0]

    def add(self, digest: Digest, content: bytes, stamp: str = "") -> None:
        """Remember content, and the stamp that its file had no later than it was read; the caller
        has made sure that it is what the digest names."""
        self.drop(digest)
        self._contents[digest] = content, stamp
        self._held += len(content)
        while self._held > self._capacity:
            _, (oldest, _) = self._contents.popitem(last=False)
            self._held -= len(oldest)

    def check(self, digest: Digest, stamp: str) -> None:
        """Forget the content if its file has another stamp now."""
        found = self._contents.get(digest)
        if found is not None and found[1] != stamp:
            self.drop(digest)

    def drop(self, digest: Digest) -> None:
        """Forget the content."""
        found = self._contents.pop(digest, None)
        if found is not None:
            self._held -= len(found[0])
