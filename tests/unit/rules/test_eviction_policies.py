"""Traces replayed to victims that were worked out by hand (CA-03)."""

from typing import get_args

import pytest

from entrepot.rules.eviction import Entry, Evict, Move, Placement
from entrepot.rules.eviction_policies import PolicyName, policy_named
from tests.plain_shelf import PlainShelf

POLICIES = get_args(PolicyName)
MIB = 1024 * 1024


def replay(
    name: PolicyName, trace: str, capacity: int, sizes: dict[str, int] | None = None
) -> PlainShelf:
    """Ask for each letter in turn, one a second; each is of 1 MiB unless told otherwise."""
    shelf = PlainShelf(policy_named(name, 10.0), capacity * MIB)
    for second, key in enumerate(trace.replace(" ", ""), 1):
        shelf.ask(key, (sizes or {}).get(key, 1) * MIB, float(second))
    return shelf


@pytest.mark.parametrize(
    ("name", "trace", "capacity", "victims"),
    [
        # a is used again, so b is the oldest when d comes; then c, then a.
        pytest.param("lru", "abc a d e f", 3, "bca", id="lru, the oldest use goes"),
        pytest.param("lru", "abab cd", 2, "ab", id="lru, often used counts nothing"),
        # a 3 uses, b 2, c 1; c goes for d, d (1 use on level 1 = 2) ties with b, b is older.
        pytest.param("lfu", "aaa bb c d e", 3, "cb", id="lfu, the seldom used goes"),
        # all used once: the one used longest ago goes, and leaves the level at 1, 2, 3.
        pytest.param("lfu", "abc d e f", 3, "abc", id="lfu, among equals the oldest"),
        # a has 4 uses. b, c, d, e go at 1, 2, 3, 4: e stands at 4 like a, but a is older.
        pytest.param("lfu", "aaaa bcdef", 2, "bcda", id="lfu, old fame fades"),
        pytest.param("ttl", "abc aaa d e", 3, "ab", id="ttl, the oldest goes though used"),
        # Small may fill a tenth: here it is always looked at first. Nothing is used twice.
        pytest.param("s3-fifo", "abc d e f", 3, "abc", id="s3-fifo, once only goes in order"),
        # a is used again and moves to main when room is needed; b, c go through small.
        pytest.param("s3-fifo", "abc a d e f", 3, "bcd", id="s3-fifo, used again stays"),
        # a goes and is remembered; asked for again it stands in main, and outlives c, d, e.
        pytest.param("s3-fifo", "ab c a d e f", 2, "abcde", id="s3-fifo, come back stays"),
        # abc move to main, where a is the first; d and e are not used again in small.
        pytest.param("s3-fifo", "abc abc d e f", 3, "ade", id="s3-fifo, a full main gives way"),
    ],
)
def test_a_trace_ends_with_these_victims(
    name: PolicyName, trace: str, capacity: int, victims: str
) -> None:
    """CA-03: replayed, each policy evicts what was worked out by hand, in that order."""
    assert "".join(replay(name, trace, capacity).evicted) == victims


def test_gdsf_lets_the_large_go_before_the_small() -> None:
    """CA-03: the fewest uses per MiB go: a has 1/8; then d has 1/8, and with 10 uses 10/8, more
    than b's 1."""
    sizes = {"a": 8, "b": 1, "c": 2, "d": 8, "e": 1}
    assert replay("gdsf", "abc d", 12, sizes).evicted == ["a"]
    assert replay("gdsf", "b cccc d e", 11, sizes).evicted == ["d"]
    assert replay("gdsf", "b ccccc dddddddddd e", 11, sizes).evicted == ["b"]


def test_gdsf_lets_old_fame_fade() -> None:
    """a is worth 4 per MiB; each newcomer starts 1 above the one that went before."""
    assert replay("gdsf", "aaaa bcdef", 2).evicted == ["b", "c", "d", "a"]


