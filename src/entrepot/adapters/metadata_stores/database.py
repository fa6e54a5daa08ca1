"""What both engines have in common: statements, transactions, and how to run one.

The nouns (`blobs`, `manifests`, …) are written once against these protocols; `sqlite` and
`postgresql` implement them. No SQL here.
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

Value = str | int | float | list[str] | list[int] | None
Row = tuple[Any, ...]
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with named parameters, in the words of each engine."""

    sqlite: str
    postgresql: str


class Conflict(Exception):
    """A concurrent transaction came in between: roll back and run the work again."""


class Reader(Protocol):
    """What can be read from, inside a transaction or outside."""

    async def fetch_one(self, statement: Statement, /, **parameters: Value) -> Row | None:
        """Run a statement that yields at most one row; return it or None."""
        ...

    async def fetch_all(self, statement: Statement, /, **parameters: Value) -> list[Row]:
        """Run a statement and return every row."""
        ...

    def elements(self, values: Sequence[str] | Sequence[int]) -> Value:
        """Return a list in the form in which this engine takes one as a parameter."""
        ...


class Transaction(Reader, Protocol):
    """An open transaction. Work that raises is rolled back whole."""

    async def execute(self, statement: Statement, /, **parameters: Value) -> int:
        """Run a statement that yields no rows; return how many it touched."""
        ...


class Database(Reader, Protocol):
    """A database of either engine. Reads outside a transaction see all that is committed.

    Everything raises Unavailable if the database cannot be used, and StoreFull if it has no
    space left.
    """

    async def write(
        self,
        work: Callable[Concatenate[Transaction, P], Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `work(transaction, …)` in one transaction, commit, and return its result.

        The work awaits nothing but the transaction and has no other effect, because it is run
        again after a conflict. What it raises is raised here, after rolling back.
        """
        ...

    async def close(self) -> None:
        """End running transactions, then give back connections."""
        ...
