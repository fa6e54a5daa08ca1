"""Tag parameters: `PUT /v2/<name>/manifests/<digest>?tag=a&tag=b` sets tags with the push.

Source: distribution-spec, "Pushing Manifests" (end-7b): at least 10 must be accepted, more
than a registry's limit is answered 414, and every tag that was set is confirmed in an
`OCI-Tag` header of its own.
"""

from collections.abc import Iterable
from typing import Final

from entrepot.oci.errors import TooManyTags
from entrepot.oci.reference import Tag

MAX_TAGS: Final = 64
"""Most `tag` parameters in one push, repeated ones counted."""


def parse_tags(parameters: Iterable[tuple[str, str]]) -> tuple[Tag, ...]:
    """Read the tags from decoded query parameters, each once and in order.

    Raise TagInvalid for one that is no tag, TooManyTags above MAX_TAGS.
    """
    texts = [value for key, value in parameters if key == "tag"]
    if len(texts) > MAX_TAGS:
        raise TooManyTags(
            f"the push names {len(texts)} tags, and one may set {MAX_TAGS}; push the manifest "
            "again with the rest",
            detail={"tags": len(texts), "limit": MAX_TAGS},
        )
    return tuple(dict.fromkeys(Tag.parse(text) for text in texts))
