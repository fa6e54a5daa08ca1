"""Clients that push images without pause and remember what they were promised.

A `Pusher` is a thread with a connection of its own. It tries every way to upload, notes what was
acknowledged, and what was under way when its connection broke; that is no failure of its own.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException

from tests.http_client import Client, Response, with_query
from tests.integration.conformance.content import (
    OCI_CONFIG,
    OCI_LAYER_GZIP,
    Content,
    document,
    manifest,
)
from tests.integration.conformance.repository import AS_OCTETS, Repository, moved_on

BROKEN = (OSError, HTTPException)
"""What a client sees when the server dies."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image, whole, and the tag it is pushed under."""

    repository: str
    tag: str
    blobs: tuple[Content, ...]
    manifest: Content


@dataclass(slots=True)
class Started:
    """An upload that was opened: where it goes on, and how many bytes were acknowledged."""

    repository: str
    blob: Content
    location: str
    acknowledged: int = 0
    closing: bool = False
    """Whether the PUT that ends it was sent, so that it may be a blob already."""


@dataclass(slots=True)
class Ledger:
    """What one pusher did. Everything it tried is in `attempted`, tags too."""

    attempted: list[Image] = field(default_factory=list)
    acknowledged: list[Image] = field(default_factory=list)
    interrupted: list[Started] = field(default_factory=list)
    refusals: list[Response] = field(default_factory=list)


def make_image(dice: random.Random, repository: str, tag: str, most: int) -> Image:
    """Return an image of two random layers of up to `most` bytes."""
    sizes = [dice.choice([1, 100, dice.randrange(1, most), most]) for _ in range(2)]
    layers = [Content(dice.randbytes(size), OCI_LAYER_GZIP) for size in sizes]
    config = document({"author": tag, "history": dice.random()}, OCI_CONFIG)
    body = manifest(config.descriptor(), [layer.descriptor() for layer in layers])
    return Image(repository, tag, (*layers, config), body)


class Pusher(threading.Thread):
    """Pushes images to `<name>`, tagged `<name's last part>-<number>`, until its server dies
    or `enough` is set. With `patient`, a broken connection is opened again and the image is
    pushed anew, as real clients do."""

    def __init__(
        self,
        client: Client,
        name: str,
        seed: int,
        enough: threading.Event,
        *,
        most: int = 1 << 20,
        first: int = 0,
        patient: bool = False,
    ) -> None:
        super().__init__(name=f"pusher-{seed}")
        self.ledger = Ledger()
        self._repository = Repository(client, name)
        self._dice = random.Random(seed)
        self._enough = enough
        self._most = most
        self._number = first
        self._prefix = name.rpartition("/")[2]
        self._patient = patient

    def run(self) -> None:
        while not self._enough.is_set():
            tag = f"{self._prefix}-{self._number}"
            image = make_image(self._dice, self._repository.name, tag, self._most)
            self._number += 1
            self.ledger.attempted.append(image)
            while not self._pushed(image):
                if not self._patient or self._enough.is_set():
                    return
        self._repository.client.close()

    def _pushed(self, image: Image) -> bool:
        """Push an image; False if the connection broke."""
        try:
            push_image(self._repository, image, self._push_blob)
        except BROKEN:
            self._repository.client.close()
            return False
        self.ledger.acknowledged.append(image)
        return True

    def _push_blob(self, blob: Content) -> None:
        self._dice.choice([self._whole, self._posted, self._chunked, self._streamed])(blob)

    # ── the ways to upload ───────────────────────────────────────────────────────────────────

    def _whole(self, blob: Content) -> None:
        self._created(self._repository.post_upload(blob.content, digest=blob.digest))

    def _posted(self, blob: Content) -> None:
        self._finish(self._start(blob), blob.content)

    def _chunked(self, blob: Content) -> None:
        """In chunks, the last one sometimes with the PUT."""
        upload = self._start(blob)
        size = max(1, len(blob.content) // self._dice.randrange(2, 6))
        last_in_put = self._dice.random() < 0.5
        while (left := len(blob.content) - upload.acknowledged) and not (
            last_in_put and left <= size
        ):
            chunk = blob.content[upload.acknowledged : upload.acknowledged + size]
            self._append(upload, chunk)
        self._finish(upload, blob.content[upload.acknowledged :])

    def _streamed(self, blob: Content) -> None:
        upload = self._start(blob)
        self._expect(self._repository.client.patch(upload.location, [blob.content], AS_OCTETS), 202)
        upload.acknowledged = len(blob.content)
        self._finish(upload, b"")

    def _start(self, blob: Content) -> Started:
        response = self._expect(self._repository.post_upload(), 202)
        upload = Started(self._repository.name, blob, moved_on(response))
        self.ledger.interrupted.append(upload)
        return upload

    def _append(self, upload: Started, chunk: bytes) -> None:
        response = self._repository.put_chunk(upload.location, chunk, upload.acknowledged)
        upload.location = moved_on(self._expect(response, 202))
        upload.acknowledged += len(chunk)

    def _finish(self, upload: Started, rest: bytes) -> None:
        upload.closing = True
        target = with_query(upload.location, {"digest": upload.blob.digest})
        self._created(self._repository.client.put(target, rest, AS_OCTETS))
        self.ledger.interrupted.remove(upload)

    def _created(self, response: Response) -> None:
        self._expect(response, 201)

    def _expect(self, response: Response, status: int) -> Response:
        if response.status != status:
            self.ledger.refusals.append(response)
        assert response.status == status, response
        return response


def push_image(repository: Repository, image: Image, push_blob: Callable[[Content], None]) -> None:
    """Push the blobs, then the manifest under its tag."""
    for blob in image.blobs:
        push_blob(blob)
    response = repository.put_manifest(image.manifest, image.tag)
    assert response.status == 201, response
    assert response.header("Docker-Content-Digest") == image.manifest.digest


def assert_whole(client: Client, image: Image) -> None:
    """The image pulls by tag and by digest, every byte of it."""
    repository = Repository(client, image.repository)
    for reference in (image.tag, image.manifest.digest):
        response = repository.get_manifest(reference)
        assert (response.status, response.body) == (200, image.manifest.content), response
    for blob in image.blobs:
        response = repository.get_blob(blob.digest)
        assert response.status == 200, response
        assert response.body == blob.content
