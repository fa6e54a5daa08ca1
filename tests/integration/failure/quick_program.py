"""The program within the test's process, where a failed request is repeated without much waiting:
for tables of cases that would take minutes as processes."""

import functools
import logging
from pathlib import Path

import pytest

from entrepot import client
from entrepot.adapters.remotes import transport, transport_settings
from entrepot.adapters.remotes.transport_settings import TransportSettings
from entrepot.cli.main import main
from entrepot.rules.retries import RetryPolicy
from tests.integration.cli.program import Done

STALL_SECONDS = 0.25


class QuickProgram:
    """Runs `entrepot` in `folder`, which is also its home."""

    def __init__(
        self, folder: Path, patch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self._output = output
        patch.chdir(folder)
        for name in ("XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(folder))
        patch.setattr(client, "RetryPolicy", _quick)
        settings = functools.partial(
            TransportSettings, stall_timeout=STALL_SECONDS, response_timeout=STALL_SECONDS
        )
        assert transport.TransportSettings is TransportSettings  # it has read its annotations
        patch.setattr(transport_settings, "TransportSettings", settings)

    def __call__(self, *words: object) -> Done:
        """Run to the end."""
        self._output.readouterr()
        root = logging.getLogger()
        before = root.handlers, root.level
        try:
            code = main([str(word) for word in words])
        finally:
            root.handlers, root.level = before  # `--debug` leads all logs to this test's output
        out, err = self._output.readouterr()
        return Done(code, out.encode(), err.encode())


def _quick(retries: int) -> RetryPolicy:
    return RetryPolicy(retries, first=0.005, most=0.02)
