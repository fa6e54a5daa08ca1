"""Waiting for what has no other way to say that it happened."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], *, seconds: float = 15.0) -> T:
    """Return the condition's first true result; fail if there is none for that long."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"still not after {seconds:g} s: {condition}"
        time.sleep(0.02)
    return result
