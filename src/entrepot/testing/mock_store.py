"""What the mock registry holds: content by digest, and repositories that link to it.

Everything may be looked at and changed by tests while the registry serves.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Tag
from entrepot.testing.mock_content import Content


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest's bytes as they were pushed, and the Content-Type they came with."""

    digest: Digest
    content: bytes = field(repr=False)
    media_type: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object it is; empty if it is none."""
        try:
            document = json.loads(self.content)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def subject(self) -> Digest | None:
        """What it refers to."""
        subject = self.document.get("subject")
        return Digest.parse(subject["digest"]) if subject else None

    def descriptor(self) -> Descriptor:
        """Describe it as the referrers API does."""
        document = self.document
        config = document.get("config") or {}
        return Descriptor(
            self.media_type,
            self.digest,
            len(self.content),
            document.get("annotations") or {},
            document.get("artifactType") or config.get("mediaType"),
        )


@dataclass(slots=True)
class Repository:
    """One repository: manifests by digest, tags, and the blobs it links to."""

    manifests: dict[Digest, StoredManifest] = field(default_factory=dict)
    tags: dict[str, Digest] = field(default_factory=dict)
    blobs: set[Digest] = field(default_factory=set)


class MockStore:
    """Content and repositories, in memory."""

    def __init__(self) -> None:
        self.contents: dict[Digest, Content] = {}
        self.repositories: dict[str, Repository] = {}

    def repository(self, name: str) -> Repository:
        """Return a repository, new if there was none."""
        return self.repositories.setdefault(name, Repository())

    def names(self) -> list[str]:
        """Return the names of all repositories in order."""
        return sorted(self.repositories)

    def tags(self, name: str) -> list[str]:
        """Return a repository's tags in order."""
        return sorted(self._of(name).tags)

    def link(self, name: str, digest: Digest, content: Content | None = None) -> None:
        """Let a repository have a blob; `content` comes with it where it is new."""
        if content is not None:
            self.contents[digest] = content
        self.repository(name).blobs.add(digest)

    def is_linked(self, name: str, digest: Digest) -> bool:
        """Say whether a blob can be read from a repository."""
        return digest in self._of(name).blobs and digest in self.contents

    def unlink(self, name: str, digest: Digest) -> bool:
        """Take a blob from a repository; say whether it was there."""
        linked = self.is_linked(name, digest)
        self._of(name).blobs.discard(digest)
        return linked

    def find_manifest(self, name: str, reference: Tag | Digest | str) -> StoredManifest | None:
        """Return a manifest by tag or digest."""
        repository = self._of(name)
        if isinstance(reference, str):
            digest = Digest.parse(reference) if ":" in reference else repository.tags.get(reference)
        else:
            digest = reference
        return None if digest is None else repository.manifests.get(digest)

    def put_manifest(self, name: str, manifest: StoredManifest) -> None:
        """Keep a manifest."""
        self.repository(name).manifests[manifest.digest] = manifest

    def tag(self, name: str, tag: str, digest: Digest) -> None:
        """Point a tag at a manifest."""
        self.repository(name).tags[tag] = digest

    def delete_manifest(self, name: str, reference: Tag | Digest) -> bool:
        """Delete a tag, or a manifest with all its tags; say whether it was there."""
        repository = self._of(name)
        if isinstance(reference, Tag):
            return repository.tags.pop(reference, None) is not None
        for tag in [tag for tag, digest in repository.tags.items() if digest == reference]:
            del repository.tags[tag]
        return repository.manifests.pop(reference, None) is not None

    def referrers(self, name: str, subject: Digest) -> list[Descriptor]:
        """Return the manifests that refer to `subject`, by digest."""
        manifests = self._of(name).manifests
        found = [one for one in manifests.values() if one.subject == subject]
        return sorted((one.descriptor() for one in found), key=lambda one: str(one.digest))

    def missing(self, name: str, manifest: StoredManifest) -> list[Digest]:
        """Return what a manifest lists that the repository does not have."""
        document, repository = manifest.document, self._of(name)
        listed = [one for one in (document.get("config"), *document.get("layers", [])) if one]
        blobs = [
            Digest.parse(one["digest"])
            for one in listed
            if media_types.is_distributable(one["mediaType"])
        ]
        children = [Digest.parse(one["digest"]) for one in document.get("manifests", [])]
        return [
            *(one for one in blobs if not self.is_linked(name, one)),
            *(one for one in children if one not in repository.manifests),
        ]

    def digests(self, name: str) -> Mapping[str, Digest]:
        """Return a repository's tags and what they point at."""
        return dict(self._of(name).tags)

    def _of(self, name: str) -> Repository:
        return self.repositories.get(name, Repository())
