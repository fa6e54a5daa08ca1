"""What an eviction policy sees of the content, and where it puts it.

A queue's name in the file begins with the policy's, so that content placed by another policy
(the setting was changed) is found, and placed anew, as room is made.
"""

import sqlite3
from typing import Any, Final

from entrepot.adapters.cache_indexes import sqlite_statements as sql
from entrepot.rules.eviction import Entry, Evict, Placement, Policy

ADOPTED_AT_ONCE: Final = 1_000
_MOVES_PER_ITEM: Final = 8
"""Moves without an eviction after which a policy is believed to go round in circles."""


class SqliteShelf:
    """A `rules.eviction.Shelf` of one upstream or of all (None), inside a transaction."""

    def __init__(
        self, connection: sqlite3.Connection, policy: Policy, upstream: str | None
    ) -> None:
        self._connection = connection
        self._policy = policy
        self._upstream = () if upstream is None else (upstream,)
        whole = upstream is None
        self._first = sql.FIRST if whole else sql.FIRST_OF_UPSTREAM
        self._filled = sql.FILLED if whole else sql.FILLED_OF_UPSTREAM
        self._strays = sql.STRAYS if whole else sql.STRAYS_OF_UPSTREAM

    def first(self, queue: str) -> Entry | None:
        row = self._row(self._first, queue_of(self._policy.name, queue))
        return None if row is None else entry(row)

    def filled(self, queue: str) -> int:
        row = self._row(self._filled, queue_of(self._policy.name, queue))
        assert row is not None, "a sum always has a row"
        return int(row[0])

    def adopt(self) -> int:
        """Place some of what another policy has placed; return how many those were.

        All at once would keep every writer waiting for seconds.
        """
        name = self._policy.name
        parameters = (f"{name}:", f"{name};", ADOPTED_AT_ONCE, *self._upstream)  # `:` < `;`
        strays = self._connection.execute(self._strays, parameters).fetchall()
        for *row, upstream, uses in strays:
            stray = entry(row)
            high = inflation(self._connection, name, upstream)
            place = self._policy.place(stray.size, stray.stored_at, inflation=high)
            if uses:
                fresh = Entry(stray.key, stray.size, stray.stored_at, stray.stored_at, place)
                place = self._policy.hit(fresh, stray.used_at, count=uses, inflation=high)
            put(self._connection, sql.PLACE, name, place, stray.key)
        return len(strays)

    def settle(self, at: float, capacity: int) -> Evict | None:
        """Move what the policy wants moved, until it says what to evict, or that nothing can go."""
        moves = 0
        while True:
            step = self._policy.decide(self, at, capacity)
            if step is None or isinstance(step, Evict):
                return step
            moves += 1
            if moves > _MOVES_PER_ITEM * self._items():
                return None
            put(self._connection, sql.PLACE, self._policy.name, step.placement, step.entry.key)

    def _items(self) -> int:
        row = self._row_of(sql.ITEMS)
        return int(row[0])

    def _row(self, statement: str, queue: str) -> Any:
        rows = self._connection.execute(statement, (queue, *self._upstream)).fetchall()
        return rows[0] if rows else None

    def _row_of(self, statement: str) -> Any:
        return self._connection.execute(statement).fetchall()[0]


def entry(row: Any) -> Entry:
    """Read the first seven columns of a row."""
    key, size, stored_at, used_at, queue, rank, counted = row[:7]
    placement = Placement(queue.partition(":")[2], rank, counted)
    return Entry(key, size, stored_at, used_at, placement)


def queue_of(policy: str, queue: str) -> str:
    """Return what a policy's queue is called in the file."""
    return f"{policy}:{queue}"


def inflation(connection: sqlite3.Connection, policy: str, upstream: str) -> float:
    """Return the inflation that content of an upstream is placed with: it stands on two shelves,
    the upstream's and that of all, and must not begin below what has gone from either."""
    ((value,),) = connection.execute(sql.INFLATION, (policy, upstream)).fetchall()
    return float(value)


def put(
    connection: sqlite3.Connection,
    statement: str,
    policy: str,
    place: Placement,
    *parameters: object,
) -> None:
    """Run a statement whose last parameters are a placement."""
    placed = (queue_of(policy, place.queue), place.rank, place.uses)
    connection.execute(statement, (*parameters, *placed))
