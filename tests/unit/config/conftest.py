"""Files to write configurations into."""

from pathlib import Path

import pytest

from tests.unit.config.reading import ConfigFile


@pytest.fixture
def toml(tmp_path: Path) -> ConfigFile:
    return ConfigFile(tmp_path / "entrepot.toml")


@pytest.fixture
def yaml(tmp_path: Path) -> ConfigFile:
    return ConfigFile(tmp_path / "config.yaml")
