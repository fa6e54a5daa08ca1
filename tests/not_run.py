"""A pytest plugin: what could not be run here is said at the end, by name.

A skip says "this does not apply"; a reason that starts with "not run: " says "this machine
lacks something", and must never look like a pass.
"""

import pytest

from tests.programs import NOT_RUN, require_program


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Report a test marked `real(...)` as not run when one of its programs is missing."""
    for mark in item.iter_markers("real"):
        for name in mark.args:
            require_program(name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the tests not run, each with its reason."""
    missed: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        _file, _line, reason = report.longrepr
        reason = reason.removeprefix("Skipped: ")
        if reason.startswith(NOT_RUN):
            missed.setdefault(reason.removeprefix(NOT_RUN), []).append(report.nodeid)
    if not missed:
        return
    terminalreporter.section("not run")
    for reason, tests in sorted(missed.items()):
        terminalreporter.line(f"{reason}:")
        for test in tests:
            terminalreporter.line(f"    {test}")
    total = sum(len(tests) for tests in missed.values())
    terminalreporter.line(f"{total} not run; `python3 dev.py setup` installs what it can")
