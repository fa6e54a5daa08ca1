"""The End `store:`: a repository of our own data directory, without a running server, and safely
beside one: it uses the services that the server uses.

An upload's id follows from repository and digest, so what breaks off is continued by whoever
stores the same blob next, in this process or another.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestUnknown,
    NameUnknown,
    RegistryError,
    SizeInvalid,
    Unavailable,
    Unsupported,
)
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.ports.delivery import Delivery, File, Follow, Inline, Stream
from entrepot.ports.image_end import BlobContent, ImageSource
from entrepot.ports.metadata_store import ManifestRecord
from entrepot.services.gates import Actor
from entrepot.services.registry import Registry
from entrepot.services.uploads import Uploads

LOCAL: Final = Actor("local")
"""Who acts where nobody has logged in: the owner of the data directory."""

_BLOCK: Final = 1 << 20
_PAGE: Final = 500
_LATEST: Final = Tag("latest")
_MOST_SHOWN: Final = 20


class StoreEnd:
    """See the port: a source and a target that mounts from its like.

    `reference` is what the address names; without one `latest` is meant, or the only image that
    has a tag. The registry stays open when the End is closed.
    """

    def __init__(
        self,
        registry: Registry,
        repository: RepositoryName,
        reference: Tag | Digest | None = None,
        *,
        actor: Actor = LOCAL,
    ) -> None:
        self.registry = registry
        self.repository = repository
        self._reference = reference
        self._actor = actor

    async def resolve(self, reference: Tag | Digest | None = None) -> Descriptor:
        wanted = reference or self._reference
        try:
            record = await self._find(wanted) if wanted is not None else await self._only()
        except ManifestUnknown as error:
            if wanted is None:
                raise
            raise ManifestUnknown(
                f"{self._where} holds no {wanted}; {await self._what_is_there()}",
                detail=error.detail,
            ) from None
        return Descriptor(record.media_type, record.digest, record.size)

    async def manifest(self, descriptor: Descriptor) -> bytes:
        record = await self._find(descriptor.digest)
        content = await self.registry.content.read(record.digest, self.registry.manifests.max_size)
        if Digest.of(content, record.digest.algorithm) != record.digest:
            raise DigestInvalid(f"manifest {record.digest} is damaged in the store; push it again")
        return content

    async def blob(self, descriptor: Descriptor, offset: int = 0) -> AsyncIterator[bytes]:
        size = await self.registry.blobs.size(self.repository, descriptor.digest)
        if size != descriptor.size:
            raise DigestInvalid(
                f"blob {descriptor.digest} has {size} bytes in the store, not {descriptor.size}; "
                "what refers to it is wrong"
            )
        if offset < size:
            delivery = await self.registry.blobs.open(descriptor.digest, offset, size - offset)
            async for chunk in _chunks(delivery):
                yield chunk

    async def referrers(
        self, subject: Digest, artifact_type: str | None = None
    ) -> Sequence[Descriptor]:
        found: list[Descriptor] = []
        after: Digest | None = None
        while True:
            page = await self.registry.referrers.list(
                self.repository, subject, artifact_type=artifact_type, after=after, limit=_PAGE
            )
            found += [_referrer(record) for record in page.records]
            if not page.more:
                return found
            after = page.records[-1].digest

    async def tags(self) -> Sequence[Tag]:
        found: list[Tag] = []
        while True:
            after = found[-1] if found else None
            page = await self.registry.tags.list(self.repository, after=after, limit=_PAGE)
            found += page
            if len(page) < _PAGE:
                return found

    async def has_blob(self, descriptor: Descriptor) -> bool:
        try:
            size = await self.registry.blobs.hold(self.repository, descriptor.digest)
        except BlobUnknown:
            return False
        return size == descriptor.size

    async def has_manifest(self, descriptor: Descriptor) -> bool:
        try:
            await self._find(descriptor.digest)
        except (ManifestUnknown, NameUnknown):
            return False
        return True

    async def put_blob(self, content: BlobContent) -> None:
        if await self.has_blob(content.descriptor):
            return
        try:
            await self._continue(content)
        except (BlobUploadUnknown, BlobUploadInvalid):
            # Another writer has the upload, or has just finished it.
            if not await self.has_blob(content.descriptor):
                await self._store(content)

    async def put_manifest(self, descriptor: Descriptor, content: bytes) -> None:
        await self._push(descriptor, content, ())

    async def publish(self, root: Descriptor, content: bytes, tags: Sequence[Tag]) -> None:
        await self._push(root, content, tuple(tags))

    async def mount(self, descriptor: Descriptor, source: ImageSource) -> bool:
        if not isinstance(source, StoreEnd) or source.registry is not self.registry:
            return False
        size = await self.registry.blobs.mount(
            self._actor, source.repository, self.repository, descriptor.digest
        )
        return size == descriptor.size

    async def commit(self) -> None:
        """Nothing is left to do: what was published is visible."""

    async def close(self) -> None:
        """The registry is closed by who opened it."""

    @property
    def _where(self) -> str:
        return f"repository {self.repository}"

    async def _find(self, reference: Tag | Digest) -> ManifestRecord:
        return await self.registry.manifests.find(self.repository, reference)

    async def _only(self) -> ManifestRecord:
        """Return what `latest` is, or all tags are."""
        tags = await self.tags()
        if _LATEST in tags:
            return await self._find(_LATEST)
        found: dict[Digest, ManifestRecord] = {}
        for tag in tags:
            record = await self._find(tag)
            found[record.digest] = record
            if len(found) > 1:
                break
        if len(found) != 1:
            problem = "several images" if found else "no image with a tag"
            raise ManifestUnknown(
                f"{self._where} holds {problem}; name one by its tag or digest: "
                f"{await self._what_is_there()}"
            )
        return next(iter(found.values()))

    async def _what_is_there(self) -> str:
        tags = await self.tags()
        more = f" and {len(tags) - _MOST_SHOWN} more" if len(tags) > _MOST_SHOWN else ""
        return f"there are {', '.join(tags[:_MOST_SHOWN])}{more}" if tags else "it has no tags"

    async def _push(self, descriptor: Descriptor, content: bytes, tags: tuple[Tag, ...]) -> None:
        await self.registry.manifests.push(
            self._actor,
            self.repository,
            content,
            descriptor.media_type,
            digest=descriptor.digest,
            tags=tags,
        )

    async def _continue(self, content: BlobContent) -> None:
        """Store a blob behind what an earlier attempt has left of it."""
        digest = content.descriptor.digest
        name = _upload_of(self.repository, digest)
        uploads = replace(self.registry.uploads, new_id=lambda: name)
        try:
            offset = (await uploads.status(self._actor, self.repository, name)).offset
        except BlobUploadUnknown:
            with suppress(BlobUploadUnknown):
                await uploads.sessions.end(name)  # one that has outlived its bytes
            await uploads.start(self._actor, self.repository, algorithm=digest.algorithm)
            offset = 0
        if offset > content.descriptor.size:
            await uploads.cancel(self._actor, self.repository, name)
            return await self._continue(content)
        try:
            await self._send(uploads, name, content, offset)
        except DigestInvalid:
            if offset == 0:
                raise
            # What an earlier attempt had left was no part of the blob.
            await self._store(content)
        return None

    async def _send(self, uploads: Uploads, name: str, content: BlobContent, offset: int) -> None:
        arriving = content.read(offset)
        try:
            await uploads.append(self._actor, self.repository, name, arriving, at=offset)
        except (DigestInvalid, SizeInvalid):
            with suppress(RegistryError):  # the first error is the one to tell
                await uploads.cancel(self._actor, self.repository, name)
            raise
        size, digest = content.descriptor.size, content.descriptor.digest
        await uploads.finish(self._actor, self.repository, name, digest, None, at=size)

    async def _store(self, content: BlobContent) -> None:
        """Store a blob in an upload of its own, from its first byte."""
        await self.registry.uploads.store(
            self._actor, self.repository, content.descriptor.digest, content.read()
        )


def _upload_of(repository: RepositoryName, digest: Digest) -> str:
    """Name the upload of a blob: always the same, and nobody else's."""
    return hashlib.sha256(f"store\n{repository}\n{digest}".encode()).hexdigest()


