"""A mirror that is told to stop waits for its clients, but not for those that have hung up while
the upstream sends nothing (row HA-06)."""

import time
from typing import Final

import pytest

from entrepot.testing import MockRegistry, Stall
from tests.integration.mirror.conftest import StartMirror
from tests.mirrors import UPSTREAM
from tests.waiting import wait_until
from tests.wire import Wire, request

NAME: Final = "team/app"
MIB: Final = 1 << 20


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before it is told to stop", "after"])
@pytest.mark.parametrize("what", ["blob", "manifest"])
def test_no_shutdown_waits_for_who_has_hung_up(
    start_mirror: StartMirror, registry: MockRegistry, what: str, when: str
) -> None:
    mirror = start_mirror(registry)
    if what == "blob":
        blob = registry.add_blob(NAME, 4 * MIB)
        stall = registry.fault(Stall(after_bytes=MIB), method="GET", path="*/blobs/*")
        path = f"blobs/{blob.digest}"
    else:
        registry.add_image(NAME, "1")
        stall = registry.fault(Stall(at="head"), path="*/manifests/*")
        path = "manifests/1"
    with Wire.to(mirror, timeout=10) as wire:
        wire.send(request("GET", f"/v2/{UPSTREAM}/{NAME}/{path}"))
        if what == "blob":
            assert wire.head()[0] == 200
            wire.read(MIB // 2)
        else:
            wait_until(lambda: stall.applied)
        if when == "after":
            mirror.process.terminate()
            wait_until(lambda: not mirror.listens)
        wire.finish()  # as a client that ends, whose bytes have all been read
        started = time.monotonic()
        try:
            assert mirror.stop() == 0
            assert time.monotonic() - started < 10
        finally:
            stall.release()
