"""Resumption: going on with a blob that broke off on its way from an upstream, at the byte it had
come to."""

import asyncio
from collections.abc import Callable
from typing import Final

from entrepot.oci.errors import RegistryError
from entrepot.ports.image_end import Sink
from entrepot.rules.retries import RetryPolicy, next_delay

_POLICY: Final = RetryPolicy(retries=5, first=0.2, most=10.0)
"""How often a blob that broke off is gone on with without any progress in between."""


class Resumption:
    """The patience with one blob on its way. `random` is in [0, 1)."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures = 0

    async def pause(self, error: RegistryError, *, progress: bool) -> None:
        """Wait before the upstream is asked again. Raise `error` if that is hopeless: nothing came
        too often; with `progress` something did."""
        self._failures = 1 if progress else self._failures + 1
        pause = next_delay(_POLICY, self._failures, self._random())
        if pause is None:
            raise error
        await asyncio.sleep(pause)


class Skipping:
    """A sink that leaves out the first `skip` bytes, which `sink` has already."""

    def __init__(self, sink: Sink, skip: int) -> None:
        self._sink = sink
        self._skip = skip

    def __call__(self, piece: memoryview) -> None:
        skipped = min(self._skip, len(piece))
        self._skip -= skipped
        if skipped < len(piece):
            self._sink(piece[skipped:])
