"""Platform choice: which image of an index is for a machine, and which will do.

Processors run what was built for older ones of their family: the order of what is tried, best
first, is the one of containerd's `platforms.Only`. A Windows image must be for the same build.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.platform import Platform

ATTESTED_KIND: Final = "vnd.docker.reference.type"
ATTESTED_DIGEST: Final = "vnd.docker.reference.digest"
"""Annotations of BuildKit: an entry of an index that is no image but says something of one."""

_UNKNOWN: Final = "unknown"
_VERSION: Final = re.compile(r"v(\d{1,2})(?:\.(\d{1,2}))?", re.ASCII)
_OLDEST_ARM: Final = 5
_LAST_MINOR_OF_8: Final = 9
_AHEAD_OF_9: Final = 5
"""Armv9.n has all of Armv8.(n + 5)."""


def choose(offers: Sequence[Descriptor], wanted: Platform) -> Descriptor | None:
    """Return the entry of an index that serves `wanted` best, None if none does.

    Among equals the newest revision of a wanted OS version wins, then the first. Attestations
    and what is for no known platform are never chosen.
    """
    for acceptable in acceptable_platforms(wanted):
        fitting = [
            offer
            for offer in offers
            if offer.platform is not None
            and is_choosable(offer)
            and offer.platform.matches(acceptable)
        ]
        if fitting and wanted.os_version:
            return max(fitting, key=_os_version)  # the first of the newest
        if fitting:
            return fitting[0]
    return None


def acceptable_platforms(wanted: Platform) -> tuple[Platform, ...]:
    """Return what runs on `wanted`, best first; it comes first itself."""
    exact = wanted.normalised()
    others = [
        replace(exact, architecture=architecture, variant=variant)
        for architecture, variant in _lesser(exact.architecture, exact.variant)
    ]
    return (exact, *others)


def is_choosable(offer: Descriptor) -> bool:
    """Say whether an entry may be an image to run: it is no attestation, its platform known."""
    if ATTESTED_KIND in offer.annotations:
        return False
    platform = offer.platform
    return platform is None or _UNKNOWN not in (platform.os, platform.architecture)


def offered(offers: Sequence[Descriptor]) -> tuple[str, ...]:
    """Return the platforms one can ask for, as people write them, each once."""
    shown = {
        f"{offer.platform}"
        + (f" ({offer.platform.os_version})" if offer.platform.os_version else "")
        for offer in offers
        if offer.platform is not None and is_choosable(offer)
    }
    return tuple(sorted(shown))


def _lesser(architecture: str, variant: str) -> list[tuple[str, str]]:
    match = _VERSION.fullmatch(variant)
    if match is None:
        return []
    major, minor = int(match[1]), int(match[2] or 0)
    match architecture:
        case "amd64":
            return [*(("amd64", f"v{older}") for older in range(major - 1, 0, -1)), ("386", "")]
        case "arm":
            return [("arm", f"v{older}") for older in range(major - 1, _OLDEST_ARM - 1, -1)]
        case "arm64":
            arm = [("arm", f"v{older}") for older in range(8, _OLDEST_ARM - 1, -1)]
            return [*(("arm64", older) for older in _older_arm64(major, minor)), *arm]
        case _:
            return []


def _older_arm64(major: int, minor: int) -> list[str]:
    older = [(major, less) for less in range(minor - 1, -1, -1)]
    if major == 9:
        newest = min(minor + _AHEAD_OF_9, _LAST_MINOR_OF_8)
        older += [(8, less) for less in range(newest, -1, -1)]
    return [f"v{generation}.{step}" if step else f"v{generation}" for generation, step in older]


def _os_version(offer: Descriptor) -> tuple[int, ...]:
    text = offer.platform.os_version if offer.platform else ""
    return tuple(int(part) if part.isdecimal() else 0 for part in text.split("."))
