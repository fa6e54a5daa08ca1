"""Any sequence of requests: the registry answers as a model of a few dictionaries does.

The same machine runs against the application in this process and against a running server.
"""

import os
import shutil
import tempfile
from itertools import count
from pathlib import Path

from hypothesis import settings
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from tests.fuzz.application import Application
from tests.fuzz.machine import NAMES, RegistryMachine
from tests.fuzz.requests import EXAMPLES
from tests.fuzz.rules import assert_confined
from tests.http_client import Client
from tests.integration.conftest import StartServer
from tests.server import RunningServer


class ApplicationMachine(RegistryMachine):
    """Each run on new stores in this process."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="entrepot-fuzz-"))
        self.application = self.target = Application(self.folder)

    @invariant()
    def no_fault(self) -> None:
        assert self.application.faults == []

    def teardown(self) -> None:
        try:
            self.everything_is_as_the_model_says()
            assert_confined(self.application.data)
            open_ones = {upload.location.rpartition("/")[2] for upload in self.model.open}
            assert set(os.listdir(self.application.data / "ingests")) == open_ones
        finally:
            self.application.close()
            shutil.rmtree(self.folder)


class ServerMachine(RegistryMachine):
    """Each run in repositories of its own, on one server that dies now and then."""

    server: RunningServer
    target: Client
    anywhere = False
    runs = count()
    crashes = 2
    """How often a run may end its server."""

    def __init__(self) -> None:
        super().__init__()
        number = next(self.runs)
        self.repositories = tuple(f"run-{number}/{name}" for name in NAMES)

    @precondition(lambda self: self.crashes)
    @rule()
    def crash_and_start_again(self) -> None:
        self.crashes -= 1
        self.server.kill()
        self.target.close()
        self.server.start()

    def teardown(self) -> None:
        self.everything_is_as_the_model_says()


def _few(runs: int, steps: int) -> settings:
    return settings(max_examples=max(runs, 1), stateful_step_count=steps, deadline=None)


TestApplication = ApplicationMachine.TestCase
TestApplication.settings = _few(EXAMPLES // 5, 60)


def test_a_server_that_crashes_remembers(start_server: StartServer) -> None:
    server = start_server(workers=2, settings={"registry.mount_from_anywhere": "false"})

    class Machine(ServerMachine):
        pass

    Machine.server, Machine.target = server, server.client()
    run_state_machine_as_test(Machine, settings=_few(EXAMPLES // 20, 50))
    Machine.target.close()
    assert server.stop() == 0
    assert_confined(server.data)
