"""Which tags are in a version range."""

import pytest

from entrepot.oci.errors import Unsupported
from entrepot.rules.version_range import Version, VersionRange


@pytest.mark.parametrize(
    ("constraint", "inside", "outside"),
    [
        ("1.2.3", ["1.2.3", "v1.2.3", "1.2.3+build"], ["1.2.4", "1.2.3-rc1", "1.2", "latest"]),
        ("1.2", ["1.2.0", "1.2", "1.2.9"], ["1.3", "1.1.9"]),
        ("=1", ["1", "1.9.9"], ["2"]),
        ("!=1.2.3", ["1.2.4"], ["1.2.3"]),
        (">1.2", ["1.3"], ["1.2.9", "1.2"]),
        (">=1.2, <2", ["1.2", "1.99"], ["2", "1.1"]),
        (">=1.2 <2", ["1.2", "1.99"], ["2", "1.1"]),
        ("<=1.2", ["1.2.9", "0.1"], ["1.3"]),
        ("~1.2.3", ["1.2.3", "1.2.9"], ["1.3", "1.2.2"]),
        ("~1", ["1.0", "1.9"], ["2"]),
        ("^1.2.3", ["1.2.3", "1.9"], ["2", "1.2.2"]),
        ("^0.2.3", ["0.2.9"], ["0.3", "0.2.2"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4"]),
        ("1.x", ["1.0", "1.9.9"], ["2"]),
        ("*", ["0.1", "99"], ["nightly"]),
        ("1.2 - 1.4", ["1.2", "1.4.9"], ["1.5", "1.1"]),
        ("^1.4 || ~2.0.1", ["1.5", "2.0.2"], ["2.1", "2.0.0", "3"]),
        (">= 2.0.0-0", ["2.0-rc1", "2.0", "3"], ["1.9"]),
        (">= 1", ["2"], ["2-rc1"]),
        ("> 1.0.0-alpha.2", ["1.0.0-alpha.10", "1.0.0-beta", "1"], ["1.0.0-alpha.1"]),
    ],
)
def test_a_range_holds(constraint: str, inside: list[str], outside: list[str]) -> None:
    found = VersionRange.parse(constraint)
    assert [tag for tag in inside if not found.accepts(tag)] == []
    assert [tag for tag in outside if found.accepts(tag)] == []


@pytest.mark.parametrize(
    "constraint", ["", "  ", "newest", ">", ">= 1 ||", "1.2.3.4", "<>1", "1 -"]
)
def test_what_is_no_range_is_refused(constraint: str) -> None:
    with pytest.raises(Unsupported, match="no version constraint"):
        VersionRange.parse(constraint)


def test_versions_are_in_the_order_of_semver() -> None:
    texts = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2"]
    texts += ["1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.10", "2"]
    versions = [Version.read(text) for text in texts]
    assert None not in versions
    shuffled = versions[1::2] + versions[::2]
    assert sorted(shuffled) == versions  # type: ignore[type-var]
