"""The benchmark of eviction: its trace, its shelf, and what it draws."""

import json
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import pytest

from bench.eviction import Cache, Found, chart, missed, replayed, table, unlimited
from bench.harness.pull_trace import World, generated, published
from entrepot.rules.eviction_policies import PolicyName, policy_named
from tests.plain_shelf import PlainShelf

SMALL = World(repositories=12, bases=3, tags=6, nodes=4, sweeps=0.02)
FOUND = [
    Found("lru", 0.1, 0.5, 0.4, 7),
    Found("s3-fifo", 0.1, 0.6, 0.3, 8),
    Found("lru", 0.2, 0.7, 0.6, 3),
    Found("s3-fifo", 0.2, 0.6, 0.5, 4),
]


def test_a_seed_makes_a_trace() -> None:
    assert generated(50, 1, SMALL) == generated(50, 1, SMALL)
    assert generated(50, 1, SMALL) != generated(50, 2, SMALL)


def test_content_is_of_one_size_and_shared_between_tags() -> None:
    trace = generated(300, 1, SMALL)
    assert len(set(trace)) == len(dict(trace)) < len(trace) / 2
    runner = World(repositories=1, tags=1, runners=1.0, sweeps=0.0)
    image = generated(1, 1, runner)
    assert generated(3, 1, runner) == image * 3
    node = World(repositories=1, tags=1, nodes=1, runners=0.0, sweeps=0.0)
    assert generated(3, 1, node) == [*generated(1, 1, node), image[0], image[0]]


@pytest.mark.parametrize("name", get_args(PolicyName))
def test_the_shelf_of_heaps_evicts_what_a_plain_one_does(name: PolicyName) -> None:
    trace = generated(120, 3, SMALL)
    capacity = sum(dict(trace).values()) // 8
    fast = Cache(policy_named(name, 1e9), capacity)
    plain = PlainShelf(policy_named(name, 1e9), capacity, forgets=True)
    for now, (key, size) in enumerate(trace):
        assert fast.ask(key, size, float(now)) == plain.ask(key, size, float(now))
    assert fast.evicted == plain.evicted
    assert len(fast.evicted) > 50


def test_a_cache_of_everything_finds_all_but_the_first() -> None:
    trace = generated(100, 1, SMALL)
    whole = replayed(trace, "lru", 1.0)
    assert (whole.hits, whole.bytes) == pytest.approx(unlimited(trace))
    assert whole.evictions == 0


def test_a_published_trace_is_what_was_pulled_in_order_of_time(tmp_path: Path) -> None:
    def record(second: int, method: str, uri: str, status: int, size: int) -> dict[str, object]:
        return {
            "timestamp": f"2017-06-20T00:00:{second:02}.000Z",
            "http.request.method": method,
            "http.request.uri": uri,
            "http.response.status": status,
            "http.response.written": size,
        }

    file = tmp_path / "trace.json"
    records = [
        record(3, "GET", "v2/a/b/blobs/c", 200, 7),
        record(1, "GET", "v2/a/b/manifests/d", 200, 5),
        record(2, "PUT", "v2/a/b/blobs/c", 201, 0),
        record(4, "GET", "v2/a/b/blobs/e", 404, 9),
        record(5, "GET", "v2/", 200, 2),
        record(6, "GET", "v2/a/b/blobs/c", 200, 9),
    ]
    file.write_text(json.dumps(records))
    assert published([file]) == [
        ("v2/a/b/manifests/d", 5),
        ("v2/a/b/blobs/c", 9),
        ("v2/a/b/blobs/c", 9),
    ]


def test_the_table_has_a_line_for_each_policy() -> None:
    lines = table(FOUND, [("a", 1), ("a", 1)]).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["lru", "s3-fifo", "no limit"]
    assert "60.0 / 30.0" in lines[3]
    assert len({len(line) for line in lines}) == 1


def test_the_default_is_judged_where_room_is_scarce() -> None:
    assert missed(FOUND) == []
    worse = [Found("lru", 0.1, 0.5, 0.4, 7), Found("s3-fifo", 0.1, 0.4, 0.3, 8)]
    assert missed(worse) == ["s3-fifo finds 40.0% at 10%, lru 50.0%"]


def test_the_chart_has_a_line_for_each_policy_in_both_panels() -> None:
    drawn = ElementTree.fromstring(chart(FOUND))
    space = "{http://www.w3.org/2000/svg}"
    assert len(drawn.findall(f"{space}polyline")) == 4
    assert {"lru", "s3-fifo", "10 %"} <= {text.text for text in drawn.findall(f"{space}text")}
