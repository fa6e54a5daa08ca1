"""`store:` is the data directory of a server: what one of them takes, the other gives."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.clients import Skopeo
from tests.interop.ends import SBOM
from tests.interop.images import TAG
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.interop.servers import stop
from tests.server import RunningServer

pytestmark = [pytest.mark.slow, pytest.mark.real("skopeo", "crane", "busybox")]


@pytest.fixture(scope="module")
def own(new_folder: Callable[[str], Path]) -> Iterator[RunningServer]:
    """A server with two workers that nobody else uses."""
    server = RunningServer(new_folder("own"), workers=2)
    yield server
    stop(server)


def test_what_was_stored_before_a_server_starts_is_served(
    sandbox: Sandbox, multi_platform: Layout
) -> None:
    data = sandbox.folder / "data"
    (sandbox.folder / "sbom.json").write_text("{}")
    image = f"store:{data}:inside/hello:{TAG}"
    sandbox.run("entrepot", "push", multi_platform.path, image)
    sandbox.run("entrepot", "attach", "--quiet", f"--artifact-type={SBOM}", image, "sbom.json:a/b")
    sandbox.run("entrepot", "tag", image, "2.0")
    server = RunningServer(sandbox.folder / "server", data=data)
    name = f"{server.host}/inside/hello"
    pulled = Skopeo(sandbox).download(f"{name}:{TAG}", "pulled")
    assert pulled.contents(pulled.find()) == multi_platform.contents(multi_platform.find())
    assert sandbox.run("crane", "ls", name).split() == [TAG, "2.0"]
    assert sandbox.run("crane", "catalog", server.host).split() == ["inside/hello"]
    told = json.loads(sandbox.run("entrepot", "referrers", "--output=json", f"{name}:{TAG}"))
    assert len(told["referrers"]) == 1
    stop(server)


def test_what_a_server_took_is_read_while_it_runs(
    sandbox: Sandbox, own: RunningServer, multi_platform: Layout
) -> None:
    Skopeo(sandbox).upload(multi_platform, f"{own.host}/taken/hello:{TAG}")
    store = f"store:{own.data}:taken/hello"
    assert sandbox.run("entrepot", "tags", store).split() == [TAG]
    sandbox.run("entrepot", "pull", f"{store}:{TAG}", f"oci:read:{TAG}")
    read = Layout(sandbox.folder / "read")
    assert read.contents(read.find()) == multi_platform.contents(multi_platform.find())


def test_a_running_server_gives_what_is_stored_beside_it(
    sandbox: Sandbox, own: RunningServer, busybox: Layout
) -> None:
    name = f"{own.host}/beside/hello"
    assert sandbox.attempt("entrepot", "digest", f"{name}:{TAG}").returncode == 2
    sandbox.run("entrepot", "push", busybox.path, f"store:{own.data}:beside/hello:{TAG}")
    pulled = Skopeo(sandbox).download(f"{name}:{TAG}", "pulled")
    assert pulled.image(pulled.find()) == busybox.image(busybox.find())


def test_a_store_keeps_each_blob_once(sandbox: Sandbox, busybox: Layout) -> None:
    """However many repositories list it, and wherever it came from."""
    for name in ("one", "two"):
        sandbox.run("entrepot", "push", busybox.path, f"store:./data:{name}:{TAG}")
    sandbox.run("entrepot", "cp", f"store:./data:one:{TAG}", f"store:./data:three:{TAG}")
    expected = {busybox.file(digest).stat().st_size for digest in blobs(busybox)}
    stored = [
        one.stat().st_size
        for one in (sandbox.folder / "data").rglob("*")
        if one.is_file() and "db" not in one.name and one.stat().st_size in expected
    ]
    assert sorted(stored) == sorted(expected)


def blobs(layout: Layout) -> list[str]:
    return list(layout.contents(layout.find()))
