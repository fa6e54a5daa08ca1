"""docs/operations.md: its commands work as they stand there, and its tables are true."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from entrepot.config import Settings, load
from entrepot.config.model import SETTINGS
from entrepot.testing.free_ports import free_port
from entrepot.testing.postgresql import PostgresqlMissing, postgresql_server
from entrepot.web.metrics import HANDLERS
from tests.docs.documents import blocks
from tests.docs.scripts import run_script
from tests.programs import NOT_RUN, require_program
from tests.server import RunningServer
from tools.environment import ROOT

PAGE: Final = ROOT / "docs" / "operations.md"
SECONDS: Final = 60
_DATABASE: Final = "postgresql://entrepot:secret@127.0.0.1:5432/registry"


def scripts() -> list[tuple[str, str]]:
    """Return the section and the text of every block that is to be run."""
    return [(block.section, block.text) for block in blocks(PAGE) if block.kind == "sh"]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    try:
        with postgresql_server() as running:
            yield running.url(running.create_database())
    except PostgresqlMissing as missing:
        pytest.skip(f"{NOT_RUN}{missing}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The server that the page starts first, as `Start` has it."""
    folder = tmp_path_factory.mktemp("operations")
    server = RunningServer(folder, workers=2, data=folder / "registry-data")
    yield server
    assert server.stop() == 0


@pytest.mark.real("sh", "curl")
@pytest.mark.parametrize(
    ("section", "script"),
    [
        pytest.param(*one, id=one[0], marks=[pytest.mark.slow] * ("entrepot serve" in one[1]))
        for one in scripts()
    ],
)
def test_commands_work_as_documented(
    section: str, script: str, port: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if "openssl" in script:
        require_program("openssl")
    if _DATABASE in script:
        script = script.replace(_DATABASE, request.getfixturevalue("database"))
    folder, address = tmp_path, f"127.0.0.1:{port}"
    if "entrepot serve" not in script:
        server: RunningServer = request.getfixturevalue("server")
        folder, address = server.folder, server.host
    done = run(script.replace("127.0.0.1:5000", address), folder)
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    log = folder / "server.log"
    assert "Traceback" not in done.stderr + (log.read_text() if log.exists() else "")


def run(script: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a script as a user with nothing configured would."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("ENTREPOT_")
    } | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    return run_script(script, folder, environment, seconds=SECONDS)


def test_settings_that_are_named_exist_and_default_to_what_is_said() -> None:
    text = PAGE.read_text()
    pattern = r"`((?:server|storage|metadata|registry|log)\.(?!db\b|log\b)[a-z_0-9]+)"
    named = set(re.findall(pattern, text))
    assert named
    assert named <= {f"{section}.{key}" for section, key in SETTINGS}
    rows = re.findall(r"^\| `([a-z]+)\.([a-z_]+)` \| .* \| ([0-9]+)( [A-Za-z]+)? \|$", text, re.M)
    assert len(rows) == 7
    units = {"": 1, " s": 1, " KiB": 1024, " MiB": 1024**2}
    for section, key, number, unit in rows:
        assert getattr(getattr(Settings(), section), key) == int(number) * units[unit], key


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    for number, block in enumerate(block for block in blocks(PAGE) if block.kind == "toml"):
        file = tmp_path / f"{number}.toml"
        file.write_text(block.text)
        assert load(file, {}, {}) != Settings()


def test_the_handlers_are_those_of_the_metrics() -> None:
    (line,) = re.findall(r"^`handler` is one of (.*?)\. ", PAGE.read_text(), re.M)
    assert sorted(HANDLERS) == re.findall(r"`([a-z_]+)`", line)
