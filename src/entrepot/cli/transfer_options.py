"""What of an image is moved, and how: the options of every command that transfers, and what such
a command prints in the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import typer

from entrepot.cli.destinations import shown
from entrepot.cli.output import Form, human_size, print_json
from entrepot.cli.platform_option import read_platform
from entrepot.oci.address import Address
from entrepot.oci.platform import Platform
from entrepot.services.local_platform import local_platform
from entrepot.services.progress import Transferred
from entrepot.services.transfer import TransferOptions

PANEL: Final = "What is moved"

_JOBS: Final = TransferOptions().jobs
_MOST_JOBS: Final = 64

PlatformsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--platform",
        metavar="OS/ARCH[/VARIANT]",
        help="Only this platform of a multi-platform image; may be repeated.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
"""`--platform`, repeatable."""

ManifestForm = Literal["docker", "oci"]

ManifestFormOption = Annotated[
    ManifestForm | None,
    typer.Option(
        "--format",
        metavar="docker|oci",
        help="Convert manifests to Docker schema 2 or to OCI; digests change then.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
"""`--format docker|oci` of commands whose target is a registry."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What the options of a transfer say. `platforms` is empty where none was named."""

    platforms: tuple[Platform, ...]
    everything: bool
    referrers: bool
    artifact_types: tuple[str, ...]
    jobs: int

    def options(
        self, form: ManifestForm | None = None, *, one_platform: bool = False
    ) -> TransferOptions:
        """Return the transfer's options. With `one_platform` it is this machine's unless told;
        otherwise all of them are moved."""
        platforms = self.platforms
        if one_platform and not platforms and not self.everything:
            platforms = (local_platform(),)
        return TransferOptions(
            jobs=self.jobs,
            platforms=platforms or None,
            referrers=self.referrers,
            artifact_types=self.artifact_types,
            format=form,
        )


def selection(
    *,
    platform: PlatformsOption = None,
    everything: Annotated[
        bool,
        typer.Option("--all", "-a", help="All platforms.", rich_help_panel=PANEL),
    ] = False,
    referrers: Annotated[
        bool,
        typer.Option(
            "--referrers",
            help="Also what names the image as its subject: signatures, SBOMs, attestations.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    artifact_type: Annotated[
        list[str] | None,
        typer.Option(
            "--artifact-type",
            metavar="TYPE",
            help="With --referrers, only this type; may be repeated.",
            rich_help_panel=PANEL,
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            min=1,
            max=_MOST_JOBS,
            help="Blobs that are moved at a time.",
            rich_help_panel=PANEL,
        ),
    ] = 6,
) -> Selection:
    """Read the options of a transfer. Raise BadParameter where they contradict each other."""
    if platform and everything:
        raise typer.BadParameter("--platform and --all contradict each other")
    if artifact_type and not referrers:
        raise typer.BadParameter("--artifact-type needs --referrers")
    platforms = tuple(read_platform(one) for one in platform or ())
    return Selection(platforms, everything, referrers, tuple(artifact_type or ()), jobs)


def outcome(
    source: Address, target: Address, result: Transferred, platforms: Sequence[Platform] | None
) -> dict[str, object]:
    """Return what `-o json` prints of a transfer."""
    return {
        "source": str(source),
        "destination": str(target),
        "digest": str(result.root.digest),
        "media_type": result.root.media_type,
        "size": result.root.size,
        "tags": [str(tag) for tag in result.tags],
        "platforms": None if platforms is None else [str(platform) for platform in platforms],
        "blobs": {
            "copied": result.copied_blobs,
            "present": result.present_blobs,
            "mounted": result.mounted_blobs,
        },
        "manifests": result.manifests,
        "copied_bytes": result.copied_bytes,
        "total_bytes": result.total_bytes,
        "replaced": {str(old): str(new) for old, new in result.replaced.items()},
    }


def print_outcome(
    source: Address,
    target: Address,
    result: Transferred,
    options: TransferOptions,
    output: Form,
    quiet: bool,
) -> None:
    """Print what was moved; the digest is the last line, and the only one if `quiet`."""
    if output == "json":
        print_json(outcome(source, target, result, options.platforms))
        return
    if not quiet:
        print(f"{shown(source)} -> {shown(target, result.tags)}")
        print(summary(result))
        for old, new in result.replaced.items():
            print(f"{old} became {new}")
    print(result.root.digest)


def summary(result: Transferred) -> str:
    """Return in one line what was copied and what was there."""
    counts = (
        (result.copied_blobs, f"copied ({human_size(result.copied_bytes)})"),
        (result.mounted_blobs, "mounted"),
        (result.present_blobs, "already there"),
    )
    parts = [f"{count} {how}" for count, how in counts if count]
    return f"blobs: {', '.join(parts) or 'none'}; manifests: {result.manifests}"
