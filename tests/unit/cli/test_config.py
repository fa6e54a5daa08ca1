"""`entrepot config`: what is in force, whether it is right, and the reference page."""

import json
from pathlib import Path

import pytest

from entrepot.cli.main import main
from entrepot.config import reference


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "entrepot.toml"
    file.write_text("[server]\nworkers = 2\n")
    return file


def test_show_prints_what_is_in_force_and_where_it_came_from(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENTREPOT_METADATA_URL", "postgresql://user:secret@host/name")
    assert main(["config", "show", "--config", str(file)]) == 0
    shown = capsys.readouterr().out
    assert f"workers = 2  # {file}:2\n" in shown
    assert 'url = "postgresql://user:***@host/name"  # ENTREPOT_METADATA_URL\n' in shown
    assert "secret" not in shown


def test_show_and_check_read_the_file_of_oci_proxy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("port: 8080\nregistries:\n  ghcr.io:\n    auth: {username: u, password: pw}\n")
    assert main(["config", "check", str(file)]) == 0
    assert main(["config", "show", "--config", str(file)]) == 0
    shown = capsys.readouterr().out
    assert f'listen = [":8080"]  # {file}:1\n' in shown
    assert f'[upstreams."ghcr.io"]  # {file}:3\n' in shown
    assert f'password = "***"  # {file}:4\n' in shown


def test_show_as_json_reads_the_file_that_the_environment_names(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENTREPOT_CONFIG", str(file))
    assert main(["config", "show", "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["server"]["workers"] == {"value": 2, "origin": f"{file}:2"}


def test_check_says_so_when_all_is_well(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: no mistakes\n"
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().out == "environment: no mistakes\n"


def test_check_names_every_mistake(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("[server]\nworkers = -2\n[storge]\n")
    monkeypatch.setenv("ENTREPOT_LOG_LEVL", "info")
    assert main(["config", "check", str(file)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        f"error: {file}:3: unknown section [storge]",
        "hint: did you mean [storage]?",
        "error: ENTREPOT_LOG_LEVL: unknown variable",
        "hint: did you mean ENTREPOT_LOG_LEVEL?",
        f"error: {file}:2: server.workers cannot be -2",
        "hint: it must be a whole number, from 0 to 256",
    ]


def test_reference_prints_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "reference"]) == 0
    assert capsys.readouterr().out == reference.page()
