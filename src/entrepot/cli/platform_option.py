"""`--platform` of commands that look at one image."""

from typing import Annotated

import typer

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
    """Return the platform that was given, if one was. Raise Unsupported for what is none."""
    return Platform.parse(text) if text else None
