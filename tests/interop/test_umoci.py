"""umoci makes an image and unpacks it again, after a way through the registry."""

from pathlib import Path

import pytest

from tests.interop.clients import LAYOUT_CLIENTS, require_root
from tests.interop.images import TAG
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.programs import require_program

pytestmark = pytest.mark.real("umoci")

IMAGE = f"--image=made:{TAG}"


@pytest.mark.parametrize("client", LAYOUT_CLIENTS)
def test_files_come_out_as_they_went_in(sandbox: Sandbox, repository: str, client: str) -> None:
    require_root("umoci")
    require_program(client)
    rootfs = sandbox.folder / "rootfs"
    _make_rootfs(rootfs)
    sandbox.run("umoci", "init", "--layout=made")
    sandbox.run("umoci", "new", IMAGE)
    sandbox.run("umoci", "insert", IMAGE, rootfs, "/")
    sandbox.run("umoci", "config", IMAGE, "--config.cmd=/bin/sh")
    carrier = LAYOUT_CLIENTS[client](sandbox)
    carrier.upload(Layout(sandbox.folder / "made"), f"{repository}:{TAG}")
    pulled = carrier.download(f"{repository}:{TAG}", "pulled")

    made = Layout(sandbox.folder / "made")
    assert pulled.image(pulled.find()) == made.image(made.find())
    pulled.tag(pulled.find(), "here")
    sandbox.run("umoci", "unpack", "--image=pulled:here", "bundle")
    assert _listing(sandbox.folder / "bundle" / "rootfs") == _listing(rootfs)


def _make_rootfs(rootfs: Path) -> None:
    (rootfs / "bin").mkdir(parents=True)
    program = rootfs / "bin" / "busybox"
    program.write_bytes(require_program("busybox").read_bytes())
    program.chmod(0o4755)
    (rootfs / "bin" / "sh").symlink_to("busybox")
    (rootfs / "bin" / "ash").hardlink_to(program)
    (rootfs / "tmp").mkdir()
    (rootfs / "tmp").chmod(0o1777)


def _listing(folder: Path) -> dict[str, tuple[int, int, str | bytes]]:
    """Describe every file below a folder: its mode, its links, and its content or target."""
    found: dict[str, tuple[int, int, str | bytes]] = {}
    for one in folder.rglob("*"):
        about = one.lstat()
        content: str | bytes = b""
        if one.is_symlink():
            content = str(one.readlink())
        elif one.is_file():
            content = one.read_bytes()
        found[str(one.relative_to(folder))] = (about.st_mode, about.st_nlink, content)
    return found
