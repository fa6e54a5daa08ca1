"""What every test has."""

pytest_plugins = ["tests.not_run"]
