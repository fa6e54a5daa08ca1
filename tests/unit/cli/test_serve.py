"""`entrepot serve` turns flags into settings and gives them to the composition root.

The server itself is started for real in tests/integration; here another stands in its place.
"""

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

import entrepot
from entrepot.cli.commands import app
from entrepot.cli.main import main
from entrepot.config import Settings
from entrepot.config.model import SETTINGS

Served = list[Settings]


@pytest.fixture
def serve_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Settings], int]], None]:
    def put_in_place(serve: Callable[[Settings], int]) -> None:
        bootstrap = types.ModuleType("entrepot.bootstrap")
        bootstrap.serve = serve  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "entrepot.bootstrap", bootstrap)
        monkeypatch.setattr(entrepot, "bootstrap", bootstrap, raising=False)

    return put_in_place


@pytest.fixture
def served(serve_with: Callable[[Callable[[Settings], int]], None]) -> Served:
    settings: Served = []

    def serve(given: Settings) -> int:
        settings.append(given)
        return 0

    serve_with(serve)
    return settings


def test_nothing_needs_to_be_given(served: Served) -> None:
    assert main(["serve"]) == 0
    assert served == [Settings()]


def test_flags_become_settings(served: Served) -> None:
    words = ["serve", "--listen", ":1", "--listen", "unix:/run/x", "--data", "/data"]
    words += ["--workers", "3", "--tls-certificate", "/c", "--tls-key", "/k"]
    assert main([*words, "--log-level", "error"]) == 0
    (settings,) = served
    assert settings.server.listen == (":1", "unix:/run/x")
    assert settings.storage.path == Path("/data")
    assert settings.server.workers == 3
    assert settings.server.tls_certificate == Path("/c")
    assert settings.server.tls_key == Path("/k")
    assert settings.log.level == "error"


def test_flags_win_over_the_file_and_the_environment(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "entrepot.toml"
    file.write_text('[log]\nlevel = "error"\nformat = "json"\n')
    monkeypatch.setenv("ENTREPOT_LOG_LEVEL", "warning")
    monkeypatch.setenv("ENTREPOT_SERVER_WORKERS", "2")
    assert main(["serve", "--config", str(file), "--log-level", "debug"]) == 0
    (settings,) = served
    assert (settings.log.level, settings.log.format, settings.server.workers) == (
        "debug",
        "json",
        2,
    )


def test_what_is_documented_as_a_flag_is_one() -> None:
    documented = {setting.flag for setting in SETTINGS.values() if setting.flag}
    group = typer.main.get_command(app)
    serve = group.commands["serve"]  # type: ignore[attr-defined]
    options = {option for one in serve.params for option in one.opts}
    assert documented == options - {"--config"}


def test_the_exit_code_is_the_servers(
    serve_with: Callable[[Callable[[Settings], int]], None],
) -> None:
    serve_with(lambda _settings: 3)
    assert main(["serve"]) == 3


def test_an_address_that_is_taken_is_one_clear_line(
    serve_with: Callable[[Callable[[Settings], int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def serve(_settings: Settings) -> int:
        raise OSError("cannot listen on 127.0.0.1:5000: another program listens there")

    serve_with(serve)
    assert main(["serve"]) == 1
    assert capsys.readouterr().err == (
        "error: cannot listen on 127.0.0.1:5000: another program listens there\n"
    )


def test_ctrl_c_is_quiet(
    serve_with: Callable[[Callable[[Settings], int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def serve(_settings: Settings) -> int:
        raise KeyboardInterrupt

    serve_with(serve)
    assert main(["serve"]) == 130
    assert capsys.readouterr() == ("", "")
