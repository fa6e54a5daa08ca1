"""What wrk prints becomes a rate, or a failure that shows what it printed."""

import pytest

from bench.harness.exchange import MeasurementFailed
from bench.harness.wrk import parse

GOOD = """\
Running 2s test @ http://127.0.0.1:5000/v2/
  1 threads and 64 connections
  3212 requests in 2.00s, 2.49MB read
Requests/sec:   1604.54
Transfer/sec:      1.24MB
"""


def test_the_rate_is_read() -> None:
    assert parse(GOOD) == 1604.54


def test_slow_answers_are_no_failure() -> None:
    slow = "  Socket errors: connect 0, read 0, write 0, timeout 3\n"
    assert parse(slow + GOOD) == 1604.54


@pytest.mark.parametrize(
    "output",
    [
        "",
        "unable to connect to 127.0.0.1:5000 Connection refused\n",
        GOOD.replace("1604.54", "0.00"),
        "  Non-2xx or 3xx responses: 1\n" + GOOD,
        "  Socket errors: connect 0, read 7, write 0, timeout 0\n" + GOOD,
    ],
)
def test_wrong_or_missing_answers_fail(output: str) -> None:
    with pytest.raises(MeasurementFailed):
        parse(output)
