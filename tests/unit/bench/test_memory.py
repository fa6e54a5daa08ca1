"""Pages count once: not per process that has them, and not less because strangers have them."""

from bench.harness.memory import KIB, file_bytes, read_sizes

LIBRARY = "7f0000000000-7f0000100000 r-xp 00002000 08:01 42 /usr/lib/libpython.so\n"
SAME_LATER = LIBRARY.replace("00002000", "00102000")
HEAP = "560000000000-560000100000 rw-p 00000000 00:00 0 [heap]\n"


def mapping(head: str, rss: int, anonymous: int) -> str:
    return f"{head}Size: 1024 kB\nRss: {rss} kB\nPss: 10 kB\nAnonymous: {anonymous} kB\n"


def test_a_file_that_several_processes_have_counts_once_as_the_largest() -> None:
    processes = [mapping(LIBRARY, 300, 0), mapping(LIBRARY, 400, 0), mapping(LIBRARY, 100, 0)]
    assert file_bytes(processes) == 400 * KIB


def test_parts_of_a_file_add_up() -> None:
    assert file_bytes([mapping(LIBRARY, 300, 0) + mapping(SAME_LATER, 50, 0)]) == 350 * KIB


def test_anonymous_pages_are_not_those_of_a_file() -> None:
    assert file_bytes([mapping(HEAP, 900, 900) + mapping(LIBRARY, 300, 120)]) == 180 * KIB


def test_sizes_of_a_rollup_are_read_in_bytes() -> None:
    text = "560000000000-7ffe00000000 ---p 00000000 00:00 0 [rollup]\nRss: 8 kB\nPss_Anon: 3 kB\n"
    assert read_sizes(text) == {"Rss": 8 * KIB, "Pss_Anon": 3 * KIB}
