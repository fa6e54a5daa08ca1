"""Imports point down only: the contracts stand in pyproject.toml, under `tool.importlinter`."""

import logging
from collections.abc import Iterator

import pytest
from importlinter.cli import lint_imports

from tools.environment import ROOT


@pytest.fixture(autouse=True)
def loggers_stay_as_they_are() -> Iterator[None]:
    """import-linter sets up logging for itself, and silences every logger that is there."""
    known = logging.Logger.manager.loggerDict.values()
    loud = [one for one in known if isinstance(one, logging.Logger) and not one.disabled]
    yield
    for one in loud:
        one.disabled = False


def test_imports_keep_the_contracts(capsys: pytest.CaptureFixture[str]) -> None:
    code = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert code == 0, capsys.readouterr().out
