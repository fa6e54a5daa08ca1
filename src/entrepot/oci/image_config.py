"""Image configs: the platform an image is for, the layers its root consists of, their history, and
how its processes start.

Like manifests, configs are kept as they came: what is changed is changed in the document, and
fields that are not known here stay.
Source: image-spec, config.md.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from entrepot.oci.digest import Digest
from entrepot.oci.document import Fields, read_document, refuse
from entrepot.oci.errors import DigestInvalid, ManifestInvalid
from entrepot.oci.platform import Platform

MAX_SIZE: Final = 8 * 1024 * 1024
"""Largest config that is read, in bytes; those of real images have some 10 KiB."""


@dataclass(frozen=True, slots=True)
class History:
    """How one layer, or none if `empty_layer`, came to be. Empty text is left out."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False

    def to_json(self) -> dict[str, object]:
        """Render as an element of `history`."""
        texts = {
            "created": self.created,
            "created_by": self.created_by,
            "author": self.author,
            "comment": self.comment,
        }
        members: dict[str, object] = {name: text for name, text in texts.items() if text}
        return members | {"empty_layer": True} if self.empty_layer else members


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """An image's config: the whole document, and what is read of it. Not to be changed in place;
    the `with_…` functions return another. `content` is the bytes that it was read from."""

    document: Mapping[str, object]
    platform: Platform
    diff_ids: tuple[Digest, ...]
    history: tuple[Mapping[str, object], ...]
    content: bytes = b""

    @property
    def section(self) -> Mapping[str, object]:
        """How processes start: the member `config`, whose keys are `Env`, `Cmd` and so on."""
        section = self.document.get("config")
        return section if isinstance(section, dict) else {}

    @property
    def layers_of_history(self) -> int:
        """How many layers the history tells of."""
        return sum(1 for entry in self.history if entry.get("empty_layer") is not True)

    def to_bytes(self) -> bytes:
        """Render the document: the same bytes for the same document."""
        return to_json_bytes(self.document)


def to_json_bytes(document: Mapping[str, object]) -> bytes:
    """Render a document compactly, its keys in their order, as UTF-8."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def new_config(platform: Platform) -> ImageConfig:
    """Return the config of an image without layers."""
    rootfs = {"type": "layers", "diff_ids": []}
    document = {**_platform_members(platform), "config": {}, "rootfs": rootfs, "history": []}
    return ImageConfig(document, platform, (), ())


def parse_config(content: bytes) -> ImageConfig:
    """Read a config. Raise ManifestInvalid naming the field that is wrong, also where the content
    is no image's config at all."""
    try:
        fields = read_document(content)
        rootfs = Fields.of(fields.required("rootfs"), "rootfs")
        kind = rootfs.text("type")
        if kind != "layers":
            raise refuse("rootfs.type", f"must be 'layers', not {kind!r}")
        diff_ids = tuple(
            _digest(text, f"rootfs.diff_ids[{index}]")
            for index, text in enumerate(rootfs.texts("diff_ids"))
        )
        history = tuple(_history(value, path) for path, value in fields.items("history"))
        if fields.value("config") is not None:
            Fields.of(fields.value("config"), "config")
        platform = Platform.of_json(_members(content), "")
    except ManifestInvalid as error:
        problem = error.message.replace("the manifest", "the document")
        raise ManifestInvalid(f"the image config: {problem}", detail=error.detail) from None
    return ImageConfig(_members(content), platform, diff_ids, history, content)


def with_layers(
    config: ImageConfig, diff_ids: Sequence[Digest], history: Sequence[Mapping[str, object]]
) -> ImageConfig:
    """Return the config for these layers. An empty `history` is left out."""
    rootfs = config.document.get("rootfs")
    told = dict(rootfs) if isinstance(rootfs, dict) else {"type": "layers"}
    document = {
        **config.document,
        "rootfs": told | {"diff_ids": [str(one) for one in diff_ids]},
        "history": [dict(one) for one in history],
    }
    if not history:
        del document["history"]
    return replace(config, document=document, diff_ids=tuple(diff_ids), history=tuple(history))


def with_section(config: ImageConfig, changes: Mapping[str, object]) -> ImageConfig:
    """Return the config with members of `config` set; None or what is empty removes one."""
    section = {**config.section, **changes}
    kept = {name: value for name, value in section.items() if value not in (None, "", [], {})}
    return replace(config, document={**config.document, "config": kept})


def with_created(config: ImageConfig, created: str, *, history: bool = True) -> ImageConfig:
    """Return the config with another time (RFC 3339), in all of its history too."""
    entries = tuple({**one, "created": created} for one in config.history)
    document: dict[str, object] = {**config.document, "created": created}
    if history and entries:
        document["history"] = [dict(one) for one in entries]
    return replace(config, document=document, history=entries if history else config.history)


def with_platform(config: ImageConfig, platform: Platform) -> ImageConfig:
    """Return the config for another platform."""
    others = {
        name: value
        for name, value in config.document.items()
        if name not in ("architecture", "os", "variant", "os.version", "os.features")
    }
    return replace(config, document={**_platform_members(platform), **others}, platform=platform)


def with_author(config: ImageConfig, author: str) -> ImageConfig:
    """Return the config with another author, or none."""
    others = {name: value for name, value in config.document.items() if name != "author"}
    return replace(config, document=others | ({"author": author} if author else {}))


def _platform_members(platform: Platform) -> dict[str, object]:
    return platform.to_json()


def _members(content: bytes) -> dict[str, object]:
    members: dict[str, object] = json.loads(content)
    return members


def _digest(text: str, path: str) -> Digest:
    try:
        return Digest.parse(text)
    except DigestInvalid:
        raise refuse(path, f"is no digest: {text[:80]!r}") from None


def _history(value: object, path: str) -> Mapping[str, object]:
    fields = Fields.of(value, path)
    empty = fields.value("empty_layer")
    if empty is not None and not isinstance(empty, bool):
        raise refuse(f"{path}.empty_layer", "must be true or false")
    assert isinstance(value, dict)
    return value
