"""`NAME=VALUE` on the command line: labels, annotations, variables."""

from collections.abc import Iterable
from typing import Annotated

import typer

AnnotationsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--annotation",
        metavar="NAME=VALUE",
        help="Annotation of the manifest; may be repeated.",
        show_default=False,
    ),
]
"""`--annotation`, repeatable; `pairs` reads its value."""


def pairs(texts: Iterable[str] | None, option: str = "--annotation") -> dict[str, str]:
    """Return the values by name. Raise BadParameter for what has no `=` or no name."""
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{option} {text!r} is no NAME=VALUE")
        found[name] = value
    return found


def removable_pairs(texts: Iterable[str] | None, option: str) -> dict[str, str | None]:
    """Return the values by name, None for `NAME-`, which is to be removed."""
    found: dict[str, str | None] = {}
    for text in texts or ():
        if "=" not in text and text.endswith("-") and len(text) > 1:
            found[text[:-1]] = None
        else:
            found |= pairs([text], option)
    return found
