"""Mirror paths: where clients say the registry they mean, when a repository's name cannot.

    /docker.io/v2/library/alpine/…    in front: dockerd's mirrors, plain hosts.toml
    /v2/localhost:5000/app/…          as the first segment: containers/image, BuildKit, kaniko

A first segment without a port is a part of a name by the grammar, so it stays there, and
`rules/source_routing` looks at it. What is read here are single segments, of the grammar of hosts
or of words; any other path is left as it is, for `routes` to judge.
"""

import re
from typing import Final

from entrepot.oci.reference import is_host

_LONGEST: Final = 300  # characters of a segment, escapes included
_WORD: Final = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*", re.ASCII | re.IGNORECASE)
_ESCAPE: Final = re.compile(r"%(3a|5b|5d)", re.ASCII | re.IGNORECASE)
_MEANINGS: Final = {"3a": ":", "5b": "[", "5d": "]"}


def split(path: str) -> tuple[str, str]:
    """Return the registry that a raw path names, in lower case, and the path without it.

    The registry is empty, and the path the same, where it names none in these two ways. Never
    raises.
    """
    if path.startswith("/v2/"):
        segment, slash, rest = path[4:].partition("/")
        if not slash or not (":" in segment or "%" in segment):
            return "", path
        host = _decoded(segment)
        return (host, f"/v2/{rest}") if ":" in host and is_host(host) else ("", path)
    segment, slash, rest = path[1:].partition("/")
    if not (slash and path.startswith("/") and (rest == "v2" or rest.startswith("v2/"))):
        return "", path
    name = _decoded(segment)
    if is_host(name) or (len(name) <= _LONGEST and _WORD.fullmatch(name) is not None):
        return name, f"/{rest}"
    return "", path


def _decoded(segment: str) -> str:
    """Return a segment in lower case with the marks of `host:port` and `[IPv6]` unescaped; what
    else is escaped stays so, and is then neither host nor word."""
    if len(segment) > _LONGEST:
        return ""
    return _ESCAPE.sub(lambda found: _MEANINGS[found[1].lower()], segment).lower()
