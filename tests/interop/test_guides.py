"""Each guide works from its first command to its last, on a machine that has only Entrepot and the
client that the guide is about.

A guide stands as people type it. What is rewritten are addresses: ports of this machine, and names
of examples. Docker Hub has its own name, and is what `outside` takes for it.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from entrepot.testing.free_ports import free_port
from tests.docs.documents import blocks, name_of
from tests.docs.scripts import run_script
from tests.integration.remotes.egress_proxies import microsocks, squid
from tests.interop.clients import require_root
from tests.interop.layouts import Layout
from tests.interop.outside import HUB, Outside, outside
from tests.interop.sandbox import Sandbox
from tests.programs import require_program
from tests.relay import Relay
from tests.server import RunningServer
from tools.environment import ROOT

FOLDER: Final = ROOT / "docs" / "guides"
WITH_A_SERVER: Final = ("air-gapped", "mirroring", "moving-images")
"""Guides that take a running server for granted; the others start their own."""

SECONDS: Final = 120


@pytest.fixture
def machine(sandbox: Sandbox) -> Sandbox:
    """A machine with Entrepot on PATH."""
    programs = Path(RunningServer.program()).parent
    sandbox.environment["PATH"] = os.pathsep.join([str(programs), sandbox.environment["PATH"]])
    return sandbox


def script_of(name: str) -> str:
    """Return all commands of a guide."""
    return "".join(block.text for block in blocks(FOLDER / f"{name}.md") if block.kind == "sh")


def test_every_guide_is_run() -> None:
    others = {
        "cache-docker-hub",
        "restricted-networks",
        "custom-domain",
        "migrating-from-oci-proxy",
    }
    assert {name_of(one) for one in FOLDER.glob("*.md")} == {
        f"docs/guides/{name}.md" for name in others | {*WITH_A_SERVER}
    }


@pytest.mark.parametrize("name", WITH_A_SERVER)
def test_a_guide_works_as_written(name: str, machine: Sandbox, busybox: Layout) -> None:
    shutil.copytree(busybox.path, machine.folder / "hello")
    server = RunningServer(machine.folder / "server")  # of its own: guides use the same names
    try:
        machine.run("sh", "-euxc", script_of(name).replace("localhost:5000", server.host))
    finally:
        server.stop()


@pytest.mark.slow
@pytest.mark.real("sh", "curl", "podman")
def test_docker_hub_is_cached_as_written(machine: Sandbox) -> None:
    require_root("podman")
    with outside(machine.folder / "outside") as there:
        image = there.hub.add_index("library/busybox", "1.36")
        run(machine, there, "cache-docker-hub")
        asked = there.hub.matching(path="/v2/library/*")
        agents = {one.header("user-agent").partition("/")[0] for one in asked}
        assert agents == {"entrepot"}, "podman went to Docker Hub itself"
        fetched = [one.path for one in asked if one.method == "GET" and one.status < 400]
        assert len(fetched) == len({*fetched}), "something was fetched twice"
        assert image.path in fetched
        assert {*there.asked} == {*HUB}


@pytest.mark.slow
@pytest.mark.real("sh", "curl", "squid", "microsocks")
def test_restricted_networks_are_left_as_written(machine: Sandbox) -> None:
    """PX-06: token requests and storage go through the proxies, too, and nothing goes past them."""
    with (
        outside(machine.folder / "outside") as there,
        squid(account=True, parent=there.proxy) as web,
        microsocks(account=True) as socks,
        Relay(socks.host) as line,  # which counts
    ):
        there.hub.add_image("library/busybox", "1.36")
        there.registry.add_image("demo/app", "1.0")
        places = {"proxy.example.com:3128": web.host, "socks.example.com:1080": line.host}
        run(machine, there, "restricted-networks", places, way_out=False)
        assert all(f"CONNECT {name}:443" in web.log() for name in HUB)
        assert there.registry.count("GET", "*/manifests/*")
        assert 0 < there.registry.connections <= line.connections


@pytest.mark.slow
@pytest.mark.real("sh", "curl")
def test_a_custom_domain_leads_on_as_written(machine: Sandbox) -> None:
    """RD-01, RD-02, RD-05."""
    with outside(machine.folder / "outside") as there:
        there.registry.add_image("team/images/app", "1.0")
        bucket = there.registry.other_origin(tls=there.registry.tls)
        places = {"bucket.example.com/blobs": f"{bucket.host}/v2/team/images/app/blobs"}
        run(machine, there, "custom-domain", places)
        assert bucket.count("HEAD", "*/blobs/*")


@pytest.mark.slow
@pytest.mark.real("sh", "curl", "skopeo")
def test_oci_proxy_is_left_as_written(machine: Sandbox) -> None:
    """PX-05, PX-08."""
    with outside(machine.folder / "outside") as there:
        there.hub.add_image("library/busybox", "1.36")
        said = run(machine, there, "migrating-from-oci-proxy")
        assert '"registry-1.docker.io": {"Hits": ' in said
        assert '{"status": "healthy"}' in said


def run(
    machine: Sandbox,
    there: Outside,
    name: str,
    places: Mapping[str, str] | None = None,
    *,
    way_out: bool = True,
) -> str:
    """Run a guide that starts its servers, and return what it has printed.

    `places` are what stands for names of examples; without a `way_out` programs trust the outside
    and are not led there.
    """
    script = script_of(name)
    usual = free_port()
    machine.environment |= there.environment()
    if not way_out:
        for variable in ("https_proxy", "no_proxy"):  # `no_proxy` would count here, too
            del machine.environment[variable]
    if "localhost:5000" in script:
        machine.environment["ENTREPOT_SERVER_LISTEN"] = f"localhost:{usual}"
    # Where all interfaces are meant, tests listen on loopback alone.
    loopback = {
        "PORT=8080": "PORT=8080 ENTREPOT_SERVER_LISTEN=localhost:8080",
        "serve --config config.yaml": "serve --config config.yaml --listen localhost:8080",
    }
    ports = {port: str(free_port()) for port in ("8080", "8081", "8082")}
    known = {"registry.example.com": there.registry.host, "localhost:5000": f"localhost:{usual}"}
    for text, instead in (loopback | ports | known | dict(places or {})).items():
        script = script.replace(text, instead)
    require_program("sh")
    done = run_script(script, machine.folder, machine.environment, seconds=SECONDS)
    logs = "".join(one.read_text() for one in machine.folder.glob("*.log"))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{logs}"
    assert "Traceback" not in logs
    return done.stdout
