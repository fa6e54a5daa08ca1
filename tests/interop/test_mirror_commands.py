"""The lines that the page prints for an image do what they say, pasted into a shell.

nerdctl is packaged by no distribution at hand; its lines are compared with podman's words only in
tests/unit/services/test_pull_commands.py.
"""

import json
from urllib.parse import urlencode

import pytest

from tests.interop.clients import require_root
from tests.interop.images import HERE
from tests.interop.layouts import Layers
from tests.interop.mirror_clients import started_daemon
from tests.interop.mirrored_registries import HUB, NAME, QUAY, TAG, Registries
from tests.interop.sandbox import Sandbox

pytestmark = pytest.mark.slow

IMAGES = {
    "as people write it": ("alpine:3", HUB),
    "with its registry": (f"{QUAY}/{NAME}:{TAG}", QUAY),
    "by tag and digest": (f"{QUAY}/{NAME}:{TAG}@{{digest}}", QUAY),
}


def printed_lines(registries: Registries, image: str, client: str) -> str:
    """Return what `/_/commands` prints for an image."""
    with registries.mirror.client() as http:
        query = urlencode({"image": image, "client": client})
        answer = http.request("GET", f"/_/commands?{query}")
    assert answer.status == 200, str(answer)
    return answer.body.decode()


CLIENTS = [
    pytest.param("docker", marks=pytest.mark.real("docker", "dockerd")),
    pytest.param("podman", marks=pytest.mark.real("podman")),
]


@pytest.mark.parametrize("case", IMAGES)
@pytest.mark.parametrize("client", CLIENTS)
def test_pull_tag_and_rmi(sandbox: Sandbox, client: str, case: str) -> None:
    """UX-03: the three lines, run as they stand; then once more with the registries stopped."""
    require_root(client)
    image, registry = IMAGES[case]
    with Registries(sandbox.folder / "mirror") as registries:
        image = image.format(digest=registries.images[registry].digest)
        lines = printed_lines(registries, image, client)
        assert [line.split()[:2] for line in lines.splitlines()] == [
            [client, "pull"],
            [client, "tag"],
            [client, "rmi"],
        ]
        daemon = started_daemon(sandbox) if client == "docker" else None
        try:
            for _ in range(2):
                sandbox.run("sh", "-euc", lines)
                wanted = image.partition("@")[0]
                assert layers(sandbox, client, wanted) == registries.layers(registry)
                listed = sandbox.run(client, "images", "--format={{.Repository}}:{{.Tag}}")
                assert [one.removeprefix(f"{HUB}/library/") for one in listed.split()] == [wanted]
                sandbox.run(client, "rmi", "--force", wanted)
                registries.stop()
        finally:
            if daemon is not None:
                daemon.stop()


@pytest.mark.parametrize("client", CLIENTS)
def test_why_an_image_cannot_be_had_is_shown(sandbox: Sandbox, client: str) -> None:
    """PX-01: it is not only said that there was an error, which is all that a status says."""
    require_root(client)
    registries = Registries(sandbox.folder / "mirror")  # its context would allow no 5xx
    daemon = None
    try:
        registries.stop()
        pull = printed_lines(registries, f"{QUAY}/{NAME}:{TAG}", client).splitlines()[0]
        daemon = started_daemon(sandbox) if client == "docker" else None
        told = sandbox.fails("sh", "-euc", pull)
    finally:
        if daemon is not None:
            daemon.stop()
        registries.mirror.kill()
    assert f"Bad Gateway: {registries.registries[QUAY].host} cannot be reached" in told


def layers(sandbox: Sandbox, client: str, image: str) -> Layers:
    """Return the layers of an image by the name that people use."""
    (told,) = json.loads(sandbox.run(client, "image", "inspect", image))
    assert told["Architecture"] == HERE
    return tuple(told["RootFS"]["Layers"])
