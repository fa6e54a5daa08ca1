"""Values as the specifications allow them, and text as they do not."""

import base64
import string

from hypothesis import strategies as st

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import HEX_LENGTH, Digest
from entrepot.oci.platform import Platform
from entrepot.oci.reference import RepositoryName, Tag

_ALPHANUMERIC = string.ascii_lowercase + string.digits
_WORDS = st.one_of(
    st.sampled_from(["blobs", "uploads", "manifests", "tags", "list", "referrers", "v2", "a"]),
    st.text(_ALPHANUMERIC, min_size=1, max_size=8),
)


@st.composite
def _components(draw: st.DrawFn) -> str:
    words = draw(st.lists(_WORDS, min_size=1, max_size=3))
    text = words[0]
    for word in words[1:]:
        text += draw(st.sampled_from([".", "_", "__", "-", "---"])) + word
    return text


names = st.lists(_components(), min_size=1, max_size=6).map("/".join).map(RepositoryName.parse)
tags = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", fullmatch=True).map(Tag.parse)
sessions = st.text(_ALPHANUMERIC + string.ascii_uppercase + "_-", min_size=1, max_size=64)


@st.composite
def digests(draw: st.DrawFn) -> Digest:
    """A digest of any supported algorithm."""
    algorithm = draw(st.sampled_from(sorted(HEX_LENGTH)))
    content = draw(st.binary(max_size=8))
    return Digest.of(content, algorithm)


# Text that can be stored, and text that JSON or a decoded URL can hold besides.
text = st.text(st.characters(codec="utf-8"), max_size=20)
any_text = st.text(st.characters(), max_size=40)  # with lone surrogates
annotations = st.dictionaries(text, text, max_size=3)
acceptable_media_types = st.one_of(
    st.sampled_from(
        [
            media_types.OCI_MANIFEST,
            media_types.OCI_INDEX,
            media_types.OCI_LAYER_GZIP,
            media_types.OCI_NONDISTRIBUTABLE_LAYER,
            media_types.DOCKER_FOREIGN_LAYER_GZIP,
            media_types.DOCKER_SCHEMA1_SIGNED,
        ]
    ),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255),
)
platforms = st.builds(
    Platform,
    os=text,
    architecture=text,
    variant=text,
    os_version=text,
    os_features=st.lists(text, max_size=2).map(tuple),
)


@st.composite
def descriptors(
    draw: st.DrawFn, media_type: st.SearchStrategy[str] = acceptable_media_types
) -> Descriptor:
    """A descriptor, sometimes with its content embedded."""
    content = draw(st.binary(max_size=8))
    return Descriptor(
        media_type=draw(media_type),
        digest=Digest.of(content, draw(st.sampled_from(sorted(HEX_LENGTH)))),
        size=len(content),
        annotations=draw(annotations),
        artifact_type=draw(st.none() | acceptable_media_types),
        platform=draw(st.none() | platforms),
        urls=tuple(draw(st.lists(text, max_size=2))),
        data=content if content and draw(st.booleans()) else None,
    )


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text
    | st.just(base64.b64encode(b"x").decode()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def manifests(draw: st.DrawFn) -> dict[str, object]:
    """The JSON of an image manifest."""
    document: dict[str, object] = {
        "schemaVersion": 2,
        "config": draw(descriptors()).to_json(),
        "layers": [layer.to_json() for layer in draw(st.lists(descriptors(), max_size=3))],
    }
    own = st.sampled_from([media_types.OCI_MANIFEST, media_types.DOCKER_MANIFEST])
    return document | draw(_shared(own))


@st.composite
def indexes(draw: st.DrawFn) -> dict[str, object]:
    """The JSON of an image index."""
    document: dict[str, object] = {
        "schemaVersion": 2,
        "manifests": [child.to_json() for child in draw(st.lists(descriptors(), max_size=3))],
    }
    own = st.sampled_from([media_types.OCI_INDEX, media_types.DOCKER_MANIFEST_LIST])
    return document | draw(_shared(own))


def _shared(own: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "mediaType": own,
            "annotations": annotations,
            "artifactType": acceptable_media_types,
            "subject": descriptors().map(Descriptor.to_json),
            "org.example.custom": json_values,
        },
    )
