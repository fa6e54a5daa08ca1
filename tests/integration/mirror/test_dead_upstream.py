"""An upstream that is gone does not delay what is cached, whatever the settings (HA-05, CA-02)."""

from entrepot.testing import MockRegistry
from tests.integration.mirror.conftest import StartMirror

NAME = "team/app"


def test_a_dead_upstream_is_asked_once_for_what_is_cached(start_mirror: StartMirror) -> None:
    """With several workers and the default settings: nobody waits out pauses between attempts,
    which the log would show as further attempts for one question."""
    with MockRegistry() as registry:
        registry.add_image(NAME, "1")
        mirror = start_mirror(registry)
        mirror.pull(NAME, "1")
        before = attempts(mirror.log())
    answer = mirror.manifest(NAME, "1")
    assert answer.status == 200
    assert answer.header("Warning") is not None
    assert attempts(mirror.log()) == before + 1


def attempts(log: str) -> int:
    """Return how often the upstream was asked for a tag's head."""
    return sum('"operation": "head"' in line for line in log.splitlines())
