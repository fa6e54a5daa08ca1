"""PostgreSQL: connections that end, wait or are called off, and transactions that meet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Final
from urllib.parse import quote

import psycopg
import pytest
from psycopg import errors

from entrepot.adapters.metadata_stores import postgresql_pool
from entrepot.adapters.metadata_stores.database import Statement, Transaction
from entrepot.adapters.metadata_stores.postgresql import (
    ATTEMPTS,
    POOL_SIZE,
    PostgresqlDatabase,
    refusal,
)
from entrepot.adapters.metadata_stores.postgresql_pool import RESERVED
from entrepot.adapters.metadata_stores.store import SqlMetadataStore
from entrepot.oci.errors import Denied, StoreFull, Unavailable
from entrepot.testing.metadata_store_examples import ALPHA, BETA, digest, link
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
LIMIT: Final = Statement(sqlite="", postgresql="SELECT current_setting(%(name)s)")
DEMOTE: Final = Statement(
    sqlite="",
    postgresql="SELECT set_config('default_transaction_read_only', 'on', false), pg_sleep(0.05)",
)
WAITING: Final = Statement(
    sqlite="",
    postgresql="""
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
    """,
)
LONG_NAP: Final = Statement(sqlite="", postgresql="SELECT pg_sleep(60)")
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


async def setting(database: PostgresqlDatabase, name: str) -> object:
    row = await database.fetch_one(LIMIT, name=name)
    return row and row[0]


async def test_options_of_the_url_and_the_environment_are_kept(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def settings(url: str) -> list[object]:
        database = await PostgresqlDatabase.open(url, durable=False)
        names = ("search_path", "lock_timeout", "statement_timeout", "synchronous_commit")
        found = [await setting(database, name) for name in names]
        await database.close()
        return found

    options = "-c search_path=apart -c lock_timeout=1s"
    kept = ["apart", "1s", "15s", "off"]
    assert await settings(f"{postgresql_url}?options={quote(options)}") == kept
    monkeypatch.setenv("PGOPTIONS", options)
    assert await settings(postgresql_url) == kept


async def test_after_a_fail_over_the_next_write_finds_the_new_server(
    store: SqlMetadataStore, database: PostgresqlDatabase
) -> None:
    # As if the server that the open connections lead to had become a standby.
    await asyncio.gather(*(database.fetch_one(DEMOTE) for _ in range(POOL_SIZE)))
    with pytest.raises(Unavailable, match="does not answer"):
        await link(store, ALPHA, "lost")
    for number in range(POOL_SIZE):
        await link(store, ALPHA, f"layer {number}")


@asynccontextmanager
async def locked(url: str, table: str) -> AsyncIterator[None]:
    """Let another program hold a table to itself."""
    async with await psycopg.AsyncConnection.connect(url) as other:
        await other.execute(f"LOCK TABLE {table}")
        yield


async def test_a_lock_held_for_too_long_is_unavailable(
    store: SqlMetadataStore, postgresql_url: str
) -> None:
    url = f"{postgresql_url}?options={quote('-c lock_timeout=100ms')}"
    hasty = await SqlMetadataStore.open(url)
    async with locked(postgresql_url, "blob_link"):
        reads = [hasty.blobs.find(ALPHA, digest("layer")) for _ in range(POOL_SIZE)]
        for outcome in await asyncio.gather(*reads, return_exceptions=True):
            assert isinstance(outcome, Unavailable)
            assert "too busy" in outcome.message
        with pytest.raises(Unavailable, match="too busy"):
            await link(hasty, ALPHA, "more")
    await hasty.blobs.find(ALPHA, digest("layer"))
    await hasty.close()


async def test_writes_that_wait_leave_connections_to_reads(
    store: SqlMetadataStore, database: PostgresqlDatabase, postgresql_url: str
) -> None:
    async with await psycopg.AsyncConnection.connect(postgresql_url) as other:
        await other.execute(LOCK.postgresql, {"name": ALPHA})
        writes = [
            asyncio.create_task(database.write(lambda tx: tx.execute(LOCK, name=ALPHA)))
            for _ in range(POOL_SIZE * 2)
        ]
        while (await database.fetch_one(WAITING)) != (POOL_SIZE - RESERVED,):
            await store.ping()
        assert not any(write.done() for write in writes)
    await asyncio.gather(*writes)


async def test_waiting_for_a_connection_has_an_end(
    database: PostgresqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_pool, "WAIT_SECONDS", 0.05)
    naps = [asyncio.create_task(database.fetch_one(LONG_NAP)) for _ in range(POOL_SIZE)]
    await asyncio.sleep(0)  # each has taken its turn
    with pytest.raises(Unavailable, match="too many wait"):
        await database.fetch_one(SYNCED)
    for nap in naps:
        nap.cancel()
    await asyncio.gather(*naps, return_exceptions=True)
    assert await database.fetch_one(SYNCED) == ("on",)


async def test_a_server_that_stands_still_is_unavailable(
    database: PostgresqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(postgresql_pool, "LOAN_SECONDS", 0.05)
        with pytest.raises(Unavailable, match="takes too long"):
            await database.fetch_one(LONG_NAP)
    assert await database.fetch_one(SYNCED) == ("on",)
