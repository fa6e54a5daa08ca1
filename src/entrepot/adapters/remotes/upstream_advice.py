"""Advice to who runs a mirror. The client's errors name commands and options of the terminal;
where an upstream is meant, the same is a setting of `[upstreams.NAME]`.
"""

import re
from collections.abc import Sequence
from typing import Final

from entrepot.oci.errors import RegistryError

_WORDS: Final[Sequence[tuple[re.Pattern[str], str]]] = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"entrepot login [^\s;,)]+", "set its username and password"),
        (r"\(--allow-realm (\S+)\)", r"(allowed_realms = \1)"),
        (r"--ca-file", "ca_file"),
        (r"--tls-verify=false", "insecure = true"),
        (r"leave out --plain-http", "write https:// in its endpoints"),
        (r"use --plain-http", "write http:// in its endpoints, with insecure = true,"),
        (r"--cert and --key", "client_certificate and client_key"),
        (r"\(--proxy\)", "(its setting proxy)"),
        (r"--proxy", "its proxy"),
    )
)


def advised(text: str) -> str:
    """Put settings in the place of commands and options."""
    if "--" in text or "entrepot " in text:
        for pattern, words in _WORDS:
            text = pattern.sub(words, text)
    return text


def advise(error: RegistryError) -> None:
    """Put settings in the place of commands and options in an error's message."""
    error.message = advised(error.message)
    error.args = (error.message, *error.args[1:])
