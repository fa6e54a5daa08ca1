"""Descriptors: what a piece of content is, how large, and under which digest it is found.

Source: image-spec, descriptor.md.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from entrepot.oci import media_types
from entrepot.oci.digest import Digest
from entrepot.oci.document import Fields, refuse
from entrepot.oci.platform import Platform


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content: its media type, digest and size in bytes.

    `data` is the content itself where the descriptor embeds it; `urls` are other places
    to fetch it from.
    """

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str | None = None
    platform: Platform | None = None
    urls: tuple[str, ...] = ()
    data: bytes | None = None

    @classmethod
    def of_json(cls, value: object, path: str) -> "Descriptor":
        """Read a parsed JSON object found at `path` of a document (e.g. `layers[2]`).

        Unknown fields are ignored, null counts as absent. Raise ManifestInvalid naming the
        field for wrong types, bad digests, and embedded data that is not the content.
        """
        fields = Fields.of(value, path)
        platform = fields.value("platform")
        digest, size = fields.digest("digest"), fields.size("size")
        return cls(
            media_type=fields.required_media_type("mediaType"),
            digest=digest,
            size=size,
            annotations=fields.annotations("annotations"),
            artifact_type=fields.media_type("artifactType"),
            platform=(
                None if platform is None else Platform.of_json(platform, fields.at("platform"))
            ),
            urls=fields.texts("urls"),
            data=_embedded(fields, digest, size),
        )

    def to_json(self) -> dict[str, object]:
        """Render as a JSON object, leaving out what is empty."""
        optional: dict[str, object] = {
            "urls": list(self.urls),
            "annotations": dict(self.annotations),
            "data": "" if self.data is None else base64.b64encode(self.data).decode("ascii"),
            "platform": None if self.platform is None else self.platform.to_json(),
            "artifactType": self.artifact_type,
        }
        return {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
            **{name: value for name, value in optional.items() if value},
        }

    @property
    def is_distributable(self) -> bool:
        """Whether a registry is expected to hold the content."""
        return media_types.is_distributable(self.media_type)


def _embedded(fields: Fields, digest: Digest, size: int) -> bytes | None:
    """Return `data` decoded: it must be the content itself, or clients would be misled."""
    text = fields.text("data")
    if not text:
        return None
    path = fields.at("data")
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        raise refuse(path, "is not base64; leave it out or encode the content") from None
    if len(content) != size or Digest.of(content, digest.algorithm) != digest:
        raise refuse(path, "is not the content that digest and size describe; leave it out")
    return content
