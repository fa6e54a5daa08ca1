"""Which cases of a long table are tried in the quick lane."""

from collections.abc import Iterable
from typing import Any

import pytest


def sampled(cases: Iterable[object], every: int) -> list[Any]:
    """Return all cases, marked slow but for the first of each `every`."""
    return [
        pytest.param(case, marks=pytest.mark.slow if number % every else ())
        for number, case in enumerate(cases)
    ]