def test_only_as_much_goes_as_is_needed() -> None:
    sizes = {"a": 1, "b": 3, "c": 1, "d": 4}
    shelf = replay("lru", "abc d", 5, sizes)
    assert (shelf.evicted, shelf.size()) == (["a", "b"], 5 * MIB)


def test_ttl_lets_what_is_too_old_go_though_there_is_room() -> None:
    """CA-03: content_ttl is 10 s here."""
    shelf = replay("ttl", "abc", 9)
    shelf.tidy(11.9)
    assert shelf.evicted == ["a"]
    shelf.tidy(13.0)
    assert shelf.evicted == ["a", "b", "c"]


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "ttl"])
def test_other_policies_keep_what_there_is_room_for(name: PolicyName) -> None:
    shelf = replay(name, "abc", 9)
    shelf.tidy(1e9)
    assert shelf.evicted == []


@pytest.mark.parametrize("name", POLICIES)
def test_pins_are_kept(name: PolicyName) -> None:
    """CA-03: what is pinned never goes, and where all is pinned nothing does."""
    shelf = replay(name, "ab", 2)
    shelf.pinned = {"a"}
    shelf.ask("c", MIB, 3.0)
    shelf.ask("d", MIB, 4.0)
    assert shelf.evicted == ["b", "c"]
    shelf.pinned = {"a", "d"}
    shelf.ask("e", MIB, 5.0)
    assert shelf.evicted == ["b", "c"]


@pytest.mark.parametrize("name", POLICIES)
def test_an_empty_shelf_has_nothing_to_give(name: PolicyName) -> None:
    shelf = PlainShelf(policy_named(name, 10.0), MIB)
    assert shelf.policy.name == name
    assert shelf.policy.decide(shelf, 1.0, MIB) is None
    assert shelf.policy.overdue(shelf, 1.0) is None


def test_uses_that_are_noted_late_make_nothing_older() -> None:
    policy = policy_named("lru", 10.0)
    entry = Entry("a", 1, 5.0, 9.0, Placement("main", 9.0, 1))
    assert policy.hit(entry, 7.0, count=4) == Placement("main", 9.0, 5)


def test_s3_fifo_looks_at_the_small_queue_once_it_fills_its_share() -> None:
    policy = policy_named("s3-fifo", 10.0)
    shelf = PlainShelf(policy, 100)
    shelf.entries = {
        "s": Entry("s", 9, 2, 2, Placement("small", 2.0, 0)),
        "m": Entry("m", 90, 1, 1, Placement("main", 1.0, 0)),
    }
    assert policy.decide(shelf, 3.0, 100) == Evict(shelf.entries["m"])
    shelf.entries["t"] = Entry("t", 1, 3, 3, Placement("small", 3.0, 0))
    assert policy.decide(shelf, 3.0, 100) == Evict(shelf.entries["s"], remember=True)


def test_s3_fifo_counts_few_uses_and_each_buys_a_round() -> None:
    policy = policy_named("s3-fifo", 10.0)
    entry = Entry("m", 1, 1, 1, Placement("main", 1.0, 2))
    assert policy.hit(entry, 9.0, count=50) == Placement("main", 1.0, 3)
    shelf = PlainShelf(policy, 100, {"m": entry})
    assert policy.decide(shelf, 9.0, 100) == Move(entry, Placement("main", 9.0, 1))


def test_s3_fifo_is_fair_though_the_clock_stands_still() -> None:
    """All of main was used; b least, so b goes first, though a comes before it."""
    policy = policy_named("s3-fifo", 10.0)
    uses = {"a": 3, "b": 1, "c": 2}
    shelf = PlainShelf(policy, 3)
    shelf.entries = {
        key: Entry(key, 1, 1, 1, Placement("main", float(order), uses[key]))
        for order, key in enumerate("abc")
    }
    assert shelf.make_room(2, 9.0) is not None
    assert shelf.evicted == ["b", "c"]
