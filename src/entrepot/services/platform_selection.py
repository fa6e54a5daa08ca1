"""Platform selection: from an index to the image, or the smaller index, that is asked for."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestInvalid, ManifestUnknown
from entrepot.oci.manifest import Index, Manifest, parse_manifest
from entrepot.oci.platform import Platform
from entrepot.ports.image_end import ImageSource
from entrepot.rules import platform_choice
from entrepot.services.progress import Report, Warned
from entrepot.services.verified_blob import VerifiedBlob
from entrepot.services.verified_manifest import (
    MAX_DEPTH,
    MAX_MANIFESTS,
    read_manifest,
    too_deep,
    too_many,
)

_MAX_CONFIG: Final = 4 << 20
_CONFIGS: Final = frozenset({media_types.OCI_CONFIG, media_types.DOCKER_CONFIG})


@dataclass(frozen=True, slots=True)
class Selection:
    """The root to copy; `replaced` is the index of the source, where a new one was made of it."""

    root: Descriptor
    manifest: Manifest | Index
    replaced: Digest | None = None


async def select(
    source: ImageSource,
    root: Descriptor,
    platforms: Sequence[Platform] | None,
    keep_index: bool,
    report: Report,
) -> Selection:
    """Return what of `root` is for the platforms: all of it without any, the image itself for one,
    a new index for several or with `keep_index`.

    An image that is not in an index is taken for whatever it is for, with a warning if that is
    not what was asked for. Raise ManifestUnknown, listing what there is, if nothing fits.
    """
    manifest = await read_manifest(source, root)
    if not platforms:
        return Selection(root, manifest)
    if isinstance(manifest, Manifest):
        await _warn_unless_for(source, root, manifest, platforms, report)
        return Selection(root, manifest)
    offers = await _offers(source, manifest)
    chosen = await _choose_all(source, offers, platforms, report)
    if len(platforms) == 1 and not keep_index:
        return Selection(chosen[0], await read_manifest(source, chosen[0]))
    return _smaller_index(root, manifest, offers, chosen)


async def _offers(source: ImageSource, index: Index) -> list[Descriptor]:
    """Return the entries that are manifests, with those of nested indexes in their places."""
    offers: list[Descriptor] = []
    waiting = [(entry, 1) for entry in reversed(index.manifests)]
    read = 0
    while waiting:
        entry, depth = waiting.pop()
        if not media_types.is_index(entry.media_type):
            if media_types.is_manifest_kind(entry.media_type):
                offers.append(entry)
            continue
        if depth > MAX_DEPTH:
            raise too_deep()
        nested = await read_manifest(source, entry)
        read += 1
        if len(offers) + len(waiting) + read > MAX_MANIFESTS:
            raise too_many()
        if isinstance(nested, Index):
            waiting += [(inner, depth + 1) for inner in reversed(nested.manifests)]
    return offers


async def _choose_all(
    source: ImageSource, offers: list[Descriptor], platforms: Sequence[Platform], report: Report
) -> list[Descriptor]:
    chosen = [platform_choice.choose(offers, wanted) for wanted in platforms]
    if None in chosen:
        # Some do not say in the index what they are for, only in their configs.
        offers[:] = [await _with_platform(source, offer) for offer in offers]
        chosen = [platform_choice.choose(offers, wanted) for wanted in platforms]
    found = []
    for wanted, offer in zip(platforms, chosen, strict=True):
        if offer is None or offer.platform is None:
            there = ", ".join(platform_choice.offered(offers))
            raise ManifestUnknown(
                f"there is no image for {wanted} in the index; "
                + (f"there is {there}" if there else "it lists none for any platform")
                + "; ask for one of these, or for all",
                detail={"platform": str(wanted), "offered": there},
            )
        if offer.platform.normalised().architecture != wanted.normalised().architecture:
            report(Warned(f"there is no image for {wanted}; the one for {offer.platform} is taken"))
        found.append(offer)
    return found


async def _with_platform(source: ImageSource, offer: Descriptor) -> Descriptor:
    if offer.platform is not None or not platform_choice.is_choosable(offer):
        return offer
    manifest = await read_manifest(source, offer)
    if not isinstance(manifest, Manifest):
        return offer
    return replace(offer, platform=await _config_platform(source, manifest))


async def _warn_unless_for(
    source: ImageSource,
    root: Descriptor,
    manifest: Manifest,
    platforms: Sequence[Platform],
    report: Report,
) -> None:
    platform = await _config_platform(source, manifest)
    offer = [replace(root, platform=platform, annotations={})]
    for wanted in platforms if platform is not None else ():
        if platform_choice.choose(offer, wanted) is None:
            report(Warned(f"the image is for {platform}, not for {wanted}; there is no other"))


async def _config_platform(source: ImageSource, manifest: Manifest) -> Platform | None:
    """Return what an image's config says it is for, None for what is no image."""
    config = manifest.config
    if config.media_type not in _CONFIGS or config.size > _MAX_CONFIG:
        return None
    content = b"".join([chunk async for chunk in VerifiedBlob(source, config, _ignore).read()])
    try:
        return Platform.of_json(json.loads(content), "config")
    except (ManifestInvalid, ValueError, RecursionError):
        return None


def _smaller_index(
    root: Descriptor, index: Index, offers: Sequence[Descriptor], chosen: Sequence[Descriptor]
) -> Selection:
    """Return the index with nothing but the chosen images, and what attests something of them."""
    digests = {offer.digest for offer in chosen}
    kept = [
        offer
        for offer in offers
        if offer.digest in digests or _attested(offer) in {str(digest) for digest in digests}
    ]
    if {offer.digest for offer in kept} == {entry.digest for entry in index.manifests}:
        return Selection(root, index)
    document = json.loads(index.content)
    document["manifests"] = [offer.to_json() for offer in kept]
    content = json.dumps(document, separators=(",", ":")).encode()
    digest = Digest.of(content, root.digest.algorithm)
    smaller = replace(root, digest=digest, size=len(content), data=None)
    return Selection(smaller, parse_manifest(content, root.media_type), root.digest)


def _attested(offer: Descriptor) -> str | None:
    return offer.annotations.get(platform_choice.ATTESTED_DIGEST)


def _ignore(_event: object) -> None:
    """Take no notice: a config that is looked at is no progress."""
