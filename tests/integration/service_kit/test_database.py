"""Connections on a real PostgreSQL: limits, durability, and what an error says."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from devstack.postgres import Cluster
from service_kit.database import (
    Trouble,
    assert_durable,
    classify,
    connect,
    create_pool,
    failure_of,
)
from service_kit.errors import StartRefused
from tests.integration.service_kit.wallet_double import settings
from tests.support.waiting import eventually

READ_LIMITS = """
SELECT name, setting FROM pg_settings
WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'application_name')
"""


async def limits(connection: asyncpg.Connection) -> dict[str, str]:
    return {row["name"]: row["setting"] for row in await connection.fetch(READ_LIMITS)}


async def trouble_of(connection: asyncpg.Connection, statement: str, *arguments: object) -> Trouble:
    with pytest.raises(Exception) as caught:
        await connection.execute(statement, *arguments)
    return classify(caught.value)


async def test_every_time_out_is_set(empty_dsn: str) -> None:
    connection = await connect(
        empty_dsn,
        application_name="spin_server committer",
        lock_timeout_ms=111,
        statement_timeout_ms=2222,
        idle_in_transaction_timeout_ms=3333,
    )
    assert await limits(connection) == {
        "application_name": "spin_server committer",
        "lock_timeout": "111",
        "statement_timeout": "2222",
        "idle_in_transaction_session_timeout": "3333",
    }
    await connection.close()


async def test_a_pool_has_the_limits_of_the_settings_and_opens_nothing_before_its_use(empty_dsn: str) -> None:
    chosen = settings(
        database_dsn=SecretStr(empty_dsn), database_lock_timeout_ms=222, database_statement_timeout_ms=1234
    )
    pool = await chosen.create_pool("spin_server reads")
    assert pool.get_size() == 0
    async with pool.acquire() as connection:
        found = await limits(connection)  # type: ignore[arg-type]
    assert (found["lock_timeout"], found["statement_timeout"]) == ("222", "1234")
    await pool.close()


async def test_the_committers_lock_timeout_may_differ(empty_dsn: str) -> None:
    connection = await settings(database_dsn=SecretStr(empty_dsn)).connect("committer", lock_timeout_ms=50)
    assert (await limits(connection))["lock_timeout"] == "50"
    await connection.close()


async def test_a_pool_starts_while_the_database_is_away(unused_tcp_port: int) -> None:
    pool = await create_pool(f"postgresql://nobody@127.0.0.1:{unused_tcp_port}/none", application_name="x")
    with pytest.raises(OSError) as caught:
        await pool.fetchval("SELECT 1")
    assert failure_of(caught.value) is not None
    await pool.close()


async def test_a_read_takes_one_round_trip(empty_dsn: str) -> None:
    pool = await create_pool(empty_dsn, application_name="one trip", max_size=1)
    looker = await asyncpg.connect(empty_dsn)
    assert await pool.fetchval("SELECT 17") == 17
    last = "SELECT query FROM pg_stat_activity WHERE application_name = 'one trip'"
    assert await looker.fetchval(last) == "SELECT 17"
    await looker.close()
    await pool.close()


async def test_a_transaction_that_a_read_left_open_is_rolled_back(empty_dsn: str) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    pool = await create_pool(empty_dsn, application_name="x", max_size=1)
    async with pool.acquire() as connection:
        await connection.execute("BEGIN; CREATE TABLE forgotten ()")
    assert await pool.fetchval("SELECT to_regclass('forgotten')") is None
    await pool.close()


async def test_a_durable_database_is_taken(empty_dsn: str) -> None:
    connection = await connect(empty_dsn, application_name="x")
    assert await assert_durable(connection, allow_unsafe=False) == []
    await connection.close()


async def test_a_session_that_does_not_wait_for_the_disk_is_refused_unless_allowed(empty_dsn: str) -> None:
    connection = await connect(empty_dsn, application_name="x")
    await connection.execute("SET synchronous_commit = off")
    with pytest.raises(StartRefused, match="synchronous_commit = off"):
        await assert_durable(connection, allow_unsafe=False)
    assert await assert_durable(connection, allow_unsafe=True) == ["synchronous_commit"]
    await connection.close()


def test_a_server_that_may_forget_is_refused_unless_allowed(tmp_path: Path) -> None:
    """The one server of the tests that is not durable: it is what must be refused."""
    forgetful = Cluster(tmp_path, password="x", settings={"fsync": "off", "full_page_writes": "off"})
    forgetful.start()

    async def look() -> None:
        connection = await connect(forgetful.dsn(), application_name="x")
        with pytest.raises(StartRefused, match="fsync = off, full_page_writes = off"):
            await assert_durable(connection, allow_unsafe=False)
        assert await assert_durable(connection, allow_unsafe=True) == ["fsync", "full_page_writes"]
        await connection.close()

    try:
        asyncio.run(look())
    finally:
        forgetful.stop()


async def test_a_lock_that_is_not_had_in_time_is_a_lock_timeout(empty_dsn: str) -> None:
    holder = await connect(empty_dsn, application_name="holder")
    await holder.execute("CREATE TABLE rows (id int PRIMARY KEY); INSERT INTO rows VALUES (1)")
    waiter = await connect(empty_dsn, application_name="waiter", lock_timeout_ms=30)
    async with holder.transaction():
        await holder.execute("SELECT FROM rows WHERE id = 1 FOR UPDATE")
        assert await trouble_of(waiter, "SELECT FROM rows WHERE id = 1 FOR UPDATE") is Trouble.LOCK_TIMEOUT
    await waiter.close()
    await holder.close()


async def test_a_statement_that_takes_too_long_is_ended_by_the_server(empty_dsn: str) -> None:
    connection = await connect(empty_dsn, application_name="x", statement_timeout_ms=50)
    assert await trouble_of(connection, "SELECT pg_sleep(10)") is Trouble.LOCK_TIMEOUT
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_a_deadlock_is_a_conflict(empty_dsn: str) -> None:
    first = await connect(empty_dsn, application_name="a", lock_timeout_ms=10_000)
    second = await connect(empty_dsn, application_name="b", lock_timeout_ms=10_000)
    await first.execute("CREATE TABLE rows (id int PRIMARY KEY); INSERT INTO rows VALUES (1), (2)")
    lock = "SELECT FROM rows WHERE id = $1 FOR UPDATE"

    async def second_lock(connection: asyncpg.Connection, row: int) -> Exception | None:
        try:
            await connection.execute(lock, row)
        except asyncpg.PostgresError as error:
            return error
        finally:
            await connection.execute("ROLLBACK")
        return None

    for connection, row in ((first, 1), (second, 2)):
        await connection.execute("BEGIN")
        await connection.execute(lock, row)
    errors = await asyncio.gather(second_lock(first, 2), second_lock(second, 1))
    (victim,) = [error for error in errors if error is not None]
    assert classify(victim) is Trouble.CONFLICT
    await first.close()
    await second.close()


async def test_a_unique_violation_is_a_conflict_and_bad_data_is_poison(empty_dsn: str) -> None:
    connection = await connect(empty_dsn, application_name="x")
    await connection.execute(
        "CREATE TABLE rows (id int PRIMARY KEY CHECK (id > 0)); INSERT INTO rows VALUES (1)"
    )
    insert = "INSERT INTO rows VALUES ($1)"
    assert await trouble_of(connection, insert, 1) is Trouble.CONFLICT
    assert await trouble_of(connection, insert, -1) is Trouble.POISON
    assert await trouble_of(connection, insert, 2**40) is Trouble.POISON
    assert await trouble_of(connection, insert, "one") is Trouble.POISON
    assert await trouble_of(connection, "INSERT INTO rows SELECT 1/0") is Trouble.POISON
    assert await trouble_of(connection, "INSERT INTO nowhere VALUES (1)") is Trouble.POISON
    await connection.close()


async def test_a_backend_that_is_killed_says_nothing_about_the_outcome(empty_dsn: str) -> None:
    connection = await connect(empty_dsn, application_name="x")
    killing = "SELECT pg_terminate_backend(pg_backend_pid())"
    assert await trouble_of(connection, killing) is Trouble.UNKNOWN
    assert await trouble_of(connection, "SELECT 1") is Trouble.UNKNOWN


async def test_a_transaction_left_open_is_ended_by_the_server(empty_dsn: str) -> None:
    connection = await connect(empty_dsn, application_name="x", idle_in_transaction_timeout_ms=50)
    await connection.execute("BEGIN")
    await eventually(connection.is_closed)
    assert await trouble_of(connection, "COMMIT") is Trouble.UNKNOWN


async def test_a_server_turned_read_only_says_nothing_about_the_outcome(empty_dsn: str) -> None:
    """What a committer meets after a failover, still connected to what is a standby now."""
    connection = await connect(empty_dsn, application_name="x")
    await connection.execute("CREATE TABLE rows (id int); SET default_transaction_read_only = on")
    assert await trouble_of(connection, "INSERT INTO rows VALUES (1)") is Trouble.UNKNOWN
    await connection.close()


async def test_a_table_changed_by_a_migration_costs_one_retry(empty_dsn: str) -> None:
    connection = await connect(empty_dsn, application_name="x")
    other = await connect(empty_dsn, application_name="y")
    await connection.execute("CREATE TABLE rows (id int); INSERT INTO rows VALUES (1)")
    read = "SELECT * FROM rows WHERE id = $1"
    await connection.fetch(read, 1)
    await other.execute("ALTER TABLE rows ADD COLUMN more int")
    async with connection.transaction():
        with pytest.raises(asyncpg.PostgresError) as caught:
            await connection.fetch(read, 1)
        assert classify(caught.value) is Trouble.CONFLICT
        await connection.execute("ROLLBACK")
        await connection.execute("BEGIN")
    assert len(await connection.fetch(read, 1)) == 1
    await connection.close()
    await other.close()
