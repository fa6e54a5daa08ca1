"""Ends in memory that note what is done to them, and a listener that notes what it is told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import BlobContent
from entrepot.services.progress import Event, Warned
from entrepot.testing.example_images import ExampleImage
from entrepot.testing.memory_end import MemoryEnd, MemoryImages

Kind = TypeVar("Kind")

LATEST = Tag("latest")


def holding(*examples: ExampleImage, tag: Tag = LATEST) -> MemoryEnd:
    """Return an End with all of these; the tag names the first."""
    images = MemoryImages()
    for example in examples:
        images.blobs |= {one.digest: content for one, content in example.blobs.items()}
        for one, content in example.manifests.items():
            images.manifests[one.digest] = one.media_type, content
    images.tags[tag] = examples[0].root.digest
    return MemoryEnd(images)


class Folder(MemoryEnd):
    """An End that cannot mount, and notes the order in which things come to be there."""

    mount = None  # type: ignore[assignment]

    def __init__(self, images: MemoryImages | None = None) -> None:
        super().__init__(images)
        self.before = {*self.images.blobs, *self.images.manifests}
        self.order: list[Digest | Tag] = []

    async def put_blob(self, content: BlobContent) -> None:
        await super().put_blob(content)
        self.order.append(content.descriptor.digest)

    async def put_manifest(self, descriptor: Descriptor, content: bytes) -> None:
        await super().put_manifest(descriptor, content)
        self.order.append(descriptor.digest)

    async def publish(self, root: Descriptor, content: bytes, tags: Sequence[Tag]) -> None:
        await super().publish(root, content, tags)
        self.order += tags


class Registry(Folder):
    """An End that could mount, if it knew the source."""

    async def mount(self, descriptor: Descriptor, source: object) -> bool:  # type: ignore[override]
        self.calls["mount", str(descriptor.digest)] += 1
        return False


@dataclass
class Told:
    """What was reported."""

    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def warnings(self) -> str:
        return "\n".join(event.text for event in self.of(Warned))
