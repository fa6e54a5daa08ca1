"""Names: repositories, tags, and references as people write them.

Source: distribution-spec, "Pulling manifests" (`<name>` and `<reference>`); the reference
grammar with a host is the one docker, podman and containerd share.
"""

import re
from dataclasses import dataclass
from typing import Final

from entrepot.oci.digest import Digest
from entrepot.oci.errors import NameInvalid, TagInvalid

MAX_NAME_LENGTH: Final = 255
"""Longest repository name in characters; clients count the host in, we do not."""

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)
_HOST: Final = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])"
    r"(?::[0-9]{1,5})?",
    re.ASCII,
)


_MAX_PORT: Final = 65535


class RepositoryName(str):
    """A repository name that satisfies the grammar, e.g. `library/busybox`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "RepositoryName":
        """Check `text`. Raise NameInvalid if it is not a repository name."""
        if len(text) > MAX_NAME_LENGTH or _NAME.fullmatch(text) is None:
            shown = text if len(text) <= MAX_NAME_LENGTH else text[:MAX_NAME_LENGTH] + "…"
            raise NameInvalid(
                f"{shown!r} is not a repository name; use lower-case letters, digits and the "
                f"separators . _ - between them, in parts joined by /, at most "
                f"{MAX_NAME_LENGTH} characters",
                detail={"name": shown},
            )
        return cls(text)


class Tag(str):
    """A tag that satisfies the grammar: 1 to 128 of letters, digits, `_`, `.` and `-`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "Tag":
        """Check `text`. Raise TagInvalid if it is not a tag."""
        if _TAG.fullmatch(text) is None:
            shown = text if len(text) <= 160 else text[:160] + "…"
            raise TagInvalid(
                f"{shown!r} is not a tag; use a letter, digit or _ followed by at most 127 "
                "letters, digits, _, . or -",
                detail={"tag": shown},
            )
        return cls(text)


@dataclass(frozen=True, slots=True)
class Reference:
    """`[host/]repository[:tag][@digest]` taken apart; nothing is filled in by guessing."""

    host: str | None
    repository: RepositoryName
    tag: Tag | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Read a reference. The first part is a host if it has `.` or `:`, or is `localhost`.

        Raise NameInvalid, TagInvalid or DigestInvalid naming the part that is wrong.
        """
        rest, at, digest_text = text.partition("@")
        digest = Digest.parse(digest_text) if at else None
        first, slash, remainder = rest.partition("/")
        host = None
        if slash and looks_like_host(first):
            if _HOST.fullmatch(first) is None or not _has_possible_port(first):
                raise NameInvalid(
                    f"{first[:255]!r} is not a host; write host or host:port, with a port up to "
                    f"{_MAX_PORT}",
                    detail={"host": first[:255]},
                )
            host, rest = first, remainder
        name, colon, tag_text = rest.partition(":")
        tag = Tag.parse(tag_text) if colon else None
        return cls(host, RepositoryName.parse(name), tag, digest)

    def __str__(self) -> str:
        host = f"{self.host}/" if self.host else ""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{host}{self.repository}{tag}{digest}"


def looks_like_host(segment: str) -> bool:
    """Say whether the first part of a name is taken for a host: it has `.` or `:`, or is
    `localhost`. Whether it is one, `is_host` tells."""
    return "." in segment or ":" in segment or segment == "localhost"


def is_host(text: str) -> bool:
    """Say whether a text is a host or `host:port`, of the same grammar as in references."""
    if len(text) > MAX_NAME_LENGTH or _HOST.fullmatch(text) is None:
        return False
    return _has_possible_port(text)


def _has_possible_port(host: str) -> bool:
    _, colon, port = host.rpartition("]")[2].partition(":")
    return not colon or int(port) <= _MAX_PORT
