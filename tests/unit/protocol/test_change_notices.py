"""Notifications of registries, each in the form that its registry documents (CA-06)."""

import json
from typing import Any, Final

import pytest

from entrepot.oci.errors import ContentInvalid
from entrepot.protocol.change_notices import read_notices

DIGEST: Final = f"sha256:{'b' * 64}"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"


def envelope(action: str = "push", **target: Any) -> dict[str, Any]:
    """Return Docker Distribution's envelope with one event."""
    return {
        "events": [
            {
                "id": "320678d8",
                "timestamp": "2026-11-21T10:00:00Z",
                "action": action,
                "target": {"mediaType": MANIFEST, "digest": DIGEST, **target},
                "request": {"host": "registry.test:5000", "method": "PUT"},
                "actor": {},
                "source": {"addr": "registry:5000"},
            }
        ]
    }


HUB: Final = {
    "callback_url": "https://registry.hub.docker.com/u/acme/app/hook/1/",
    "push_data": {"pushed_at": 1, "pusher": "ann", "tag": "1.0"},
    "repository": {"name": "app", "namespace": "acme", "repo_name": "acme/app"},
}
QUAY: Final = {
    "name": "app",
    "repository": "acme/app",
    "namespace": "acme",
    "docker_url": "quay.io/acme/app",
    "homepage": "https://quay.io/repository/acme/app",
    "updated_tags": ["1.0", "latest"],
}
HARBOR: Final = {
    "type": "PUSH_ARTIFACT",
    "occur_at": 1,
    "operator": "admin",
    "event_data": {
        "resources": [{"digest": DIGEST, "tag": "1.0", "resource_url": "harbor.test/acme/app:1.0"}],
        "repository": {"name": "app", "namespace": "acme", "repo_full_name": "acme/app"},
    },
}
CLOUD: Final = {
    "specversion": "1.0",
    "type": "harbor.artifact.deleted",
    "data": HARBOR["event_data"],
}

READ: Final[dict[str, tuple[dict[str, Any], list[str]]]] = {
    "distribution, a tag is pushed": (
        envelope(repository="acme/app", tag="1.0"),
        ["registry.test:5000 acme/app 1.0"],
    ),
    "distribution, a tag is deleted": (
        envelope("delete", repository="acme/app", tag="1.0"),
        ["registry.test:5000 acme/app 1.0"],
    ),
    "distribution, a manifest is deleted": (
        envelope("delete", repository="acme/app"),
        [f"registry.test:5000 acme/app {DIGEST}"],
    ),
    "distribution, a manifest without a tag": (envelope(repository="acme/app"), []),
    "distribution, a pull": (envelope("pull", repository="acme/app", tag="1.0"), []),
    "distribution, what is no name": (envelope(repository="Acme", tag="1.0"), []),
    "distribution, nothing": ({"events": []}, []),
    "hub": (HUB, ["docker.io acme/app 1.0"]),
    "quay": (QUAY, ["quay.io acme/app 1.0", "quay.io acme/app latest"]),
    "quay, as it was": (
        QUAY | {"updated_tags": {"1.0": "an image's id"}},
        ["quay.io acme/app 1.0"],
    ),
    "harbor": (HARBOR, ["harbor.test acme/app 1.0"]),
    "harbor, a cloud event": (CLOUD, ["harbor.test acme/app 1.0"]),
    "harbor, a pull": (HARBOR | {"type": "PULL_ARTIFACT"}, []),
}


@pytest.mark.parametrize("case", READ)
def test_a_notification_tells_what_has_changed(case: str) -> None:
    document, told = READ[case]
    notices = read_notices(json.dumps(document).encode())
    assert [f"{one.host} {one.repository} {one.reference}" for one in notices] == told


def test_without_a_request_the_url_tells_the_host() -> None:
    document = envelope(
        repository="acme/app", tag="1.0", url="https://registry.test/v2/acme/app/manifests/x"
    )
    del document["events"][0]["request"]
    assert [one.host for one in read_notices(json.dumps(document).encode())] == ["registry.test"]


def test_the_same_is_told_once() -> None:
    document = {"events": envelope(repository="a", tag="1")["events"] * 3}
    assert len(read_notices(json.dumps(document).encode())) == 1


STRANGE: Final = {
    "nothing": b"",
    "no JSON": b"<html>",
    "no object": b"[1]",
    "deep": b"[" * 100_000,
    "something else": b'{"hello": "world"}',
}


@pytest.mark.parametrize("case", STRANGE)
def test_anything_else_is_refused(case: str) -> None:
    with pytest.raises(ContentInvalid, match="Docker Distribution"):
        read_notices(STRANGE[case])


TWISTED: Final = [
    '{"events": 7}',
    '{"events": [7, {"action": "push", "target": 7, "request": "x"}]}',
    '{"events": [{"action": ["push"], "target": {}}]}',
    '{"events": [{"action": "push", "target": {"url": "http://[", "tag": "1"}}]}',
    '{"push_data": 7, "repository": 7}',
    '{"updated_tags": 7, "docker_url": 7}',
    '{"updated_tags": [7, null], "docker_url": "quay.io/a"}',
    '{"type": "PUSH_ARTIFACT", "event_data": {"resources": [7], "repository": {}}}',
    '{"type": "PUSH_ARTIFACT", "event_data": 7}',
    '{"type": ["PUSH_ARTIFACT"], "event_data": {}}',
]


@pytest.mark.parametrize("number", range(len(TWISTED)))
def test_nonsense_in_it_is_passed_over(number: int) -> None:
    assert read_notices(TWISTED[number].encode()) == ()
