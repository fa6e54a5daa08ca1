"""Requests that are nearly right: each part is what it should be, or something else."""

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from hypothesis import settings
from hypothesis import strategies as st

from tests.property import strategies as proper

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))
"""How many requests a test tries; more of them find more."""

fuzz = settings(max_examples=EXAMPLES, deadline=None)

NAMES = ("library/one", "a", "blobs/uploads", "deep/er/and/deeper/manifests/tags")
"""Repositories that requests meet again, so that there is something in them."""

KNOWN = [b"", b"{}", b"known content", bytes(5000)]
DIGESTS = [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in KNOWN]
DIGESTS += [f"sha512:{hashlib.sha512(content).hexdigest()}" for content in KNOWN]

junk = st.one_of(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF), max_size=30),
    st.text(st.characters(codec="utf-8"), max_size=10).map(quote),
    st.sampled_from(
        [
            "", ".", "..", "../..", "%2e%2e", "%2F", "%00", "%", "%zz", "%ff", "\\", "..\\", "~",
            "*", "latest", "uploads", "-", "_", "A", "a" * 300, "a/" * 200, "sha256:", "sha256:xyz",
            "sha256:" + "0" * 63, "sha256:" + "0" * 65, "sha256:" + "A" * 64, "md5:" + "0" * 32,
            "sha256:../../../../etc/passwd", "/etc/passwd", "metadata.db", "con", "\x7f",
            "sha256%3A" + "0" * 64, "sha256:" + "%30" * 64, "\u2060", "\u0663",
        ]
    ),
)  # fmt: skip
names = st.sampled_from(NAMES) | proper.names.map(str) | junk
digests = st.sampled_from(DIGESTS) | proper.digests().map(str) | junk
tags = st.sampled_from(["latest", "v1", "V1", "_"]) | proper.tags.map(str) | junk
sessions = proper.sessions | junk
numbers = st.one_of(
    st.integers(-3, 2**70).map(str),
    st.sampled_from(
        ["", "1e3", "0x10", " 1", "+1", "-0", "\u0967", "9" * 400, "nan", "1.5", "1_0"]
    ),
)

paths = st.one_of(
    st.sampled_from(["/v2", "/v2/", "/v2/_catalog", "/metrics", "/readyz", "/", "/v3/", "/v2//"]),
    st.builds("/v2/{}/tags/list".format, names),
    st.builds("/v2/{}/manifests/{}".format, names, tags | digests),
    st.builds("/v2/{}/blobs/{}".format, names, digests),
    st.builds("/v2/{}/blobs/uploads/".format, names),
    st.builds("/v2/{}/blobs/uploads/{}".format, names, sessions),
    st.builds("/v2/{}/referrers/{}".format, names, digests),
    st.lists(junk | names, max_size=6).map(lambda parts: "/v2/" + "/".join(parts)),
    junk.map("/{}".format),
)

_parameters = st.one_of(
    st.tuples(st.just("n"), numbers),
    st.tuples(st.just("last"), tags | digests | names),
    st.tuples(st.sampled_from(["digest", "mount"]), digests),
    st.tuples(st.just("from"), names),
    st.tuples(st.just("tag"), tags),
    st.tuples(st.just("artifactType"), junk),
    st.tuples(st.just("digest-algorithm"), st.sampled_from(["sha256", "sha512", "md5", "blake3"])),
    st.tuples(st.sampled_from(["ns", "state", "_state"]), junk),
    st.tuples(junk, junk),
)
queries = st.one_of(
    st.just(""),
    st.lists(_parameters, min_size=1, max_size=4).map(
        lambda items: "?" + "&".join(f"{key}={value}" for key, value in items)
    ),
    st.lists(_parameters, min_size=1, max_size=4).map(
        lambda items: "?" + "&".join(f"{quote(key)}={quote(value)}" for key, value in items)
    ),
    junk.map("?{}".format),
)

