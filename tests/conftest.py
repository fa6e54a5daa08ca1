"""What every test has."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

pytest_plugins = ["tests.databases", "tests.not_run"]

# Without a deadline, for machines that are busy. `dev.py test --quick` asks for fewer examples.
settings.register_profile("whole", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=25)
settings.load_profile("whole")


@pytest.fixture(autouse=True)
def no_log_outlives_its_test() -> Iterator[None]:
    """What a test has configured writes to a stream that is closed with the test."""
    yield
    structlog.reset_defaults()
