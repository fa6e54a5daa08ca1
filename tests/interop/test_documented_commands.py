"""Every command of the documents works as it stands there."""

import re
import shutil
from collections.abc import Iterator
from typing import Final

import pytest

from tests.certificates import Certificate
from tests.docs.documents import DOCUMENTS, blocks
from tests.interop.clients import Docker, require_root
from tests.interop.layouts import Layout
from tests.interop.outside import outside
from tests.interop.sandbox import Sandbox
from tests.programs import require_program
from tests.server import RunningServer

NEEDS: Final = {
    ("README.md", "First pull through the cache"): ("podman",),
    ("README.md", "First push, first pull"): ("podman",),
    ("docs/clients.md", "podman"): ("podman",),
    ("docs/clients.md", "buildah"): ("buildah",),
    ("docs/clients.md", "skopeo"): ("skopeo",),
    ("docs/clients.md", "umoci"): ("umoci", "skopeo"),
    ("docs/clients.md", "docker"): ("docker", "skopeo"),
    ("docs/clients.md", "crane"): ("crane",),
    ("docs/clients.md", "regctl"): ("regctl",),
    ("docs/clients.md", "oras"): ("oras",),
    ("docs/clients.md", "Over TLS"): ("skopeo", "podman", "oras", "crane", "regctl", "openssl"),
}
"""The programs of each section with commands, by document and section."""

AS_ROOT: Final = ("podman", "buildah", "umoci")
ELSEWHERE: Final = ("docs/operations.md", "docs/guides/")
"""What tests/docs/test_operations.py and test_guides.py here run."""

_ADDRESS: Final = re.compile(r"(localhost|127\.0\.0\.1):5000(/demo|/team)?")
_OURS: Final = re.compile(r"^python3 dev\.py .*\n", re.MULTILINE)


def commands() -> dict[tuple[str, str], str]:
    """Return the script of each section, without starting the server or the tests themselves."""
    scripts: dict[tuple[str, str], str] = {}
    for document in DOCUMENTS:
        for block in blocks(document):
            script = _OURS.sub("", block.text) if block.kind == "sh" else ""
            if script and not block.document.startswith(ELSEWHERE):
                place = (block.document, block.section)
                scripts[place] = scripts.get(place, "") + script
    return scripts


def test_every_section_with_commands_is_run() -> None:
    assert commands().keys() == NEEDS.keys()


@pytest.fixture
def caching_server(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    """A server where the commands are run, which can reach Docker Hub; Entrepot is in `.venv`."""
    programs = sandbox.folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "entrepot").symlink_to(RunningServer.program())
    with outside(sandbox.folder / "outside") as there:
        there.hub.add_image("library/busybox")
        for variable, value in there.environment().items():
            monkeypatch.setenv(variable, value)
        folder = sandbox.folder
        server = RunningServer(folder / "server", data=folder / "entrepot-data")
        yield server
        assert server.stop() == 0


@pytest.mark.parametrize("place", NEEDS, ids=" ".join)
def test_commands_work_as_documented(
    place: tuple[str, str],
    request: pytest.FixtureRequest,
    sandbox: Sandbox,
    repository: str,
    busybox: Layout,
) -> None:
    document, section = place
    for program in NEEDS[place]:
        require_program(program)
        if program in AS_ROOT:
            require_root(program)
    if document == "docs/clients.md":
        shutil.copytree(busybox.path, sandbox.folder / "hello")
    host, _, name = repository.partition("/")
    if section == "Over TLS":
        certificate: Certificate = request.getfixturevalue("certificate")
        shutil.copy(certificate.certificate, sandbox.folder / "ca.crt")
        host = request.getfixturevalue("tls_server").host
    if section == "First pull through the cache":
        host = request.getfixturevalue("caching_server").host
    if section == "docker":
        sandbox.environment["DOCKER_HOST"] = request.getfixturevalue("docker_host")
        Docker(sandbox).forget()
    script = _ADDRESS.sub(lambda match: f"{host}/{name}" if match[2] else host, commands()[place])
    sandbox.run("sh", "-euxc", script)
