"""Endpoints found by DNS come and go while the server runs (BE-08)."""

from pathlib import Path

import pytest

from entrepot.testing import MockRegistry
from entrepot.testing.free_ports import free_port
from tests.integration.remotes.test_upstream_discovery import dnsmasq
from tests.mirrors import UPSTREAM, RunningMirror
from tests.waiting import wait_until


def services(registry: MockRegistry) -> tuple[str, ...]:
    """Return what dnsmasq is told of the one service there is now."""
    port = registry.host.rpartition(":")[2]
    return (f"--srv-host=_registry._tcp.test,localhost,{port},1,1",)


@pytest.mark.slow
@pytest.mark.real("dnsmasq")
def test_a_changed_answer_of_dns_changes_who_is_asked(tmp_path: Path) -> None:
    with MockRegistry() as first, MockRegistry() as second:
        first.add_image("team/app", "1")
        second.add_image("team/app", "2")
        port = free_port()
        mirror = RunningMirror(
            tmp_path / "mirror",
            more=f'[upstreams."{UPSTREAM}"]\ninsecure = true\n'
            f'discovery = "srv+http://_registry._tcp.test"\ndns_server = "127.0.0.1:{port}"\n',
        )
        try:
            with dnsmasq(tmp_path, options=services(first), port=port):
                wait_until(lambda: mirror.manifest("team/app", "1").status == 200)
            with dnsmasq(tmp_path, options=services(second), port=port):
                wait_until(lambda: mirror.manifest("team/app", "2").status == 200, seconds=30)
                second.clear_requests()
                first.clear_requests()
                mirror.pull("team/app", "2")
                assert second.count("GET", "*/blobs/*") > 0
                assert not first.requests
        finally:
            mirror.stop()
