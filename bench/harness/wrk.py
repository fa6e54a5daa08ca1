"""Small requests, by wrk: many keep-alive connections from one thread."""

import re
import shutil
import subprocess
import time
from typing import Final

from bench.harness.clients import WATCH_SECONDS, Watch
from bench.harness.exchange import MeasurementFailed

_EXTRA_SECONDS: Final = 30


def is_installed() -> bool:
    return shutil.which("wrk") is not None


def run(url: str, accept: str, connections: int, seconds: int, watch: Watch) -> float:
    """GET `url` for a while; return requests per second. Raise MeasurementFailed."""
    process = subprocess.Popen(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-H", f"Accept: {accept}", url],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + seconds + _EXTRA_SECONDS
    try:
        while time.monotonic() < deadline:
            try:
                return parse(process.communicate(timeout=WATCH_SECONDS)[0])
            except subprocess.TimeoutExpired:
                watch()
        raise MeasurementFailed(f"wrk: no end after {seconds + _EXTRA_SECONDS} s")
    finally:
        process.kill()
        process.wait()


def parse(output: str) -> float:
    """Read requests per second from what wrk prints.

    Raise MeasurementFailed if an answer was not 2xx or 3xx, if a connection broke, or if there
    was no answer at all.
    """
    rate = re.search(r"^Requests/sec:\s+([\d.]+)$", output, re.MULTILINE)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    # Slow answers (the fourth number, timeouts) are slow, not wrong: the rate shows them.
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+)", output)
    if rate is None or refused or (broken and any(int(count) for count in broken.groups())):
        raise MeasurementFailed(f"wrk:\n{output}")
    if float(rate[1]) == 0:
        raise MeasurementFailed("wrk: not one answer")
    return float(rate[1])
