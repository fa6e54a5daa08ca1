"""What this machine runs."""

import pytest

from entrepot.services.local_platform import amd64_level, local_platform

V2 = ["cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"]
V3 = [*V2, "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"]
V4 = [*V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]


@pytest.mark.parametrize(
    ("flags", "level"),
    [([], "v1"), (V2, "v2"), (V2[1:], "v1"), (V3, "v3"), (V4, "v4"), (V4[1:], "v1")],
)
def test_a_processor_has_the_level_all_of_whose_parts_it_has(flags: list[str], level: str) -> None:
    assert amd64_level(flags) == level


def test_this_machine_has_a_platform() -> None:
    platform = local_platform()
    assert platform.os == "linux"
    assert platform == platform.normalised()
