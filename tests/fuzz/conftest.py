"""Servers for the tests that send nonsense."""

from tests.integration.conftest import start_server

__all__ = ["start_server"]
