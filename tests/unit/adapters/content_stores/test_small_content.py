"""The memory for small content keeps what was used last, within its capacity."""

from entrepot.adapters.content_stores.small_content import SmallContent
from entrepot.oci.digest import Digest

ONE, TWO, THREE = (Digest.of(name) for name in (b"one", b"two", b"three"))


def test_content_is_remembered() -> None:
    small = SmallContent(100)
    small.add(ONE, b"1")
    assert (small.get(ONE), small.get(TWO)) == (b"1", None)


def test_what_was_used_longest_ago_makes_room() -> None:
    small = SmallContent(100)
    small.add(ONE, b"1" * 50)
    small.add(TWO, b"2" * 50)
    small.get(ONE)
    small.add(THREE, b"3")
    assert [small.get(digest) is not None for digest in (ONE, TWO, THREE)] == [True, False, True]


def test_what_is_dropped_or_added_again_is_counted_once() -> None:
    small = SmallContent(100)
    for _ in range(5):
        small.add(ONE, b"1" * 50)
        small.add(TWO, b"2" * 50)
        small.drop(TWO)
        small.drop(TWO)
    small.add(TWO, b"2" * 50)
    assert small.get(ONE) is not None
    assert small.get(TWO) is not None


def test_empty_content_is_remembered_too() -> None:
    small = SmallContent(100)
    small.add(ONE, b"")
    assert small.get(ONE) == b""


def test_without_capacity_nothing_is_remembered() -> None:
    small = SmallContent(0)
    small.add(ONE, b"1")
    assert small.get(ONE) is None
