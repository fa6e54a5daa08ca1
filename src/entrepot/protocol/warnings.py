"""Warnings: what a registry tells the person behind a client, beside the answer.

Source: distribution-spec, "Warnings"; RFC 7234, section 5.5.
"""

import re
from collections.abc import Iterable
from typing import Final

from entrepot.oci.errors import Unsupported

MAX_TEXT: Final = 256
"""Longest text of one warning in characters; ours, so that it stays readable."""

MAX_TOTAL: Final = 4096
"""Most bytes of warning data in one response, over all its headers; the spec's."""

_TEXT: Final = re.compile(rf"[\t\x20-\x7e]{{1,{MAX_TEXT}}}", re.ASCII)
_SPECIAL: Final = re.compile(r'(["\\])')
_QUOTED_PAIR: Final = re.compile(r"\\(.)")
_WARNING: Final = re.compile(
    r'(?:^|,)[ \t]*299 [^\s,"]+ "((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x1f\x7f])*)"'
)


def render_warning(text: str) -> str:
    """Return the value of one Warning header.

    Raise Unsupported for what a header cannot carry to every client: line breaks, other
    control characters, non-ASCII, or more than MAX_TEXT characters.
    """
    if _TEXT.fullmatch(text) is None:
        shown = text[:MAX_TEXT]
        raise Unsupported(
            f"{shown!r} cannot be sent as a warning; use 1 to {MAX_TEXT} printable ASCII "
            "characters in one line",
            detail={"warning": shown},
        )
    escaped = _SPECIAL.sub(r"\\\1", text)
    return f'299 - "{escaped}"'


def render_warnings(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the values of a response's Warning headers: each text once, the first that fit
    into MAX_TOTAL bytes. Raise Unsupported as `render_warning`."""
    values: list[str] = []
    total = 0
    for text in dict.fromkeys(texts):
        value = render_warning(text)
        total += len("Warning: ") + len(value) + len("\r\n")
        if total > MAX_TOTAL:
            break
        values.append(value)
    return tuple(values)


def parse_warnings(field: str) -> tuple[str, ...]:
    """Return the texts in a Warning header, which may list several.

    Other codes than 299, and what is malformed, is left out: warnings are only ever shown.
    """
    return tuple(_QUOTED_PAIR.sub(r"\1", match[1]) for match in _WARNING.finditer(field))
