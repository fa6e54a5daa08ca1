import pytest

from entrepot.protocol.rate_limits import Budget, parse_rate_limit, parse_retry_after


@pytest.mark.parametrize(
    ("headers", "budget"),
    [
        (
            {
                "ratelimit-limit": "100;w=21600",
                "ratelimit-remaining": "76;w=21600",
                "docker-ratelimit-source": "192.0.2.1",
            },
            Budget(100, 76, 21600, "192.0.2.1"),
        ),
        ({"ratelimit-limit": "10, 10;w=1, 50;w=60", "ratelimit-remaining": "9"}, Budget(10, 9, 1)),
        ({"ratelimit-policy": '"a";q=100;w=60', "ratelimit": '"a";r=50;t=30'}, Budget(100, 50, 60)),
        ({"ratelimit": "limit=100, remaining=50, reset=5"}, Budget(100, 50, None)),
        (
            {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "17"},
            Budget(5000, 0, None),
        ),
        ({"ratelimit-remaining": "7"}, Budget(None, 7, None)),
        ({"ratelimit-limit": "many", "ratelimit-remaining": "7;w=soon"}, Budget(None, 7, None)),
        ({"ratelimit-limit": "9" * 5000}, None),
        ({"ratelimit-reset": "5", "docker-ratelimit-source": "x"}, None),
        ({}, None),
    ],
)
def test_every_dialect_is_read(headers: dict[str, str], budget: Budget | None) -> None:
    assert parse_rate_limit(headers) == budget


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 50.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
        ("9" * 5000, None),
    ],
)
def test_a_pause_is_told_in_seconds_or_by_a_date(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, now=10.0) == seconds
