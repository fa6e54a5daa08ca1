"""The official suite's reports are judged by their leaves, not by its exit code."""

from pathlib import Path

import pytest

from tools.conformance import Outcome, judge, read_report

PASSED = '<testcase name="OCI Conformance Test/ping" status="passed"/>'
FAILED = """<testcase name="OCI Conformance Test/image/push" status="failure">
    <system-out>expected 201, received 500</system-out></testcase>"""
UNSUPPORTED = """<testcase name="OCI Conformance Test/image/mount" status="skipped">
    <system-out>registry does not support the requested API</system-out></testcase>"""
DISABLED = """<testcase name="OCI Conformance Test/image/cancel" status="skipped">
    <system-err>skipping test: api X is disabled in the configuration</system-err></testcase>"""
BROKEN = '<testcase name="OCI Conformance Test/image/index" status="error"/>'


def report(folder: Path, *cases: str) -> Path:
    """Write a report as the suite does; return its folder."""
    body = "".join(cases)
    (folder / "junit.xml").write_text(f"<testsuites><testsuite>{body}</testsuite></testsuites>")
    (folder / "results.yaml").write_text("version: dev\n")
    return folder


@pytest.mark.parametrize(
    ("cases", "code"),
    [
        ([PASSED], 0),
        ([PASSED, DISABLED], 0),
        ([PASSED, FAILED], 1),
        ([PASSED, UNSUPPORTED], 1),
        ([PASSED, BROKEN], 1),
        ([DISABLED], 1),
        ([], 1),
    ],
)
def test_only_whole_support_is_success(tmp_path: Path, cases: list[str], code: int) -> None:
    assert judge("dev", read_report(report(tmp_path, *cases))) == code


def test_what_did_not_pass_is_named_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge("dev", read_report(report(tmp_path, PASSED, FAILED, UNSUPPORTED, DISABLED)))
    assert capsys.readouterr().out.splitlines() == [
        "failed: image/push",
        "    expected 201, received 500",
        "skipped for lack of support: image/mount",
        "    registry does not support the requested API",
        "conformance dev: 1 passed, 1 failed, 1 skipped for lack of support, "
        "1 switched off by the version's options",
    ]


@pytest.mark.parametrize("absent", ["junit.xml", "results.yaml"])
def test_a_suite_that_did_not_finish_shows_nothing(tmp_path: Path, absent: str) -> None:
    (report(tmp_path, PASSED) / absent).unlink()
    assert judge("dev", read_report(tmp_path)) == 1


def test_outcomes_tell_a_switched_off_test_from_an_unsupported_one(tmp_path: Path) -> None:
    tests = read_report(report(tmp_path, DISABLED, UNSUPPORTED))
    assert [test.outcome for test in tests] == [Outcome.DISABLED, Outcome.UNSUPPORTED]
