"""Run the distribution-spec's conformance suite against a server of our own, and judge it.

The suite's exit code alone does not tell: a set-up error exits 0, and a skip for lack of
support looks like a pass. So its reports are required, and every leaf test is counted.
"""

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from tools import go_programs
from tools.environment import ROOT, VENV, variables

NOT_RUN: Final = 77
"""Exit code for "could not be run here", as test harnesses use it; neither pass nor fail."""

VERSIONS: Final = ("dev", "stable")

_OPTIONS: Final = (
    "API_PING",
    "API_PULL",
    "API_PUSH",
    "API_REFERRER",
    "API_BLOBS_ATOMIC",
    "API_BLOBS_DELETE",
    "API_BLOBS_MOUNT_ANONYMOUS",
    "API_MANIFESTS_ATOMIC",
    "API_MANIFESTS_DELETE",
    "API_TAGS_ATOMIC",
    "API_TAGS_DELETE",
    "API_TAGS_LIST",
    "DATA_ARTIFACT",
    "DATA_ARTIFACT_LIST",
    "DATA_CUSTOM_FIELDS",
    "DATA_DATA_FIELD",
    "DATA_EMPTY_BLOB",
    "DATA_IMAGE",
    "DATA_INDEX",
    "DATA_INDEX_LIST",
    "DATA_NONDISTRIBUTABLE",
    "DATA_NO_LAYERS",
    "DATA_SHA512",
    "DATA_SPARSE",
    "DATA_SUBJECT",
    "DATA_SUBJECT_LIST",
    "DATA_SUBJECT_MISSING",
)
_DEV_OPTIONS: Final = (
    "API_BLOBS_DIGEST_HEADER",
    "API_BLOBS_UPLOAD_CANCEL",
    "API_MANIFESTS_DIGEST_HEADER",
    "API_MANIFESTS_TAG_PARAM",
)
"""What the spec gained after version 1.1."""

_START_SECONDS: Final = 30
_STOP_SECONDS: Final = 30
_SUITE_SECONDS: Final = 900


class Outcome(Enum):
    """What became of one leaf test of the suite."""

    PASSED = "passed"
    FAILED = "failed"
    UNSUPPORTED = "skipped for lack of support"
    DISABLED = "switched off by the version's options"


@dataclass(frozen=True, slots=True)
class LeafTest:
    """One leaf of the suite's tree of tests."""

    name: str
    outcome: Outcome
    reason: str


def main(version: str) -> int:
    """Run the suite at `version`, print a summary, and return the exit code.

    0: all passed; 77: the suite cannot be had here; 1: whatever else there is to say against
    it, be it a failure, a skip for lack of support, a server that does not start, or no result.
    """
    try:
        suite = go_programs.install(go_programs.CONFORMANCE)
    except go_programs.NotToBeHad as reason:
        print(f"not run: the official conformance suite ({version}): {reason}")
        return NOT_RUN
    except go_programs.BuildFailed as reason:
        print(f"conformance {version}: {reason}")
        return 1
    with tempfile.TemporaryDirectory(prefix="entrepot-conformance-") as folder:
        results = Path(folder, "results")
        with _server(Path(folder, "data")) as address:
            try:
                subprocess.run(
                    [str(suite)],
                    cwd=folder,
                    env=_settings(version, address, results),
                    stdout=subprocess.DEVNULL,  # the same as its reports, at length
                    check=False,
                    timeout=_SUITE_SECONDS,
                )
            except subprocess.TimeoutExpired:
                print(f"conformance {version}: no end after {_SUITE_SECONDS} s")
                return 1
        tests = read_report(results)
    return judge(version, tests)


def read_report(results: Path) -> list[LeafTest]:
    """Read the leaf tests from the folder the suite wrote; empty if it did not finish."""
    report = results / "junit.xml"
    if not (results / "results.yaml").is_file() or not report.is_file():
        return []
    tree = ElementTree.parse(report)  # noqa: S314 - written by a program we started
    return [_leaf(case) for case in tree.iter("testcase")]


def judge(version: str, tests: list[LeafTest]) -> int:
    """Print counts, and by name all that did not pass; return 0 only if support is whole."""
    if not any(test.outcome is Outcome.PASSED for test in tests):
        print(f"conformance {version}: the suite gave no results, so nothing is shown to work")
        return 1
    bad = [test for test in tests if test.outcome in {Outcome.FAILED, Outcome.UNSUPPORTED}]
    for test in bad:
        print(f"{test.outcome.value}: {test.name}")
        for line in test.reason.splitlines()[:8]:
            print(f"    {line}")
    counts = Counter(test.outcome for test in tests)
    told = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome)
    print(f"conformance {version}: {told}")
    return 1 if bad else 0


def _leaf(case: "ElementTree.Element[str]") -> LeafTest:
    name = case.get("name", "?").removeprefix("OCI Conformance Test/")
    reason = (case.findtext("system-out") or case.findtext("system-err") or "").strip()
    match case.get("status"):
        case "passed":
            return LeafTest(name, Outcome.PASSED, "")
        case "skipped" if "disabled in the configuration" in reason:
            return LeafTest(name, Outcome.DISABLED, reason)
        case "skipped":
            return LeafTest(name, Outcome.UNSUPPORTED, reason)
        case _:
            return LeafTest(name, Outcome.FAILED, reason)


def _settings(version: str, address: str, results: Path) -> dict[str, str]:
    """Return the suite's environment, with every option of `version` on."""
    options = _OPTIONS + (_DEV_OPTIONS if version == "dev" else ())
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OCI_")}
    return (
        inherited
        | {f"OCI_{option}": "true" for option in options}
        | {
            "OCI_VERSION": version,
            "OCI_REGISTRY": address,
            "OCI_TLS": "disabled",
            "OCI_REPO1": "conformance/first",
            "OCI_REPO2": "conformance/second",
            "OCI_RESULTS_DIR": str(results),
        }
    )


@contextmanager
def _server(data: Path) -> Iterator[str]:
    """Serve `data` on a free loopback port; yield `host:port` once it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [str(VENV / "bin" / "entrepot"), "serve", "--listen", address, "--data", str(data)]
    # The suite pushes sparse images, which a registry may take; ours does when told to.
    environment = {**variables(), "ENTREPOT_REGISTRY_REQUIRE_BLOBS": "false"}
    log = data.with_name("server.log")
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        try:
            _wait_until_ready(server, address)
        except TimeoutError as failure:
            raise SystemExit(f"{failure}\n{log.read_text(errors='replace')[-4000:]}") from None
        yield address
    finally:
        server.terminate()
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_ready(server: "subprocess.Popen[bytes]", address: str) -> None:
    """Return when `/readyz` answers 200. Raise TimeoutError if it does not in time."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise TimeoutError(f"the server ended with exit code {server.returncode}")
        try:
            with urllib.request.urlopen(f"http://{address}/readyz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)  # nothing tells us when it listens, so ask again
    raise TimeoutError(f"the server was not ready after {_START_SECONDS} s")
