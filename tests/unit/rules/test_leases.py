import pytest

from entrepot.rules.leases import renewal


@pytest.mark.parametrize(
    ("left", "until"),
    [
        (100.0, None),
        (51.0, None),
        (50.0, 1100.0),
        (1.0, 1100.0),
        (0.0, 1100.0),
        (-900.0, 1100.0),
    ],
)
def test_a_lease_is_renewed_once_half_of_it_is_over(left: float, until: float | None) -> None:
    assert renewal(1000.0 + left, lease=100.0, now=1000.0) == until


def test_a_lease_longer_than_the_present_setting_stays() -> None:
    assert renewal(9000.0, lease=100.0, now=1000.0) is None
