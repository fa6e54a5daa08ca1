"""A whole Debian, made by debootstrap and umoci, goes from each client to another, and runs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop import debian
from tests.interop.clients import NAMES, Client, require_root
from tests.interop.containers import run_with_podman
from tests.interop.images import TAG
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.interop.servers import stop
from tests.server import RunningServer

pytestmark = [pytest.mark.slow, pytest.mark.real("debootstrap", "umoci")]

NEXT = dict(zip(NAMES, NAMES[1:] + NAMES[:1], strict=True))
"""Who pulls what a client has pushed."""


@pytest.fixture(scope="module")
def minbase(new_folder: Callable[[str], Path], new_sandbox: Callable[[], Sandbox]) -> Layout:
    """The layout of an image with Debian's minimal system in one layer."""
    require_root("debootstrap")
    rootfs = new_folder("debian") / "rootfs"
    debian.bootstrap(rootfs)
    sandbox = new_sandbox()
    image = f"--image=minbase:{TAG}"
    sandbox.run("umoci", "init", "--layout=minbase")
    sandbox.run("umoci", "new", image)
    sandbox.run("umoci", "insert", image, rootfs, "/", seconds=120)
    sandbox.run("umoci", "config", image, "--config.cmd=/bin/bash")
    return Layout(sandbox.folder / "minbase")


@pytest.fixture
def empty_server(new_folder: Callable[[str], Path]) -> Iterator[RunningServer]:
    """A server with two workers to which nothing was pushed yet."""
    server = RunningServer(new_folder("server"), workers=2)
    yield server
    stop(server)


@pytest.mark.parametrize("pusher", NAMES)
def test_goes_from_each_client_to_another(
    minbase: Layout, empty_server: RunningServer, new_client: Callable[[str], Client], pusher: str
) -> None:
    reference = f"{empty_server.host}/debian:{TAG}"
    image = new_client(pusher).push(minbase, reference)
    assert new_client(NEXT[pusher]).pull(reference) == image
    original = minbase.image(minbase.find())
    assert (image.config, image.diff_ids) == (original.config, original.diff_ids)


@pytest.mark.real("podman", "skopeo")
def test_runs(
    minbase: Layout, repository: str, sandbox: Sandbox, new_client: Callable[[str], Client]
) -> None:
    new_client("skopeo").push(minbase, f"{repository}:{TAG}")
    sandbox.run("podman", "pull", "--tls-verify=false", f"{repository}:{TAG}")
    told = run_with_podman(sandbox, f"{repository}:{TAG}", "dpkg-query", "--show", "base-files")
    assert told.startswith("base-files\t")
