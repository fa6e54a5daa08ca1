"""A program that cannot be had is not run; one that does not build is a failure."""

import pytest

from tools import conformance, go_programs
from tools.go_programs import BuildFailed, NotToBeHad, refusal

FORBIDDEN = """\
go: example.org/suite@v1: example.org/suite@v1: reading https://proxy.example/suite/@v/v1.info: \
403 Forbidden
\tserver response: This module version is not available.
"""
TOO_OLD = "go: example.org/suite@v1 requires go >= 1.24 (running go 1.19; GOTOOLCHAIN=local)"
NO_NETWORK = 'go: example.org/suite@v1: Get "https://proxy.example/x": dial tcp: no such host'
OFF = "go: example.org/suite@v1: module lookup disabled by GOPROXY=off"
BROKEN = "# example.org/suite\nsuite.go:12:3: undefined: start\n"


@pytest.mark.parametrize("output", [FORBIDDEN, TOO_OLD, NO_NETWORK, OFF])
def test_what_go_cannot_get_is_not_to_be_had(output: str) -> None:
    reason = refusal(output)
    assert isinstance(reason, NotToBeHad)
    assert output.splitlines()[0] in str(reason)


@pytest.mark.parametrize("output", [BROKEN, "", "verifying module: checksum mismatch"])
def test_whatever_else_go_says_is_a_failure(output: str) -> None:
    reason = refusal(output)
    assert isinstance(reason, BuildFailed)
    assert output.strip() in str(reason)


@pytest.mark.parametrize(
    ("reason", "code"),
    [(NotToBeHad("there is no Go toolchain on PATH"), 77), (BuildFailed("undefined: start"), 1)],
)
def test_conformance_tells_the_two_apart(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    reason: Exception,
    code: int,
) -> None:
    def install(program: go_programs.GoProgram) -> None:
        raise reason

    monkeypatch.setattr(go_programs, "install", install)
    assert conformance.main("dev") == code
    assert str(reason) in capsys.readouterr().out
