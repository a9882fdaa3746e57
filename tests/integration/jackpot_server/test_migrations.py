"""The jackpots database as the migrations leave it."""

import asyncio

import asyncpg

from service_kit.migrate import upgrade
from service_kit.schema import latest_version, schema_version

# What happened is only ever inserted; the rest is state under a lock.
CHANGEABLE = {"pools", "operators", "catalog", "audit_chains", "open_wins"}


async def test_several_first_migrations_at_once_leave_one_schema(empty_dsn: str) -> None:
    await asyncio.gather(*(upgrade(empty_dsn, "jackpot_server") for _ in range(4)))
    connection = await asyncpg.connect(empty_dsn)
    try:
        assert await schema_version(connection) == latest_version("jackpot_server") > 0
        assert await connection.fetchval("SELECT count(*) FROM catalog") == 1
    finally:
        await connection.close()


async def test_pr_02_the_application_may_change_only_state(jackpots_dsn: str) -> None:
    connection = await asyncpg.connect(jackpots_dsn)
    try:
        rights = await connection.fetch(
            "SELECT tablename,"
            "       has_table_privilege('jackpot_app', tablename::regclass, 'UPDATE') AS may_update,"
            "       has_table_privilege('jackpot_app', tablename::regclass, 'DELETE, TRUNCATE') AS may_delete"
            "  FROM pg_tables WHERE schemaname = 'public'"
        )
    finally:
        await connection.close()
    assert {row["tablename"] for row in rights if row["may_update"]} == CHANGEABLE
    # It follows from the events, and the audit derives it.
    assert [row["tablename"] for row in rights if row["may_delete"]] == ["open_wins"]
    assert len(rights) > 10


async def test_only_the_applications_role_may_connect(empty_dsn: str) -> None:
    await upgrade(empty_dsn, "jackpot_server")
    connection = await asyncpg.connect(empty_dsn)
    try:
        others = await connection.fetch(
            "SELECT rolname FROM pg_roles"
            " WHERE NOT rolsuper AND NOT pg_has_role(rolname, 'jackpot_app', 'MEMBER')"
            "   AND has_database_privilege(rolname, current_database(), 'CONNECT')"
        )
        may_connect = await connection.fetchval(
            "SELECT has_database_privilege('jackpot_app', current_database(), 'CONNECT')"
        )
    finally:
        await connection.close()
    assert may_connect
    assert others == []
