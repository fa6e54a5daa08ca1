"""The memory for small content: manifests, configs and signatures, served without the disk."""

from collections import OrderedDict

from entrepot.oci.digest import Digest


class SmallContent:
    """The least recently used content is forgotten once all of it exceeds `capacity` bytes.

    Content is immutable, so what is remembered is never wrong; it may outlive a delete by
    another process. Used from the event loop only.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held = 0
        self._contents: OrderedDict[Digest, bytes] = OrderedDict()

    def get(self, digest: Digest) -> bytes | None:
        """Return the content if it is remembered."""
        content = self._contents.get(digest)
        if content is not None:
            self._contents.move_to_end(digest)
        return content

    def add(self, digest: Digest, content: bytes) -> None:
        """Remember content; the caller has made sure that it is what the digest names."""
        self.drop(digest)
        self._contents[digest] = content
        self._held += len(content)
        while self._held > self._capacity:
            _, oldest = self._contents.popitem(last=False)
            self._held -= len(oldest)

    def drop(self, digest: Digest) -> None:
        """Forget the content."""
        content = self._contents.pop(digest, None)
        if content is not None:
            self._held -= len(content)
