"""Every command of docs/clients.md works as it stands there."""

import re
import shutil
from typing import Final

import pytest

from tests.certificates import Certificate
from tests.interop.clients import Docker, require_root
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.programs import require_program
from tools.environment import ROOT

NEEDS: Final = {
    "podman": ("podman",),
    "buildah": ("buildah",),
    "skopeo": ("skopeo",),
    "umoci": ("umoci", "skopeo"),
    "docker": ("docker", "skopeo"),
    "crane": ("crane",),
    "regctl": ("regctl",),
    "oras": ("oras",),
    "Over TLS": ("skopeo", "podman", "oras", "crane", "regctl", "openssl"),
}
"""The programs of each section."""

AS_ROOT: Final = ("podman", "buildah", "umoci")

_SECTION: Final = re.compile(r"^## (.+)\n", re.MULTILINE)
_BLOCK: Final = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NOT_COMMANDS: Final = ("json", "toml")


def commands() -> dict[str, str]:
    """Return the script of each section of the document."""
    _, *parts = _SECTION.split((ROOT / "docs" / "clients.md").read_text())
    blocks = {
        title: _BLOCK.findall(text) for title, text in zip(parts[::2], parts[1::2], strict=True)
    }
    kinds = {kind for found in blocks.values() for kind, _ in found}
    assert kinds <= {"sh", "sh outside", *_NOT_COMMANDS}, kinds
    scripts = {
        title: "".join(text for kind, text in found if kind == "sh")
        for title, found in blocks.items()
    }
    return {title: script for title, script in scripts.items() if script}


def test_every_section_with_commands_is_run() -> None:
    assert commands().keys() == NEEDS.keys()


@pytest.mark.parametrize("section", NEEDS)
def test_commands_work_as_documented(
    section: str, request: pytest.FixtureRequest, sandbox: Sandbox, repository: str, busybox: Layout
) -> None:
    for program in NEEDS[section]:
        require_program(program)
        if program in AS_ROOT:
            require_root(program)
    shutil.copytree(busybox.path, sandbox.folder / "hello")
    host, _, name = repository.partition("/")
    if section == "Over TLS":
        certificate: Certificate = request.getfixturevalue("certificate")
        shutil.copy(certificate.certificate, sandbox.folder / "ca.crt")
        host = request.getfixturevalue("tls_server").host
    if section == "docker":
        sandbox.environment["DOCKER_HOST"] = request.getfixturevalue("docker_host")
        Docker(sandbox).forget()
    script = commands()[section].replace("localhost:5000/demo", f"{host}/{name}")
    sandbox.run("sh", "-euxc", script.replace("localhost:5000", host))
