"""`index.json` of an image layout: which images there are and what they are called.

Only values: reading and writing the file is its End's. Names are read as all tools write them: a
tag in `org.opencontainers.image.ref.name` (skopeo, crane, we), a full reference there (podman,
buildah) or in `io.containerd.image.name` (containerd, docker).
Source: image-spec, image-layout.md and annotations.md.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from entrepot.oci import media_types
from entrepot.oci.address import repository_address
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.document import read_document
from entrepot.oci.errors import (
    ContentInvalid,
    DigestInvalid,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    TagInvalid,
)
from entrepot.oci.reference import Reference, Tag

REF_NAME: Final = "org.opencontainers.image.ref.name"
CONTAINERD_NAME: Final = "io.containerd.image.name"
LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
"""What stands in `oci-layout`."""

MAX_INDEX: Final = 64 << 20
"""Largest `index.json` that is read, in bytes: some hundred thousand images."""

_MOST_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the index: a manifest, what it is called here (`written`) and in full, if it
    says so, and the tag that this comes to."""

    descriptor: Descriptor
    written: str
    full: str
    tag: Tag | None

    @property
    def name(self) -> str:
        """What messages call it; empty if it has no name."""
        return self.full or self.written


@dataclass(frozen=True, slots=True)
class LayoutIndex:
    """An index as it was read; `document` holds also what is not understood here."""

    where: str
    entries: tuple[Entry, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def read(cls, content: bytes, where: str) -> "LayoutIndex":
        """Parse `index.json`; `where` names the layout. Raise ContentInvalid."""
        try:
            fields = read_document(content)
            listed = [Descriptor.of_json(one, path) for path, one in fields.items("manifests")]
        except ManifestInvalid as error:
            raise ContentInvalid(
                f"index.json of {where} cannot be read: {error.message}; get the layout anew"
            ) from None
        return cls(where, tuple(_entry(one) for one in listed), json.loads(content))

    def tags(self) -> Sequence[Tag]:
        """Return all tags in lexical order, each once."""
        return sorted({entry.tag for entry in self.entries if entry.tag is not None})

    def named(self) -> Mapping[str, Descriptor]:
        """Return the images with a full name, `host/repository:tag`, by that name."""
        named = {}
        for entry in self.entries:
            for written in (entry.full, entry.written):
                try:
                    address = repository_address(written)
                except (NameInvalid, TagInvalid, DigestInvalid):
                    continue
                if address.tag:
                    named[f"{address.host}/{address.repository}:{address.tag}"] = entry.descriptor
                    break
        return named

    def listed(self, digest: Digest) -> Descriptor | None:
        """Return the first line with this digest."""
        found = (one.descriptor for one in self.entries if one.descriptor.digest == digest)
        return next(found, None)

    def tagged(self, tag: Tag) -> Descriptor:
        """Return what is called `tag`, or by a full reference that ends in it. Raise
        ManifestUnknown if nothing is, or several are."""
        exact = [entry for entry in self.entries if entry.written == tag]
        found = exact or [entry for entry in self.entries if entry.tag == tag]
        if len({entry.descriptor.digest for entry in found}) > 1:
            names = ", ".join(sorted(entry.name for entry in found))
            raise ManifestUnknown(
                f"{self.where} holds several images with the tag {tag} ({names}); "
                "name the one that is meant by its digest"
            )
        if not found:
            raise ManifestUnknown(
                f"{self.where} holds no image with the tag {tag}; {self.what_is_there()}",
                detail={"tag": tag},
            )
        return found[0].descriptor

    def candidates(self) -> Sequence[Descriptor]:
        """Return what may be meant when nothing is named, each digest once: what has a name,
        or else everything."""
        named = [entry for entry in self.entries if entry.name] or self.entries
        return list({entry.descriptor.digest: entry.descriptor for entry in named}.values())

    def what_is_there(self) -> str:
        """Return a phrase for messages that names the images."""
        named = sorted({entry.name for entry in self.entries if entry.name})
        shown = named or sorted({str(entry.descriptor.digest) for entry in self.entries})
        if not shown:
            return "it is empty"
        more = f" and {len(shown) - _MOST_SHOWN} more" if len(shown) > _MOST_SHOWN else ""
        return f"there are {', '.join(shown[:_MOST_SHOWN])}{more}"

    def with_root(self, root: Descriptor, names: Sequence[Mapping[str, str]]) -> "LayoutIndex":
        """Return the index with `root` under the names (each as annotations), or without a
        name if there are none and it is not listed yet.

        A name moves: what had it before stays listed without a name, as skopeo does it, so
        that an image which is replaced can still be found by its digest.
        """
        bare = replace(
            Descriptor(root.media_type, root.digest, root.size),
            platform=root.platform,
            artifact_type=root.artifact_type,
        )
        if not names and self.listed(root.digest) is not None:
            return self
        lines = [_without(line, names) for line in self.document.get("manifests") or []]
        new = [replace(bare, annotations=name).to_json() for name in names] or [bare.to_json()]
        return self._with_lines(_unnamed_once([*lines, *new]))

    def to_bytes(self) -> bytes:
        """Render `index.json`."""
        return json.dumps(self.document, separators=(",", ":")).encode()

    def _with_lines(self, lines: Sequence[Mapping[str, Any]]) -> "LayoutIndex":
        document = {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            **self.document,
            "manifests": list(lines),
        }
        entries = tuple(_entry(Descriptor.of_json(line, "manifests")) for line in lines)
        return LayoutIndex(self.where, entries, document)


def _without(line: Mapping[str, Any], names: Sequence[Mapping[str, str]]) -> Mapping[str, Any]:
    """Return a line that has lost its name if that is one of `names`."""
    annotations = line.get("annotations") or {}
    if not any(_same(annotations, name) for name in names):
        return line
    kept = {k: v for k, v in annotations.items() if k not in (REF_NAME, CONTAINERD_NAME)}
    bare = {key: value for key, value in line.items() if key != "annotations"}
    return {**bare, "annotations": kept} if kept else bare


def _same(annotations: Mapping[str, Any], name: Mapping[str, str]) -> bool:
    """Say whether a line has the name: the full one where there is one, else the tag."""
    key = CONTAINERD_NAME if CONTAINERD_NAME in name else REF_NAME
    return annotations.get(key) == name[key]


def _unnamed_once(lines: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Leave out lines without a name whose digest another line lists as well."""
    named = {line["digest"] for line in lines if _is_named(line)}
    kept: list[Mapping[str, Any]] = []
    for line in lines:
        if _is_named(line):
            kept.append(line)
        elif line["digest"] not in named:
            named.add(line["digest"])
            kept.append(line)
    return kept


def _is_named(line: Mapping[str, Any]) -> bool:
    annotations = line.get("annotations") or {}
    return bool(annotations.get(REF_NAME) or annotations.get(CONTAINERD_NAME))


def _entry(descriptor: Descriptor) -> Entry:
    written = descriptor.annotations.get(REF_NAME) or ""
    full = descriptor.annotations.get(CONTAINERD_NAME) or ""
    tag = _tag(written) or _tag_of_reference(written) or _tag_of_reference(full)
    return Entry(descriptor, written, full, tag)


def _tag(text: str) -> Tag | None:
    try:
        return Tag.parse(text)
    except TagInvalid:
        return None


def _tag_of_reference(text: str) -> Tag | None:
    try:
        return Reference.parse(text).tag
    except (NameInvalid, TagInvalid, DigestInvalid):
        return None
