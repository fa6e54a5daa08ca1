"""Each guide works from its first command to its last, on a machine that has only Entrepot."""

import os
import shutil
from pathlib import Path

import pytest

from tests.docs.documents import blocks, name_of
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.server import RunningServer
from tools.environment import ROOT

GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))


@pytest.mark.parametrize("guide", GUIDES, ids=name_of)
def test_a_guide_works_as_written(guide: Path, sandbox: Sandbox, busybox: Layout) -> None:
    shutil.copytree(busybox.path, sandbox.folder / "hello")
    programs = Path(RunningServer.program()).parent
    sandbox.environment["PATH"] = os.pathsep.join([str(programs), sandbox.environment["PATH"]])
    scripts = [block.text for block in blocks(guide) if block.kind == "sh"]
    assert scripts
    server = RunningServer(sandbox.folder / "server")  # of its own: guides use the same names
    try:
        script = "".join(scripts).replace("localhost:5000", server.host)
        sandbox.run("sh", "-euxc", script)
    finally:
        server.stop()
