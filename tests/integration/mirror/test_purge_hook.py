"""`POST /_/purge`: an upstream tells of a change, and the next pull asks it (CA-06)."""

import json
from typing import Any, Final

from entrepot.protocol.challenges import render_basic
from entrepot.testing import MockRegistry
from tests.http_client import Response
from tests.integration.mirror.conftest import StartMirror
from tests.mirrors import UPSTREAM, RunningMirror, upstream_table

ENVELOPE: Final = "application/vnd.docker.distribution.events.v1+json"
HOOK: Final = "\n[proxy]\npurge_hook = true\n"
NEVER: Final = {"freshness": '"never"'}


def pushed(name: str, tag: str, host: str = UPSTREAM) -> bytes:
    """Return what a registry sends when a tag was pushed to it."""
    target = {"repository": name, "tag": tag, "digest": f"sha256:{'a' * 64}"}
    return json.dumps(
        {"events": [{"action": "push", "target": target, "request": {"host": host}}]}
    ).encode()


def tell(
    mirror: RunningMirror, body: bytes, query: str = "", method: str = "POST", login: str = ""
) -> Response:
    """Send a notification."""
    headers = {"Content-Type": ENVELOPE} | ({"Authorization": login} if login else {})
    with mirror.client() as client:
        return client.request(method, f"/_/purge{query}", body, headers)


def error(response: Response) -> dict[str, Any]:
    """Return the error in an answer."""
    found: dict[str, Any] = response.json()["errors"][0]
    return found


def test_a_pushed_tag_is_asked_for_once(start_mirror: StartMirror, registry: MockRegistry) -> None:
    """CA-06: even where tags are never asked for again."""
    registry.add_image("team/app", "1", seed="old")
    mirror = start_mirror(registry, cache=NEVER, more=HOOK, workers=2)
    mirror.pull("team/app", "1")
    new = registry.add_image("team/app", "1", seed="new")
    registry.clear_requests()
    mirror.pull("team/app", "1")
    assert not registry.requests
    answer = tell(mirror, pushed("team/app", "1"))
    assert answer.status == 200
    assert answer.json() == {
        "forgotten": [{"repository": f"{UPSTREAM}/team/app", "reference": "1", "names": 1}]
    }
    assert mirror.manifest("team/app", "1").body == new.manifest
    assert mirror.manifest("team/app", "1").body == new.manifest
    assert [(one.method, one.path) for one in registry.requests] == [
        ("GET", "/v2/team/app/manifests/1")
    ]


def test_a_tag_that_was_absent_is_there_at_once(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    """CA-06: what is remembered as absent is forgotten, too."""
    mirror = start_mirror(registry, cache={"negative_ttl": '"1h"'}, more=HOOK)
    assert mirror.manifest("team/app", "1").status == 404
    registry.add_image("team/app", "1")
    assert mirror.manifest("team/app", "1").status == 404
    tell(mirror, pushed("team/app", "1"))
    assert mirror.manifest("team/app", "1").status == 200


def test_a_registry_by_another_name_is_named_in_the_query(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    registry.add_image("team/app", "1")
    mirror = start_mirror(registry, more=HOOK)
    mirror.pull("team/app", "1")
    body = pushed("team/app", "1", registry.host)
    refused = tell(mirror, body)
    assert (refused.status, error(refused)["code"]) == (404, "NAME_UNKNOWN")
    assert "?upstream=NAME" in error(refused)["message"]
    assert tell(mirror, body, f"?upstream={UPSTREAM}").json()["forgotten"][0]["names"] == 1


def test_images_of_hub_are_called_as_hub_calls_them(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    registry.add_image("library/alpine", "3")
    more = upstream_table(registry, name="docker.io")
    mirror = start_mirror(cache=NEVER, more=HOOK + more)
    mirror.pull("alpine", "3", upstream="docker.io")
    body = json.dumps({"push_data": {"tag": "3"}, "repository": {"repo_name": "library/alpine"}})
    (forgotten,) = tell(mirror, body.encode()).json()["forgotten"]
    assert forgotten == {"repository": "docker.io/library/alpine", "reference": "3", "names": 1}


def test_it_needs_the_login_where_there_is_one(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    registry.add_image("team/app", "1")
    access = '\n[access]\nusername = "ann"\npassword = "secret"\nprivate = ["apps/*"]\n'
    mirror = start_mirror(registry, more=HOOK + access)
    mirror.pull("team/app", "1")
    body = pushed("team/app", "1")
    assert tell(mirror, body).status == 401
    assert tell(mirror, body, login=render_basic("ann", "wrong")).status == 401
    answer = tell(mirror, body, login=render_basic("ann", "secret"))
    assert answer.json()["forgotten"][0]["names"] == 1


def test_it_is_off_unless_it_is_set(start_mirror: StartMirror, registry: MockRegistry) -> None:
    mirror = start_mirror(registry)
    assert tell(mirror, pushed("team/app", "1")).status == 404


def test_anything_else_is_refused(start_mirror: StartMirror, registry: MockRegistry) -> None:
    mirror = start_mirror(registry, more=HOOK)
    got = tell(mirror, b"", method="GET")
    assert (got.status, got.header("Allow")) == (405, "POST")
    assert tell(mirror, b"hello").status == 400
    assert tell(mirror, b" " * (2 << 20)).status == 400
    assert tell(mirror, b'{"events": []}').json() == {"forgotten": []}
