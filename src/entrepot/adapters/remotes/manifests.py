"""Manifests of a remote repository: asked for, fetched and verified, pushed and deleted.

Source: distribution-spec, "Pulling manifests", "Pushing Manifests", "Deleting Manifests".
"""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from entrepot.adapters.remotes.endpoint import DELETE, PULL, PUSH, Answer, Endpoint
from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    DigestInvalid,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    NameUnknown,
    SizeInvalid,
    Unsupported,
)
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.protocol.routes import manifest_path

MAX_SIZE: Final = 4 * 1024 * 1024
"""Largest manifest in bytes unless told otherwise; the spec's least that all must accept."""

ACCEPT: Final = ", ".join(
    (
        media_types.OCI_INDEX,
        media_types.OCI_MANIFEST,
        media_types.DOCKER_MANIFEST_LIST,
        media_types.DOCKER_MANIFEST,
        media_types.OCI_ARTIFACT_MANIFEST,
    )
)
"""Everything that may be there, so that a registry converts nothing."""

HEAD_REFUSED: Final = frozenset({400, 401, 403, 404, 405, 406, 415, 501})
"""Answers to HEAD that GET may still have a better one to, or one that says why."""

_NO_DELETE: Final = frozenset({400, 405, 501})
_KEPT_MANIFESTS: Final = 64
_KEPT_BYTES: Final = 8 * 1024 * 1024


class KeptManifests:
    """The manifests of a registry that were seen last: who resolves one mostly reads it next."""

    __slots__ = ("_kept", "_size")

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[RepositoryName, Digest], tuple[str, bytes]] = OrderedDict()
        self._size = 0

    def add(self, name: RepositoryName, digest: Digest, media_type: str, content: bytes) -> None:
        """Keep a verified manifest, dropping the oldest ones if there are too many."""
        self.drop(name, digest)
        self._kept[name, digest] = (media_type, content)
        self._size += len(content)
        while len(self._kept) > _KEPT_MANIFESTS or self._size > _KEPT_BYTES:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._size -= len(dropped)

    def find(self, name: RepositoryName, digest: Digest) -> tuple[str, bytes] | None:
        """Return media type and content, None if it is not kept."""
        return self._kept.get((name, digest))

    def drop(self, name: RepositoryName, digest: Digest) -> None:
        """Forget a manifest."""
        if (dropped := self._kept.pop((name, digest), None)) is not None:
            self._size -= len(dropped[1])