_values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"))
_ranges = st.lists(
    st.builds("{}-{}".format, numbers | st.just(""), numbers | st.just("")), min_size=1, max_size=40
).map(lambda parts: "bytes=" + ",".join(parts))
_media_types = st.sampled_from(
    [
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
        "application/json",
        "application/octet-stream",
        "",
    ]
)
_OTHER_HEADERS = (
    "Authorization", "Cookie", "User-Agent", "Referer", "Accept-Encoding", "Te", "Origin",
    "X-Forwarded-For", "X-Forwarded-Proto", "X-Request-Id", "X-HTTP-Method-Override",
    "OCI-Subject", "OCI-Tag", "Docker-Content-Digest",
)  # fmt: skip
headers = st.lists(
    st.one_of(
        st.tuples(st.just("Range"), _ranges | _values),
        st.tuples(
            st.just("Content-Range"),
            st.builds("{}-{}".format, numbers, numbers)
            | st.builds("bytes {}-{}/{}".format, numbers, numbers, numbers)
            | _values,
        ),
        st.tuples(st.sampled_from(["Content-Type", "Accept"]), _media_types | _values),
        st.tuples(
            st.sampled_from(["If-None-Match", "If-Range", "If-Match"]),
            st.sampled_from(DIGESTS).map('"{}"'.format) | st.sampled_from(["*", 'W/"x"']) | _values,
        ),
        st.tuples(st.sampled_from(_OTHER_HEADERS), _values),
    ),
    max_size=4,
)

methods = st.one_of(
    st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]),
    st.sampled_from(["OPTIONS", "TRACE", "CONNECT", "PROPFIND", "PURGE", "SEARCH", "M-SEARCH"]),
)

# ── manifests ────────────────────────────────────────────────────────────────────────────────

_deep = st.integers(1, 20_000).map(lambda depth: b"[" * depth + b"]" * depth)
_strange_json = st.sampled_from(
    [
        b"null", b"[]", b"{}", b'""', b"0", b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"{",
        b"\xef\xbb\xbf{}", b'{"schemaVersion":2,"schemaVersion":1}', b'{"a":"\\ud800"}',
        "{}".encode("utf-16"), b"\xff\xfe", b'{"schemaVersion":1e400}', b"\x00{}", b'{"layers":0}',
        b'{"config":{"digest":"sha256:' + b"0" * 64 + b'","size":1e19,"mediaType":"a/b"}}',
    ]
)  # fmt: skip


@st.composite
def _nearly(draw: st.DrawFn) -> bytes:
    """A proper manifest or index with one value somewhere in it replaced or taken away."""
    document: Any = draw(proper.manifests() | proper.indexes())
    place: Any = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        if draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(proper.json_values)
        break
    return json.dumps(document).encode()


@st.composite
def _storable(draw: st.DrawFn) -> bytes:
    """A manifest whose blobs are `KNOWN`, or an index, with whatever else it may have."""
    document = draw(proper.manifests() | proper.indexes())
    blobs = [
        {"mediaType": "application/octet-stream", "digest": digest, "size": len(content)}
        for digest, content in zip(DIGESTS, [*KNOWN, *KNOWN], strict=True)
    ]
    if "config" in document:
        document["config"] = draw(st.sampled_from(blobs))
        document["layers"] = draw(st.lists(st.sampled_from(blobs), max_size=4))
    return json.dumps(document).encode()


manifests = st.one_of(
    _storable(),
    (proper.manifests() | proper.indexes()).map(lambda document: json.dumps(document).encode()),
    _nearly(),
    _strange_json,
    _deep,
    st.binary(max_size=300),
)
bodies = st.one_of(
    st.none(),
    st.sampled_from(KNOWN),
    st.binary(max_size=200),
    st.lists(st.binary(max_size=50), max_size=4),
    manifests,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request; text stands for bytes, as in HTTP, and is no larger than one."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes | list[bytes] | None

    @classmethod
    def make(
        cls,
        method: str,
        target: str,
        headers: list[tuple[str, str]],
        body: bytes | list[bytes] | None,
    ) -> "Asked":
        """Return a request whose text, where it is more than Latin-1, was sent as UTF-8."""
        fields = [(name, _as_bytes(value)) for name, value in headers]
        return cls(method, _as_bytes(target), fields, body)


def _as_bytes(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8").decode("latin-1")


requests = st.builds(
    Asked.make,
    methods,
    st.builds("{}{}".format, paths, queries),
    headers,
    bodies,
)
pushes = st.builds(
    Asked.make,
    st.just("PUT"),
    st.builds("/v2/{}/manifests/{}{}".format, st.sampled_from(NAMES), tags | digests, queries),
    st.lists(st.tuples(st.just("Content-Type"), _media_types), max_size=2),
    manifests,
)
"""Manifest pushes: most of what a request's body can do wrong."""

proper_pushes = st.builds(
    Asked.make,
    st.just("PUT"),
    st.builds("/v2/{}/manifests/{}".format, st.sampled_from(NAMES), proper.tags),
    st.just([]),
    _storable(),
)
"""Manifest pushes that should be taken, but for contradictions in a drawn media type."""
