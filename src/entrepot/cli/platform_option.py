"""`--platform` of commands that look at one image."""

from typing import Annotated

import typer

from entrepot.oci.errors import Unsupported
from entrepot.oci.platform import Platform

PlatformOption = Annotated[
    str | None,
    typer.Option(
        "--platform",
        metavar="OS/ARCH[/VARIANT]",
        help="Which platform of a multi-platform image.",
        show_default=False,
    ),
]
"""The option; `platform_of` reads its value."""


def platform_of(text: str | None) -> Platform | None:
    """Return the platform that was given, if one was. Raise BadParameter for what is none."""
    return read_platform(text) if text else None


def read_platform(text: str) -> Platform:
    """Read a platform. Raise BadParameter for what is none."""
    try:
        return Platform.parse(text)
    except Unsupported as error:
        raise typer.BadParameter(error.message) from None
