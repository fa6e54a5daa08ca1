"""The program, and a registry that it talks to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.testing.mock_images import MockImage
from entrepot.testing.mock_registry import MockRegistry
from tests.integration.cli.program import Program


@pytest.fixture
def entrepot(tmp_path: Path) -> Program:
    """The program, in an empty folder."""
    return Program(tmp_path)


@pytest.fixture
def registry() -> Iterator[MockRegistry]:
    """A registry in this process, empty but for what a test adds."""
    with MockRegistry() as registry:
        yield registry


@pytest.fixture
def image(registry: MockRegistry) -> MockImage:
    """An image for one platform in the registry."""
    return registry.add_image("team/app", "1.0", layers=2)


@pytest.fixture
def index(registry: MockRegistry) -> MockImage:
    """An image for linux/amd64 and linux/arm64 in the registry."""
    return registry.add_index("team/multi", "2.0")
