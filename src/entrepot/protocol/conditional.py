"""Conditional requests: entity tags and If-None-Match, which compares them.

An entity tag here is the content's digest in quotes.
Source: RFC 9110, sections 8.8.3 and 13.1.2.
"""

import re
from typing import Final

from entrepot.oci.digest import Digest

# The last form is no entity tag: docker and containerd send the digest without quotes.
_MEMBER: Final = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"|([^\s",]+)')


def etag(digest: Digest) -> str:
    """Return the entity tag of content."""
    return f'"{digest}"'


def if_none_match(field: str | None, current: Digest | None) -> bool:
    """Say whether the request goes on: the client does not have `current` yet.

    `current` is None where nothing exists; `*` names whatever exists. Compared weakly.
    Otherwise GET and HEAD answer 304, other methods 412.
    """
    return field is None or current is None or not _names(field, current)


def _names(field: str, current: Digest) -> bool:
    """Say whether a list of entity tags (or `*`) names the digest; members that are no
    entity tag name nothing."""
    if field.strip() == "*":
        return True
    return any(str(current) in (match[1], match[2]) for match in _MEMBER.finditer(field))