def _referrer(record: ManifestRecord) -> Descriptor:
    return Descriptor(
        record.media_type,
        record.digest,
        record.size,
        annotations=record.annotations,
        artifact_type=record.artifact_type,
    )


async def _chunks(delivery: Delivery) -> AsyncIterator[bytes]:
    match delivery:
        case Inline(content):
            yield content
        case File():
            async for block in _blocks(delivery):
                yield block
        case Stream(arriving):
            async for chunk in arriving:
                yield chunk
        case Follow():
            async for block in _followed(delivery):
                yield block
        case _:
            raise Unsupported(
                "this store keeps its content elsewhere and hands out links to it; "
                "copy from the server that uses it, with docker://"
            )


async def _blocks(file: File) -> AsyncIterator[bytes]:
    """Yield a file's bytes, one block ahead of who consumes them."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"the store cannot be read ({error.strerror}); try again") from error
    ahead: asyncio.Future[bytes] | None = None
    at, end = file.offset, file.offset + file.length
    try:
        while at < end:
            ahead = ahead or loop.run_in_executor(None, _read, descriptor, at, end)
            block = await asyncio.shield(ahead)
            at, ahead = at + len(block), None
            if at < end:
                ahead = loop.run_in_executor(None, _read, descriptor, at, end)
            yield block
    finally:
        if ahead is not None:  # the thread must not read from a closed file
            await asyncio.wait([ahead])
            ahead.exception()
        os.close(descriptor)


async def _followed(follow: Follow) -> AsyncIterator[bytes]:
    """Yield a spool's bytes behind its writer."""
    descriptor = follow.spool.open()
    at, end = follow.offset, follow.offset + follow.length
    try:
        while at < end:
            ready = await follow.available(at)
            while at < ready:
                block = _read(descriptor, at, ready)  # just written, so in memory
                at += len(block)
                yield block
    finally:
        os.close(descriptor)


def _read(descriptor: int, at: int, end: int) -> bytes:
    try:
        block = os.pread(descriptor, min(_BLOCK, end - at), at)
    except OSError as error:
        raise Unavailable(
            f"the store cannot be read ({error.strerror}); look at its disk"
        ) from error
    if not block:
        raise DigestInvalid("a blob in the store is shorter than it was; push it again")
    return block
