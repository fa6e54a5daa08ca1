"""Metrics of a mirror with many upstreams."""

from entrepot.testing import MockRegistry
from entrepot.web.mirror_metrics import MOST_UNLISTED
from tests.integration.mirror.conftest import StartMirror
from tests.mirrors import upstream_table


def test_every_configured_upstream_is_counted_by_its_name(
    start_mirror: StartMirror, registry: MockRegistry
) -> None:
    registry.add_image("team/app", "1")
    names = [f"u{number}.test" for number in range(MOST_UNLISTED + 2)]
    quiet = {"probe_interval": '"0s"'}
    tables = [upstream_table(registry, name=name, settings=quiet) for name in names]
    mirror = start_mirror(more="\n".join(tables))
    for name in names:
        assert mirror.manifest("team/app", "1", method="HEAD", upstream=name).status == 200
    with mirror.client() as client:
        text = client.get("/metrics").body.decode()
    answers = [one for one in text.splitlines() if one.startswith("entrepot_mirror_answers_total")]
    assert all(any(f'upstream="{name}"' in line for line in answers) for name in names)
    assert not any('upstream="other"' in line for line in answers)
