"""Nothing grows without end, takes its time from others, or goes round in circles."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.adapters.cache_indexes import sqlite_contents, sqlite_names, sqlite_shelf
from entrepot.adapters.cache_indexes import sqlite_statements as sql
from entrepot.adapters.cache_indexes.sqlite import SqliteCacheIndex
from entrepot.adapters.cache_indexes.sqlite_schema import migrate
from entrepot.ports.cache_index import CacheEvent
from entrepot.rules.eviction import Evict, Move, Shelf
from entrepot.testing.cache_index_examples import (
    ALPINE,
    NOW,
    OLDEST_FIRST,
    SECOND_CHANCE,
    OldestFirst,
    digest,
    found,
    store,
)

Count = Callable[[str], int]


class Circles(OldestFirst):
    """A broken policy: it only ever moves the first entry."""

    def decide(self, shelf: Shelf, now: float, capacity: int) -> Evict | Move | None:
        first = shelf.first("all")
        return Move(first, first.placement) if first else None


@pytest.fixture
def count(path: Path) -> Count:
    def count(table: str) -> int:
        with closing(sqlite3.connect(path)) as connection:
            (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(rows)

    return count


async def test_the_oldest_events_are_dropped(
    index: SqliteCacheIndex, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_names, "MOST_EVENTS", 5)
    for number in range(9):
        await index.catalog.record(CacheEvent("tag.moved", ALPINE, f"{number}", "", NOW))
    assert [event.reference for event in await index.catalog.events(10)] == list("87654")
    assert count("event") == 5


async def test_who_asks_for_what_does_not_exist_does_not_fill_the_disk(
    index: SqliteCacheIndex, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_names, "MOST_ABSENT", 5)
    for number in range(9):
        await index.names.set_absent(ALPINE, f"{number}", 2e9 + NOW)
    assert count("absent") == 5
    assert await index.names.absent(ALPINE, "3") is None
    assert await index.names.absent(ALPINE, "8") == 2e9 + NOW


async def test_what_was_absent_expires(index: SqliteCacheIndex, count: Count) -> None:
    for number in range(9):
        await index.names.set_absent(ALPINE, f"{number}", 5.0)
    assert count("absent") == 1


async def test_only_the_last_evictions_are_remembered(
    index: SqliteCacheIndex, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_contents, "_FEWEST_GHOSTS", 3)
    for number in range(9):
        await store(index, f"{number}", policy=SECOND_CHANCE)
        for one in await index.contents.choose(SECOND_CHANCE, None, 1, 0, at=NOW):
            await index.contents.forget(one.digest)
    assert count("ghost") == 3


async def test_another_policy_takes_over_step_by_step(
    index: SqliteCacheIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_shelf, "ADOPTED_AT_ONCE", 2)
    for number in range(9):
        await store(index, f"{number}", 10, at=NOW + number, policy=SECOND_CHANCE)
    assert len(await index.contents.choose(OLDEST_FIRST, None, 50, 0, at=NOW)) == 5
    assert len(await index.contents.choose(OLDEST_FIRST, None, 100, 0, at=NOW)) == 4


async def test_a_policy_that_goes_round_in_circles_is_stopped(index: SqliteCacheIndex) -> None:
    await store(index, "layer")
    assert await index.contents.choose(Circles(), None, 1, 0, at=NOW) == []
    assert (await found(index, "layer")).state == "stored"


@pytest.mark.parametrize(
    "statement",
    ["TAG", "LINKED", "ABSENT", "FIND", "ENTRY", "FIRST", "FIRST_OF_UPSTREAM", "FILLED",
     "FILLED_OF_UPSTREAM", "STRAYS", "STRAYS_OF_UPSTREAM", "OLDEST_VERIFIED", "CONTENTS",
     "CONTENTS_OF_UPSTREAM", "EVICT", "FORGET", "TRIM_EXPIRED"],
)  # fmt: skip
def test_what_is_asked_often_walks_over_nothing(statement: str) -> None:
    text: str = getattr(sql, statement)
    parameters = (0,) * max(number for number in range(9) if f"?{number}" in text)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        plan = connection.execute(f"EXPLAIN QUERY PLAN {text}", parameters).fetchall()
    steps = [step for *_, step in plan]
    assert steps
    assert [step for step in steps if "SCAN" in step or "TEMP" in step] == []


async def test_unlinked_content_is_found_by_index(index: SqliteCacheIndex) -> None:
    await store(index, "layer")
    assert await index.catalog.unlinked(1) == [digest("layer")]
    rows = await index._reader.rows(f"EXPLAIN QUERY PLAN {sql.UNLINKED}", 1)
    assert [step for *_, step in rows] == ["SCAN content USING INDEX content_unlinked"]
