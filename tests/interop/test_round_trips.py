"""What one client pushes, every client pulls: the same manifest, config and layers."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.interop import images
from tests.interop.clients import LAYOUT_CLIENTS, NAMES, STORAGE_CLIENTS, Client, LayoutClient
from tests.interop.images import TAG
from tests.interop.layouts import Image, Layout
from tests.interop.servers import stop
from tests.server import RunningServer

pytestmark = pytest.mark.real

Pushed = tuple[str, Image]

_UPLOADED: Final = re.compile(
    r'"method": ?"PUT", ?"target": ?"[^"]*/blobs/uploads/[^"]*", ?"status": ?201'
)


@pytest.fixture(scope="module", params=NAMES)
def pushed(
    request: pytest.FixtureRequest,
    busybox: Layout,
    new_client: Callable[[str], Client],
    new_folder: Callable[[str], Path],
) -> Iterator[Pushed]:
    """The image as one client has pushed it to an empty registry, and its reference there."""
    client = new_client(request.param)
    server = RunningServer(new_folder("server"), workers=2)
    reference = f"{server.host}/tests/round-trip:{TAG}"
    yield reference, client.push(busybox, reference)
    stop(server)
    # The config and two layers came from the client: nothing was there to be mounted.
    assert len(_UPLOADED.findall(server.log())) == 3


@pytest.mark.parametrize("puller", NAMES)
def test_pulls_what_was_pushed(
    pushed: Pushed, puller: str, new_client: Callable[[str], Client]
) -> None:
    reference, image = pushed
    assert new_client(puller).pull(reference) == image


def test_config_and_unpacked_layers_are_the_originals(pushed: Pushed, busybox: Layout) -> None:
    _, image = pushed
    original = busybox.image(busybox.find())
    assert (image.config, image.diff_ids) == (original.config, original.diff_ids)


@pytest.mark.parametrize("puller", LAYOUT_CLIENTS)
@pytest.mark.parametrize("pusher", LAYOUT_CLIENTS)
def test_index_travels_with_all_its_platforms(
    pusher: str,
    puller: str,
    multi_platform: Layout,
    repository: str,
    new_client: Callable[[str], Client],
) -> None:
    uploader, downloader = new_client(pusher), new_client(puller)
    assert isinstance(uploader, LayoutClient)
    assert isinstance(downloader, LayoutClient)
    uploader.upload(multi_platform, f"{repository}:{TAG}")
    pulled = downloader.download(f"{repository}:{TAG}", "pulled")
    index = multi_platform.find()
    assert pulled.find()["digest"] == index["digest"]
    assert pulled.contents(pulled.find()) == multi_platform.contents(index)


@pytest.mark.parametrize("puller", STORAGE_CLIENTS)
def test_index_gives_each_machine_its_own_image(
    puller: str,
    multi_platform: Layout,
    repository: str,
    new_client: Callable[[str], Client],
) -> None:
    uploader = new_client("skopeo")
    assert isinstance(uploader, LayoutClient)
    uploader.upload(multi_platform, f"{repository}:{TAG}")
    pulled = new_client(puller).pull(f"{repository}:{TAG}")
    children = multi_platform.document(multi_platform.find())["manifests"]
    (here,) = (one for one in children if one["platform"]["architecture"] == images.HERE)
    expected = multi_platform.image(here)
    assert (pulled.config, pulled.diff_ids) == (expected.config, expected.diff_ids)
