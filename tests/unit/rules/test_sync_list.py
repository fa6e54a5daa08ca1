"""Sync lists: ours and skopeo's, and what is wrong in either."""

import pytest
import yaml

from entrepot.oci.errors import Unsupported
from entrepot.oci.platform import Platform
from entrepot.rules.sync_list import SyncEntry, read_sync_list


def read(text: str) -> tuple[SyncEntry, ...]:
    return read_sync_list(yaml.safe_load(text))


def test_ours_names_both_ends() -> None:
    (entry,) = read("""
        sync:
          - from: docker.io/library/alpine
            to: h.example/base/alpine
            tags: ["3.19", "3.20"]
            platforms: [linux/amd64]
            referrers: true
    """)
    assert entry == SyncEntry(
        "docker.io/library/alpine",
        "h.example/base/alpine",
        "docker.io/library/alpine",
        tags=("3.19", "3.20"),
        platforms=(Platform("linux", "amd64"),),
        referrers=True,
    )


@pytest.mark.parametrize("how", ["tag-regex: ^1\\.", 'semver: "< 2"'])
def test_ours_chooses_tags(how: str) -> None:
    (entry,) = read(f"sync:\n  - from: h.example/a\n    {how}\n")
    assert entry.choose is not None
    assert (entry.choose("1.5"), entry.choose("2.5")) == (True, False)
    assert (entry.target, entry.tags) == ("", None)


def test_skopeos_is_a_map_of_registries() -> None:
    entries = read("""
        h.example:5000:
          images:
            busybox: []
            team/redis: ["1.0", "sha256:abc"]
          images-by-tag-regex:
            nginx: ^1\\.13
          images-by-semver:
            alpine: ">= 3.12"
          credentials: {username: john, password: this is a secret}
          tls-verify: false
        quay.io:
          images: {coreos/etcd: [latest]}
    """)
    assert [(one.source, one.name, one.tags) for one in entries] == [
        ("docker://h.example:5000/busybox", "busybox", None),
        ("docker://h.example:5000/team/redis", "team/redis", ("1.0", "sha256:abc")),
        ("docker://h.example:5000/nginx", "nginx", None),
        ("docker://h.example:5000/alpine", "alpine", None),
        ("docker://quay.io/coreos/etcd", "coreos/etcd", ("latest",)),
    ]
    assert entries[0].choose is None
    assert entries[2].choose is not None
    assert entries[2].choose("1.13.1")
    assert entries[3].choose is not None
    assert not entries[3].choose("3.11")
    assert {(one.username, one.password, one.tls_verify) for one in entries[:4]} == {
        ("john", "this is a secret", False)
    }
    assert (entries[4].username, entries[4].tls_verify) == ("", None)
    assert "secret" not in repr(entries)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "no map"),
        ("[]", "no map"),
        ("sync: [{to: a}]", r"sync\[0\].from must be text"),
        ("sync: [{from: a, tag: b}]", r"sync\[0\].tag is unknown; there are from, platforms"),
        ("sync: [{from: a, tags: b}]", r"sync\[0\].tags must be a list"),
        ("sync: [{from: a, tags: [1.0]}]", r"sync\[0\].tags\[0\] must be text; put it in quotes"),
        ("sync: [{from: a, tags: [], semver: b}]", "has tags and semver"),
        ("sync: [{from: a, semver: newest}]", "no version constraint"),
        ("sync: [{from: a, tag-regex: '['}]", "no regular expression"),
        ("sync: [{from: a, platforms: [arm]}]", "not a platform"),
        ("sync: [{from: a, referrers: 1}]", "must be true or false"),
        ("sync: []\nh.example: {}", "h.example stands beside sync"),
        ("h.example: [a]", "h.example must be a map"),
        ("h.example: {image: {}}", "h.example.image is unknown"),
        ("h.example: {images: {a: b}}", "h.example.images.a must be a list"),
        ("h.example: {credentials: {user: a}}", "credentials.user is unknown"),
        ("h.example: {tls-verify: 'no!'}", "tls-verify must be true or false"),
        ("h.example: {cert-dir: /etc}", "cert-dir is not understood"),
    ],
)
def test_what_is_wrong_is_named(text: str, where: str) -> None:
    with pytest.raises(Unsupported, match=where):
        read(text)