@dataclass(frozen=True, slots=True)
class Manifests:
    """A remote repository's manifests. `max_size` is in bytes."""

    endpoint: Endpoint
    kept: KeptManifests
    max_size: int = MAX_SIZE

    async def resolve(self, reference: Tag | Digest) -> Descriptor:
        """Return a manifest's descriptor; one that was seen by its digest is not asked for."""
        if isinstance(reference, Digest) and (kept := self._seen(reference)):
            media_type, content = kept
            return Descriptor(media_type, reference, len(content))
        return await self.head(reference)

    async def head(self, reference: Tag | Digest) -> Descriptor:
        """Return a manifest's descriptor, by HEAD if that tells it all, else by GET.

        Raise ManifestUnknown or NameUnknown.
        """
        answer = await self._ask("HEAD", reference, PULL)
        return _described(answer, reference) or (await self.get(reference))[0]

    async def get(self, reference: Tag | Digest) -> tuple[Descriptor, bytes]:
        """Fetch a manifest and verify it. Raise ManifestUnknown, NameUnknown, DigestInvalid if
        it is another one than asked for or announced, ManifestTooLarge or ManifestInvalid."""
        answer = await self._ask("GET", reference, PULL)
        media_type = _media_type(answer)
        if media_type in media_types.SCHEMA1:
            raise Unsupported(
                f"{self._shown(reference)} is in Docker's manifest schema 1, which is no longer "
                "supported; push it again with any client since Docker 1.10"
            )
        digest = self._verified(reference, answer)
        self.kept.add(self.endpoint.name, digest, media_type, answer.content)
        return Descriptor(media_type, digest, len(answer.content)), answer.content

    async def read(self, descriptor: Descriptor) -> bytes:
        """Return the bytes of the manifest that `descriptor` names. Raise what `get` raises,
        and SizeInvalid if it has another size."""
        if descriptor.size > self.max_size:
            raise self._too_large(descriptor.digest)
        if kept := self._seen(descriptor.digest):
            content = kept[1]
        else:
            _, content = await self.get(descriptor.digest)
        if len(content) != descriptor.size:
            raise SizeInvalid(
                f"the manifest {descriptor.digest} has {len(content)} bytes, but it was "
                f"announced with {descriptor.size}; whoever refers to it must be made anew"
            )
        return content

    async def has(self, descriptor: Descriptor) -> bool:
        """Say whether the manifest is there."""
        answer = await self._ask("HEAD", descriptor.digest, PUSH)
        if answer.successful or answer.status == 404:
            return answer.successful
        try:
            return (await self._ask("GET", descriptor.digest, PUSH)).successful
        except (ManifestUnknown, NameUnknown):
            return False

    async def put(
        self,
        reference: Tag | Digest,
        descriptor: Descriptor,
        content: bytes,
        tags: Sequence[Tag] = (),
    ) -> Answer:
        """Store a manifest under a tag, or by digest and under `tags` (where the registry
        knows how to). Raise DigestInvalid if it is not what `descriptor` says, or the registry
        stored something else."""
        if Digest.of(content, descriptor.digest.algorithm) != descriptor.digest:
            raise DigestInvalid(
                f"the manifest for {self._shown(reference)} is not {descriptor.digest}; it was "
                "changed after its digest was made, and is not pushed"
            )
        query = f"?{urlencode([('tag', tag) for tag in tags])}" if tags else ""
        answer = await self.endpoint.ask(
            "PUT",
            manifest_path(self.endpoint.name, reference) + query,
            PUSH,
            headers={"Content-Type": descriptor.media_type},
            body=content,
        )
        stored = parse_digest(answer.headers.get("docker-content-digest"))
        if stored is not None and stored != Digest.of(content, stored.algorithm):
            raise DigestInvalid(
                f"{self.endpoint} stored {stored} when {descriptor.digest} was pushed; something "
                "on the way changes manifests, and what was pushed cannot be trusted"
            )
        self.kept.add(self.endpoint.name, descriptor.digest, descriptor.media_type, content)
        return answer

    async def delete(self, digest: Digest) -> None:
        """Delete a manifest and its tags. Raise ManifestUnknown, Unsupported."""
        self.kept.drop(self.endpoint.name, digest)
        await delete(self.endpoint, manifest_path(self.endpoint.name, digest))

    async def delete_tag(self, tag: Tag) -> None:
        """Delete a tag. Raise ManifestUnknown, Unsupported."""
        path = manifest_path(self.endpoint.name, tag)
        answer = await self.endpoint.ask("DELETE", path, DELETE, expect=_NO_DELETE)
        if not answer.successful:
            raise Unsupported(
                f"{self.endpoint.host} cannot delete a tag only (it answers {answer.status}); "
                "delete the manifest with all its tags by `entrepot rm --digest`, or point the "
                "tag at another manifest"
            )

    async def _ask(self, method: str, reference: Tag | Digest, actions: tuple[str, ...]) -> Answer:
        expected = HEAD_REFUSED if method == "HEAD" else frozenset[int]()
        try:
            return await self.endpoint.ask(
                method,
                manifest_path(self.endpoint.name, reference),
                actions,
                headers={"Accept": ACCEPT},
                expect=expected,
                limit=self.max_size,
            )
        except SizeInvalid:
            raise self._too_large(reference) from None

    def _seen(self, digest: Digest) -> tuple[str, bytes] | None:
        return self.kept.find(self.endpoint.name, digest)

    def _verified(self, reference: Tag | Digest, answer: Answer) -> Digest:
        """Return the digest of an answer's content, which must be the one asked for and the
        one the registry says."""
        told = parse_digest(answer.headers.get("docker-content-digest"))
        expected = reference if isinstance(reference, Digest) else told
        found = Digest.of(answer.content, expected.algorithm if expected else "sha256")
        for wanted in (expected, told):
            # The registry may tell the digest of another algorithm than asked by.
            if wanted and wanted != Digest.of(answer.content, wanted.algorithm):
                raise DigestInvalid(
                    f"{self.endpoint} sent a manifest with the digest {found} for "
                    f"{self._shown(reference)}, where {wanted} is expected; it was changed on "
                    "the way or is damaged there, and is not used",
                    detail={"expected": str(wanted), "received": str(found)},
                )
        return found

    def _too_large(self, reference: Tag | Digest) -> ManifestTooLarge:
        return ManifestTooLarge(
            f"the manifest of {self._shown(reference)} has more than {self.max_size} bytes, "
            "which is the limit; no image has such a manifest"
        )

    def _shown(self, reference: Tag | Digest) -> str:
        return f"{self.endpoint}{'@' if isinstance(reference, Digest) else ':'}{reference}"


