"""Referrers of a remote repository: by the API, and under a tag where a registry has none.

A registry that has the API confirms a push with OCI-Subject. Where it does not, clients keep
the list themselves, in an index under a tag that is made of the subject's digest.
Source: distribution-spec, "Listing Referrers", "Pushing Manifests with Subject", "Referrers Tag
Schema".
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote
from weakref import WeakValueDictionary

from entrepot.adapters.remotes.endpoint import Answer, Endpoint
from entrepot.adapters.remotes.manifests import Manifests
from entrepot.adapters.remotes.pages import entries, pages_of
from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameUnknown,
    Unavailable,
    Unsupported,
)
from entrepot.oci.manifest import parse_manifest
from entrepot.protocol.referrers import fallback_tag
from entrepot.protocol.routes import referrers_path

_NO_API: Final = frozenset({400, 403, 404, 405, 406, 501})
_ACCEPT: Final = {"Accept": media_types.OCI_INDEX}

Entries = list[dict[str, Any]]
"""Descriptors as they stand in an index, with fields that we do not know."""


@dataclass(frozen=True, slots=True)
class Referrers:
    """The referrers in a remote repository. `fallback` is whether lists under tags are kept."""

    endpoint: Endpoint
    manifests: Manifests
    fallback: bool = True
    # A lock goes with the last who holds or awaits it.
    _locks: WeakValueDictionary[Digest, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def find(self, subject: Digest, artifact_type: str | None) -> tuple[Descriptor, ...]:
        """Return the manifests that name `subject`, of one artifact type if that is given."""
        found = await self._ask(subject, artifact_type)
        if found is None:
            _, entries_there = await self._listed(subject)
            found = [Descriptor.of_json(entry, "manifests") for entry in entries_there]
        once = {one.digest: one for one in reversed(found)}
        return tuple(
            one
            for one in dict.fromkeys(once[other.digest] for other in found)
            if artifact_type is None or one.artifact_type == artifact_type
        )

    async def pushed(self, descriptor: Descriptor, content: bytes, answer: Answer) -> None:
        """Add a manifest that was pushed to the list of its subject, where the registry does
        not say that it has done so."""
        if not self.fallback or "oci-subject" in answer.headers or b'"subject"' not in content:
            return
        subject = subject_of(content, descriptor.media_type)
        if subject is None:
            return
        entry = _entry(descriptor, content)

        def add(listed: Entries) -> Entries:
            return [*(one for one in listed if one["digest"] != entry["digest"]), entry]

        async with self._locked(subject):
            await self._change(subject, add)

    async def deleted(self, digest: Digest, subject: Digest) -> None:
        """Take a manifest that was deleted from the list under its subject's tag."""

        def drop(listed: Entries) -> Entries:
            return [one for one in listed if one["digest"] != str(digest)]

        async with self._locked(subject):
            await self._change(subject, drop)

    async def _ask(self, subject: Digest, artifact_type: str | None) -> list[Descriptor] | None:
        """Return what the API lists, None if there is no API."""
        url = referrers_path(self.endpoint.name, subject)
        if artifact_type is not None:
            url += f"?artifactType={quote(artifact_type, safe='')}"
        found: list[Descriptor] = []
        first = True
        async for answer in pages_of(self.endpoint, url, headers=_ACCEPT, expect=_NO_API):
            if not answer.successful or (first and not _is_json(answer)):
                return None
            first = False
            found += [
                Descriptor.of_json(entry, "manifests") for entry in entries(answer, "manifests")
            ]
        return found

    async def _listed(self, subject: Digest) -> tuple[Mapping[str, Any], Entries]:
        """Return the index under the subject's tag and its entries; both empty without one."""
        tag = fallback_tag(subject)
        try:
            _, content = await self.manifests.get(tag)
        except (ManifestUnknown, NameUnknown):
            return {}, []
        document = json.loads(content)
        listed = document.get("manifests")
        if isinstance(listed, list) and all(_is_entry(one) for one in listed):
            return document, listed
        raise ManifestInvalid(
            f"{self.endpoint}:{tag} should list the referrers of {subject}, but is no index; "
            "delete that tag, or give what it names another one"
        )

    async def _change(self, subject: Digest, change: Callable[[Entries], Entries]) -> None:
        """Change the list under a tag. Others may write it at the same moment, and no registry
        can be told to compare first: so it is read again, and changed again once."""
        for _ in range(2):
            index, listed = await self._listed(subject)
            changed = change(listed)
            if changed == listed:
                return
            try:
                await self._store(subject, index, changed)
            except ManifestBlobUnknown:  # some of what is listed was deleted, and left there
                await self._store(subject, index, await self._existing(changed))
        _, listed = await self._listed(subject)
        if change(listed) != listed:
            raise Unavailable(
                f"the list of referrers {self.endpoint}:{fallback_tag(subject)} is being changed "
                "by others again and again; try once more when they are done"
            )

    async def _existing(self, listed: Entries) -> Entries:
        """Return the entries whose manifests are there."""
        return [
            entry
            for entry in listed
            if await self.manifests.has(Descriptor.of_json(entry, "manifests"))
        ]

    async def _store(self, subject: Digest, index: Mapping[str, Any], listed: Entries) -> None:
        if not listed and await self._drop(subject):
            return
        document = {
            **index,
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": listed,
        }
        content = json.dumps(document, separators=(",", ":")).encode()
        descriptor = Descriptor(media_types.OCI_INDEX, Digest.of(content), len(content))
        await self.manifests.put(fallback_tag(subject), descriptor, content)

    async def _drop(self, subject: Digest) -> bool:
        """Delete a list that has become empty; say whether that was possible."""
        try:
            descriptor = await self.manifests.head(fallback_tag(subject))
            await self.manifests.delete(descriptor.digest)
        except (Unsupported, ManifestUnknown):
            return False
        return True

    @asynccontextmanager
    async def _locked(self, subject: Digest) -> AsyncIterator[None]:
        async with self._locks.setdefault(subject, asyncio.Lock()):
            yield


def subject_of(content: bytes, media_type: str) -> Digest | None:
    """Return the digest of a manifest's subject; None if it has none, or cannot be read."""
    try:
        subject = parse_manifest(content, media_type).subject
    except ManifestInvalid:
        return None
    return subject.digest if subject else None


def _entry(descriptor: Descriptor, content: bytes) -> dict[str, Any]:
    """Return how a manifest is listed as a referrer."""
    manifest = parse_manifest(content, descriptor.media_type)
    return Descriptor(
        descriptor.media_type,
        descriptor.digest,
        descriptor.size,
        annotations=manifest.annotations,
        artifact_type=manifest.artifact_type,
    ).to_json()


def _is_entry(value: object) -> bool:
    return isinstance(value, dict) and "digest" in value


def _is_json(answer: Answer) -> bool:
    """Say whether an answer is an index, and not the page of a server that answers everything."""
    try:
        return isinstance(json.loads(answer.content), dict)
    except (ValueError, RecursionError):
        return False
