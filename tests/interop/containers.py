"""Containers of pulled images, where this machine lets them run."""

import pytest

from tests.interop.sandbox import Sandbox
from tests.programs import NOT_RUN

_OWN_FAILURES = (125, 126)
"""Exit codes of podman and of the runtime, not of what runs in the container."""


def run_with_podman(sandbox: Sandbox, image: str, *command: str) -> str:
    """Run an image that was pulled; return what it prints.

    Report the test at hand as not run where containers cannot run.
    """
    done = sandbox.attempt("podman", "run", "--rm", "--pull=never", image, *command)
    if done.returncode in _OWN_FAILURES:
        *_, last = ["it does not say why", *done.stderr.strip().splitlines()]
        pytest.skip(f"{NOT_RUN}podman runs no container here: {last}")
    assert done.returncode == 0, done.stderr
    return done.stdout
