"""Version ranges: which tags satisfy a constraint such as `>= 1.2, < 2` or `^1.4 || ~2.0.1`.

Versions are those of semver.org, read as generously as people write tags: a `v` may stand before
them, minor and patch may be missing. The operators are `=` `!=` `>` `>=` `<` `<=` `~` `^`, the
wildcards `x` and `*`, ranges `1.2 - 1.4`; a comma or a space means and, `||` means or.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import total_ordering
from typing import Final

from entrepot.oci.errors import Unsupported

_NUMBER: Final = r"(?:0|[1-9][0-9]{0,17})"
_SUFFIX: Final = r"(?:-(?P<pre>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:[+_][0-9A-Za-z.-]+)?"
_VERSION: Final = re.compile(
    rf"v?(?P<major>{_NUMBER})(?:\.(?P<minor>{_NUMBER}))?(?:\.(?P<patch>{_NUMBER}))?{_SUFFIX}",
    re.ASCII,
)
_PARTIAL: Final = re.compile(
    rf"v?(?P<major>{_NUMBER}|[xX*])(?:\.(?P<minor>{_NUMBER}|[xX*]))?"
    rf"(?:\.(?P<patch>{_NUMBER}|[xX*]))?{_SUFFIX}",
    re.ASCII,
)
_TERM: Final = re.compile(r"\s*(?P<operator>[<>=!~^]{0,2})\s*(?P<version>[^\s,<>=!~^]+)\s*,?")
_HYPHEN: Final = re.compile(r"(\S+)\s+-\s+(\S+)")
_PARTS: Final = ("major", "minor", "patch")
_WILD: Final = frozenset("xX*")
_SYNONYMS: Final = {"": "=", "==": "=", "=>": ">=", "=<": "<=", "~>": "~"}


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A version: major, minor and patch, and the parts of a pre-release.

    Build metadata counts for nothing.
    """

    numbers: tuple[int, ...]
    pre: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str) -> "Version | None":
        """Read a tag; None if it is no version."""
        match = _VERSION.fullmatch(text)
        if match is None:
            return None
        numbers = tuple(int(match[part] or 0) for part in _PARTS)
        return cls(numbers, tuple(match["pre"].split(".")) if match["pre"] else ())

    def __lt__(self, other: "Version") -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[object, ...]:
        # A release comes after all of its pre-releases; numbers come before words.
        words = tuple((0, int(w), "") if w.isdecimal() else (1, 0, w) for w in self.pre)
        return (*self.numbers, not self.pre, words)


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A constraint: alternatives, each a list of bounds that all must hold."""

    text: str
    alternatives: tuple[tuple[tuple[str, Version], ...], ...]

    @classmethod
    def parse(cls, text: str) -> "VersionRange":
        """Read a constraint. Raise Unsupported, naming what is wrong."""
        return cls(text, tuple(tuple(_bounds(part, text)) for part in text.split("||")))

    def accepts(self, tag: str) -> bool:
        """Say whether a tag is a version in the range.

        A pre-release is, only where a bound of the same alternative is one too.
        """
        version = Version.read(tag)
        if version is None:
            return False
        return any(
            (not version.pre or any(bound.pre for _, bound in bounds))
            and all(_HOLDS[operator](version, bound) for operator, bound in bounds)
            for bounds in self.alternatives
        )


_HOLDS: Final[Mapping[str, Callable[[Version, Version], bool]]] = {
    "=": lambda version, bound: version == bound,
    "!=": lambda version, bound: version != bound,
    ">": lambda version, bound: version > bound,
    ">=": lambda version, bound: version >= bound,
    "<": lambda version, bound: version < bound,
    "<=": lambda version, bound: version <= bound,
}


def _bounds(part: str, whole: str) -> list[tuple[str, Version]]:
    part = _HYPHEN.sub(r">=\1 <=\2", part.strip())
    bounds: list[tuple[str, Version]] = []
    at = 0
    while at < len(part):
        match = _TERM.match(part, at)
        if match is None:
            raise _refuse(whole, part[at:])
        operator = _SYNONYMS.get(match["operator"], match["operator"])
        bounds += _term(operator, match["version"], whole)
        at = match.end()
    if not bounds:
        raise _refuse(whole, part)
    return bounds


def _term(operator: str, text: str, whole: str) -> Sequence[tuple[str, Version]]:
    """Return the bounds that one term means: `1.2` is everything from 1.2.0 to below 1.3.0."""
    match = _PARTIAL.fullmatch(text)
    if match is None or operator not in (*_HOLDS, "~", "^"):
        raise _refuse(whole, f"{operator}{text}")
    given: list[int] = []
    for part in _PARTS:
        if match[part] is None or match[part] in _WILD:
            break
        given.append(int(match[part]))
    pre = tuple(match["pre"].split(".")) if match["pre"] else ()
    lowest = Version(_padded(given), pre)
    if not given:
        return [(">=", lowest)]
    match operator:
        case "~":
            return _span(lowest, given[:2])
        case "^":
            return _span(lowest, _leading(given))
        case "=" if len(given) < 3:
            return _span(lowest, given)
        case ">" if len(given) < 3:
            return [(">=", _behind(given))]
        case "<=" if len(given) < 3:
            return [("<", _behind(given))]
        case _:
            return [(operator, lowest)]


def _span(lowest: Version, given: Sequence[int]) -> Sequence[tuple[str, Version]]:
    return [(">=", lowest), ("<", _behind(given))]


def _leading(given: Sequence[int]) -> Sequence[int]:
    """Return the numbers up to the first that is not 0, which `^` keeps as they are."""
    for count, number in enumerate(given, 1):
        if number:
            return given[:count]
    return given


def _behind(given: Sequence[int]) -> Version:
    """Return the first version behind all that begin with the numbers given."""
    return Version(_padded((*given[:-1], given[-1] + 1)))


def _padded(numbers: Sequence[int]) -> tuple[int, ...]:
    return (*numbers, 0, 0, 0)[: len(_PARTS)]


def _refuse(whole: str, part: str) -> Unsupported:
    return Unsupported(
        f"{part.strip()[:80]!r} in {whole[:160]!r} is no version constraint; write for example "
        ">= 1.2, < 2 or ^1.4 || ~2.0.1"
    )
