"""What a registry must remember, in a few dictionaries: the oracle of the stateful tests."""

from collections import defaultdict
from dataclasses import dataclass, field

from tests.integration.conformance.content import Content


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest that was taken; `blobs` are the digests it needs in its repository."""

    content: Content
    blobs: frozenset[str] = frozenset()
    subject: str | None = None


@dataclass(slots=True)
class Upload:
    """An upload that is open, and the bytes it holds."""

    repository: str
    location: str
    received: bytes = b""


@dataclass(slots=True)
class Home:
    """A repository. It is known from its first blob on, also when all is deleted again."""

    blobs: dict[str, Content] = field(default_factory=dict)
    manifests: dict[str, Stored] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    known: bool = False

    def add_blob(self, blob: Content) -> None:
        self.blobs[blob.digest] = blob
        self.known = True

    def needs(self, digest: str) -> bool:
        """Whether a manifest keeps the blob from being deleted."""
        return any(digest in stored.blobs for stored in self.manifests.values())

    def add_manifest(self, stored: Stored, tag: str | None) -> None:
        self.manifests[stored.content.digest] = stored
        self.known = True
        if tag is not None:
            self.tags[tag] = stored.content.digest

    def drop_manifest(self, digest: str) -> None:
        del self.manifests[digest]
        self.tags = {tag: named for tag, named in self.tags.items() if named != digest}

    def referrers(self, subject: str) -> set[str]:
        return {digest for digest, one in self.manifests.items() if one.subject == subject}


@dataclass(slots=True)
class Model:
    """All repositories, and the uploads that are open or have ended."""

    homes: defaultdict[str, Home] = field(default_factory=lambda: defaultdict(Home))
    open: list[Upload] = field(default_factory=list)
    ended: list[Upload] = field(default_factory=list)

    def end(self, upload: Upload) -> None:
        self.open.remove(upload)
        self.ended.append(upload)

    def holder_of(self, digest: str) -> str | None:
        """Return a repository that has the blob."""
        holders = [name for name, home in self.homes.items() if digest in home.blobs]
        return holders[0] if holders else None
