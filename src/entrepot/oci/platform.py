"""Platforms: what operating system and processor an image is for.

Source: image-spec, image-index.md, "platform"; the aliases are those of uname and of Debian.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from entrepot.oci.document import Fields
from entrepot.oci.errors import Unsupported

_OS_ALIASES: Final = {"macos": "darwin"}
_ARCHITECTURE_ALIASES: Final = {
    "i386": ("386", ""),
    "i686": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_IMPLIED_VARIANTS: Final = {"arm": "v7", "arm64": "v8", "amd64": "v1"}
"""What an architecture means when its variant is left out."""

_PART: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and architecture, as written; compare with `matches`.

    Text is empty where a manifest leaves a field out.
    """

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Platform":
        """Read `os/architecture` or `os/architecture/variant`. Raise Unsupported for all else."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(_PART.fullmatch(part) for part in parts):
            shown = text[:200]
            raise Unsupported(
                f"{shown!r} is not a platform; write os/architecture[/variant], "
                "for example linux/amd64 or linux/arm64/v8",
                detail={"platform": shown},
            )
        return cls(parts[0], parts[1], "".join(parts[2:]))

    @classmethod
    def of_json(cls, value: object, path: str) -> "Platform":
        """Read a descriptor's `platform`. Raise ManifestInvalid naming the field."""
        fields = Fields.of(value, path)
        return cls(
            os=fields.text("os") or "",
            architecture=fields.text("architecture") or "",
            variant=fields.text("variant") or "",
            os_version=fields.text("os.version") or "",
            os_features=fields.texts("os.features"),
        )

    def to_json(self) -> dict[str, object]:
        """Render as a descriptor's `platform`."""
        optional = {
            "variant": self.variant,
            "os.version": self.os_version,
            "os.features": list(self.os_features),
        }
        return {
            "architecture": self.architecture,
            "os": self.os,
            **{name: value for name, value in optional.items() if value},
        }

    def normalised(self) -> "Platform":
        """Return the platform in the words of the image-spec, with its implied variant.

        `Linux/x86_64` becomes `linux/amd64/v1`, `linux/armhf` becomes `linux/arm/v7`.
        """
        os = self.os.lower()
        architecture = self.architecture.lower()
        architecture, variant = _ARCHITECTURE_ALIASES.get(architecture, (architecture, ""))
        variant = self.variant.lower() or variant
        if variant[:1].isdecimal():
            variant = f"v{variant}"
        return replace(
            self,
            os=_OS_ALIASES.get(os, os),
            architecture=architecture,
            variant=variant or _IMPLIED_VARIANTS.get(architecture, ""),
        )

    def matches(self, wanted: "Platform") -> bool:
        """Say whether an image for this platform is what was asked for.

        `wanted.os_version`, if given, may be a prefix (`10.0.17763` accepts every revision
        of that Windows build); every wanted OS feature must be offered.
        """
        offer, want = self.normalised(), wanted.normalised()
        if not (offer.os and offer.architecture):
            return False
        version_fits = (
            not want.os_version
            or offer.os_version == want.os_version
            or offer.os_version.startswith(f"{want.os_version}.")
        )
        return (
            (offer.os, offer.architecture, offer.variant)
            == (want.os, want.architecture, want.variant)
            and version_fits
            and set(want.os_features) <= set(offer.os_features)
        )

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
