"""Imports point down only: the contracts stand in pyproject.toml, under `tool.importlinter`."""

import pytest
from importlinter.cli import lint_imports

from tools.environment import ROOT


def test_imports_keep_the_contracts(capsys: pytest.CaptureFixture[str]) -> None:
    code = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert code == 0, capsys.readouterr().out
