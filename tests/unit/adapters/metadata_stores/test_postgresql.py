"""PostgreSQL: connections that end, wait or are called off, and transactions that meet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Final

import psycopg
import pytest
from psycopg import errors

from entrepot.adapters.metadata_stores.database import Statement, Transaction
from entrepot.adapters.metadata_stores.postgresql import (
    ATTEMPTS,
    POOL_SIZE,
    PostgresqlDatabase,
    refusal,
)
from entrepot.adapters.metadata_stores.store import SqlMetadataStore
from entrepot.oci.errors import Denied, StoreFull, Unavailable
from entrepot.testing.metadata_store_examples import ALPHA, BETA, link
from entrepot.testing.postgresql import postgresql_or_skip

pytestmark = pytest.mark.real

COUNT_OTHERS: Final = Statement(
    sqlite="",
    postgresql="""
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'
    """,
)
LOCK: Final = Statement(
    sqlite="",
    postgresql="UPDATE repository SET created_at = created_at + 1 WHERE name = %(name)s",
)
TIME_OF: Final = Statement(
    sqlite="", postgresql="SELECT created_at FROM repository WHERE name = %(name)s"
)
NAP: Final = Statement(sqlite="", postgresql="SELECT pg_sleep(0.05)")
SYNCED: Final = Statement(sqlite="", postgresql="SHOW synchronous_commit")
LOST_RACE: Final = Statement(
    sqlite="", postgresql="DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$"
)


@pytest.fixture
async def store(postgresql_url: str) -> AsyncIterator[SqlMetadataStore]:
    store = await SqlMetadataStore.open(postgresql_url)
    await link(store, ALPHA, "layer")
    await link(store, BETA, "layer")
    yield store
    await store.close()


@pytest.fixture
async def database(store: SqlMetadataStore) -> PostgresqlDatabase:
    assert isinstance(store.database, PostgresqlDatabase)
    return store.database


async def test_connections_are_reused_and_limited(database: PostgresqlDatabase) -> None:
    await asyncio.gather(*(database.fetch_one(NAP) for _ in range(POOL_SIZE * 3)))
    assert await database.fetch_one(COUNT_OTHERS) == (POOL_SIZE,)


async def test_connections_that_the_server_ended_are_replaced(
    store: SqlMetadataStore, database: PostgresqlDatabase, postgresql_url: str
) -> None:
    await asyncio.gather(*(database.fetch_one(NAP) for _ in range(POOL_SIZE)))
    with closing(psycopg.connect(postgresql_url, autocommit=True)) as other:
        ended = other.execute(
            "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
        assert ended == (POOL_SIZE,)
    for _ in range(POOL_SIZE):
        await store.ping()


async def test_a_server_that_has_gone_is_unavailable() -> None:
    server = postgresql_or_skip()
    own = next(server)
    store = await SqlMetadataStore.open(own.url(own.create_database()))
    with pytest.raises(StopIteration):
        next(server)
    for _ in range(2):
        with pytest.raises(Unavailable, match="does not answer"):
            await store.ping()
        with pytest.raises(Unavailable, match="does not answer"):
            await link(store, ALPHA, "layer")
    await store.close()


async def test_what_is_called_off_is_undone_and_its_connection_used_again(
    database: PostgresqlDatabase, postgresql_url: str
) -> None:
    locked = asyncio.Event()

    async def lock_both(tx: Transaction) -> None:
        await tx.execute(LOCK, name=ALPHA)
        locked.set()
        await tx.execute(LOCK, name=BETA)

    before = await database.fetch_one(TIME_OF, name=ALPHA)
    async with await psycopg.AsyncConnection.connect(postgresql_url) as other:
        await other.execute(LOCK.postgresql, {"name": BETA})
        waiting = asyncio.create_task(database.write(lock_both))
        await locked.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await database.fetch_one(TIME_OF, name=ALPHA) == before
    await asyncio.gather(*(database.write(lock_both) for _ in range(POOL_SIZE)))


async def test_a_deadlock_is_run_again(database: PostgresqlDatabase) -> None:
    both_hold_one = asyncio.Barrier(2)
    runs = []

    async def lock(tx: Transaction, first: str, second: str) -> None:
        runs.append(first)
        await tx.execute(LOCK, name=first)
        if len(runs) <= 2:
            await both_hold_one.wait()
        await tx.execute(LOCK, name=second)

    before = await database.fetch_one(TIME_OF, name=ALPHA)
    assert before is not None
    await asyncio.gather(
        database.write(lock, ALPHA, BETA),
        database.write(lock, BETA, ALPHA),
    )
    assert len(runs) > 2
    assert await database.fetch_one(TIME_OF, name=ALPHA) == (before[0] + 2,)


async def test_who_always_loses_is_told_to_come_back(database: PostgresqlDatabase) -> None:
    runs = []

    async def lose(tx: Transaction) -> None:
        runs.append(tx)
        await tx.execute(LOST_RACE)

    with pytest.raises(Unavailable, match="try again"):
        await database.write(lose)
    assert len(runs) == ATTEMPTS


async def test_what_work_raises_is_raised_after_rolling_back(database: PostgresqlDatabase) -> None:
    async def refuse(tx: Transaction) -> None:
        await tx.execute(LOCK, name=ALPHA)
        raise Denied("no")

    before = await database.fetch_one(TIME_OF, name=ALPHA)
    with pytest.raises(Denied):
        await database.write(refuse)
    assert await database.fetch_one(TIME_OF, name=ALPHA) == before


@pytest.mark.parametrize(("durable", "setting"), [(True, "on"), (False, "off")])
async def test_durable_means_synced_at_every_commit(
    postgresql_url: str, durable: bool, setting: str
) -> None:
    database = await PostgresqlDatabase.open(postgresql_url, durable=durable)
    assert await database.fetch_one(SYNCED) == (setting,)
    await database.close()


def test_a_full_disk_is_a_full_store() -> None:
    assert isinstance(refusal(errors.DiskFull()), StoreFull)
    assert not isinstance(refusal(errors.TooManyConnections()), StoreFull)
