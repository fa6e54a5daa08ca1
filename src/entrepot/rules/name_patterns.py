"""Name patterns: how operators write sets of repository names, and other names for them.

`*` stands for anything, also for nothing and for `/`; all else stands for itself.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from entrepot.oci.errors import NameInvalid
from entrepot.oci.reference import RepositoryName


@dataclass(frozen=True, slots=True)
class NamePatterns:
    """Patterns of names, in their order."""

    texts: tuple[str, ...] = ()
    _compiled: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> "NamePatterns":
        """Read patterns."""
        kept = tuple(texts)
        return cls(kept, tuple(map(_compiled, kept)))

    def first(self, *names: str) -> str | None:
        """Return the first pattern that one of the names matches, as it was written."""
        for text, pattern in zip(self.texts, self._compiled, strict=True):
            if any(pattern.fullmatch(name) for name in names):
                return text
        return None


@dataclass(frozen=True, slots=True)
class Rewrite:
    """`OLD=NEW`: names that match OLD are asked for as NEW; each `*` of NEW is what the `*` of OLD
    in the same place stood for."""

    text: str
    _old: re.Pattern[str]
    _new: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Rewrite":
        """Read a rewrite. Raise NameInvalid if it is none."""
        old, equals, new = (_single(part.strip()) for part in text.partition("="))
        if not (old and equals and new) or "=" in new or new.count("*") > old.count("*"):
            raise NameInvalid(
                f"{text[:255]!r} is no rewrite of names; write OLD=NEW with no more * in NEW than "
                "in OLD, as in rancher/*=stable/rancher/*",
                detail={"rewrite": text[:255]},
            )
        return cls(text, _compiled(old), tuple(new.split("*")))

    def apply(self, name: RepositoryName) -> RepositoryName | None:
        """Return the other name, None if this is not for `name`. Raise NameInvalid if what comes
        out is no name."""
        match = self._old.fullmatch(name)
        if match is None:
            return None
        parts = [self._new[0]]
        for found, literal in zip(match.groups(), self._new[1:], strict=False):
            parts += [found, literal]
        try:
            return RepositoryName.parse("".join(parts))
        except NameInvalid as error:
            raise NameInvalid(
                f"the rewrite {self.text} makes no name of {name}: {error.message}",
                detail=error.detail,
            ) from None


def rewritten(name: RepositoryName, rewrites: Iterable[Rewrite]) -> RepositoryName:
    """Return what the first rewrite that is for a name makes of it, else the name itself."""
    for one in rewrites:
        other = one.apply(name)
        if other is not None:
            return other
    return name


def _compiled(text: str) -> re.Pattern[str]:
    return re.compile("(.*)".join(map(re.escape, _single(text).split("*"))), re.DOTALL)


def _single(text: str) -> str:
    """Return a pattern with single stars: several mean the same, and match more slowly."""
    return re.sub(r"\*+", "*", text)
