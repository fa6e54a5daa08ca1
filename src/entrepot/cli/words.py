"""The words of a command line, before the parser sees them: spellings that other programs have
taught people, and what is true for every command."""

import re
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Final

DEBUG: Final = "--debug"

debugging: Final = ContextVar("debugging", default=False)
"""Whether `--debug` was among the words of the command that runs."""

_TRUTH: Final = {"true": True, "1": True, "false": False, "0": False}
_TLS_VERIFY: Final = re.compile(r"--((?:src-|dest-)?tls-verify)=(\w+)", re.ASCII)


def normalised(words: Sequence[str]) -> tuple[bool, list[str]]:
    """Return whether `--debug` is among the words, wherever it stands, and the other words.

    `--tls-verify=false` becomes `--no-tls-verify`. Nothing behind `--` is touched.
    """
    end = list(words).index("--") if "--" in words else len(words)
    options = [word for word in words[:end] if word != DEBUG]
    return len(options) < end, [*map(_as_flag, options), *words[end:]]


def _as_flag(word: str) -> str:
    found = _TLS_VERIFY.fullmatch(word)
    if found is None or found[2].lower() not in _TRUTH:
        return word
    return f"--{found[1]}" if _TRUTH[found[2].lower()] else f"--no-{found[1]}"
