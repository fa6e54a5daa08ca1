"""Rebasing: the layers of one base under an image become those of another."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.errors import ManifestInvalid, Unsupported
from entrepot.oci.image_config import ImageConfig, with_layers, with_platform
from entrepot.oci.platform import Platform
from entrepot.ports.image_end import ImageSource
from entrepot.services.image_editing import Change, Draft, open_draft
from entrepot.services.image_layers import history_of
from entrepot.services.platform_selection import select
from entrepot.services.progress import Report

BASE_NAME: Final = "org.opencontainers.image.base.name"
BASE_DIGEST: Final = "org.opencontainers.image.base.digest"


@dataclass(frozen=True, slots=True)
class Base:
    """A base image: where it is, and its name for the annotations. It may be an index."""

    source: ImageSource
    descriptor: Descriptor
    name: str = ""


def told_base(annotations: Mapping[str, str]) -> tuple[str, str]:
    """Return the base's name and digest as an image's annotations tell them, empty if not."""
    return annotations.get(BASE_NAME, ""), annotations.get(BASE_DIGEST, "")


def rebase(old: Base, new: Base, report: Report) -> Change:
    """Return the edit that puts an image on `new` instead of `old`, for its own platform.

    The layers of `old` must be the lowest ones of the image; else ManifestInvalid is raised.
    """

    async def change(draft: Draft) -> Draft:
        platform = draft.config.platform
        below = await _open(old, platform, report)
        instead = await _open(new, platform, report)
        depth = len(below.layers)
        if draft.config.diff_ids[:depth] != below.config.diff_ids:
            raise ManifestInvalid(
                f"the image is not built on {old.name or old.descriptor.digest}: its lowest "
                f"{depth} layers are others; name the base that it was built on"
            )
        if draft.is_docker != instead.is_docker:
            raise Unsupported(
                "the image and its new base are not in the same format; convert one of them with "
                "`cp --format` first"
            )
        config = _rebased(draft.config, below.config, instead.config)
        layers = (*instead.layers, *draft.layers[depth:])
        rebased = replace(draft, config=config, layers=layers)
        return rebased if draft.is_docker else _annotated(rebased, new, instead)

    return change


async def _open(base: Base, platform: Platform, report: Report) -> Draft:
    chosen = await select(base.source, base.descriptor, [platform], False, report)
    return await open_draft(base.source, chosen.root)


def _rebased(config: ImageConfig, old: ImageConfig, new: ImageConfig) -> ImageConfig:
    depth = len(old.diff_ids)
    own = _behind(history_of(config), depth, len(old.history))
    moved = with_layers(config, (*new.diff_ids, *config.diff_ids[depth:]), (*history_of(new), *own))
    return with_platform(moved, new.platform) if new.platform != config.platform else moved


def _behind(
    history: tuple[dict[str, Any], ...], layers: int, entries: int
) -> tuple[dict[str, Any], ...]:
    """Return the history behind the base's: its entries, as long as they tell of its layers."""
    if sum(1 for one in history[:entries] if not one.get("empty_layer")) == layers:
        return history[entries:]
    seen = 0
    for number, one in enumerate(history):
        if seen == layers:
            return history[number:]
        seen += 0 if one.get("empty_layer") else 1
    return ()


def _annotated(draft: Draft, base: Base, chosen: Draft) -> Draft:
    assert chosen.image is not None, "a base is read, not made"
    told = draft.annotations | {BASE_DIGEST: str(chosen.image.descriptor.digest)}
    name = base.name or told.get(BASE_NAME, "")
    return draft.with_annotations(told | ({BASE_NAME: name} if name else {}))