def parse_digest(field: str | None) -> Digest | None:
    """Read a Docker-Content-Digest; None if there is none that means anything here."""
    try:
        return Digest.parse(field.strip()) if field else None
    except DigestInvalid:
        return None


async def delete(endpoint: Endpoint, path: str) -> None:
    """Delete a manifest or blob. Raise ManifestUnknown, BlobUnknown, Unsupported."""
    answer = await endpoint.ask("DELETE", path, DELETE, expect=_NO_DELETE)
    if not answer.successful:
        raise Unsupported(
            f"{endpoint.host} does not delete this (it answers {answer.status}); its operator may "
            "have to allow it: for docker-registry with REGISTRY_STORAGE_DELETE_ENABLED=true"
        )


def _described(answer: Answer, reference: Tag | Digest) -> Descriptor | None:
    """Return the descriptor that a HEAD's answer tells, None if anything of it is missing."""
    headers: Mapping[str, str] = answer.headers
    media_type = media_types.bare(headers.get("content-type", ""))
    length = headers.get("content-length", "")
    told = parse_digest(headers.get("docker-content-digest"))
    if not answer.successful or not media_types.is_manifest_kind(media_type):
        return None
    if media_type in media_types.SCHEMA1 or not (length.isascii() and length.isdigit()):
        return None
    if isinstance(reference, Digest):
        # Some tell it by another algorithm; the content decides when it is read.
        if told is not None and told.algorithm == reference.algorithm and told != reference:
            return None
        told = reference
    return Descriptor(media_type, told, int(length)) if told and int(length) > 0 else None


def _media_type(answer: Answer) -> str:
    """Return the media type of a manifest: as labelled, else as it says of itself."""
    labelled = media_types.bare(answer.headers.get("content-type", ""))
    if media_types.is_manifest_kind(labelled):
        return labelled
    try:
        document = json.loads(answer.content)
        own = document.get("mediaType")
        if isinstance(own, str) and media_types.is_manifest_kind(own):
            return own
        if document.get("schemaVersion") == 1:
            return media_types.DOCKER_SCHEMA1
        if isinstance(document.get("manifests"), list):
            return media_types.OCI_INDEX
        if isinstance(document.get("layers"), list):
            return media_types.OCI_MANIFEST
    except (ValueError, AttributeError, RecursionError):
        pass
    raise ManifestInvalid(
        f"{answer.url.partition('?')[0]} answered with {labelled[:80] or 'no Content-Type'}, which "
        "is no manifest; check that no proxy or login page stands before the registry"
    )
