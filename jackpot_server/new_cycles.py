"""Every pool in a new cycle, under a root key that was never used: after a restore, or when a key is lost or
known to somebody (PR-13).
"""

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from jackpot_server import store
from jackpot_server.catalog_store import (
    LOCK_CATALOG,
    insert_commitments,
    insert_unwon_cycles,
    load_catalog,
    write_pool,
)
from jackpot_server.chains import append_batch
from jackpot_server.domain.cycles import next_cycle
from jackpot_server.domain.decision import (
    COMMITTED_AHEAD,
)
from jackpot_server.domain.evidence import Evidence
from jackpot_server.domain.pool import Lifecycle
from jackpot_server.keys import RootKeys
from jackpot_server.seeds import CommittedSeeds


class KeyWasUsed(Exception):
    """The newest root key has committed to seeds of this database before."""


class Begun(NamedTuple):
    """A pool, the cycle that has ended and the one that has begun."""

    pool_id: str
    ended_cycle: int
    cycle: int
    current_micros: int


async def begin_new_cycles(
    connection: asyncpg.Connection, root_keys: RootKeys, *, actor: str, reason: str
) -> list[Begun]:
    """All pools that are not closed, in one transaction; amounts stay as they are. Not to be repeated.

    Each continues behind the last cycle that was committed to, since the seeds of those may be known. Servers
    that run meanwhile need the new key. Raises KeyWasUsed, else what asyncpg raises.
    """
    async with connection.transaction():
        await connection.execute(LOCK_CATALOG)
        await _refuse_used(connection, root_keys.newest.key_id)
        locked = await store.lock_pools(connection, await _open_pools(connection), [])
        catalog = await load_catalog(connection)
        last_committed = {
            row["pool_key"]: row["cycle"] for row in await connection.fetch(READ_LAST_COMMITTED)
        }
        evidence = Evidence()
        pools = []
        begun = []
        for pool in locked.pools:
            newest = catalog.configs[pool.pool_key, pool.config_version].config
            after = next_cycle(pool, newest, locked.batch.now, last_committed[pool.pool_key] + 1)
            ended = range(pool.cycle, after.cycle)
            await insert_unwon_cycles(
                connection, locked.batch, evidence, pool, ended, actor=actor, reason=reason
            )
            await write_pool(connection, after)
            pools.append(after)
            cycles = range(after.cycle, after.cycle + COMMITTED_AHEAD + 1)
            await insert_commitments(
                connection,
                locked.batch,
                evidence,
                CommittedSeeds(root_keys).new([(pool.pool_key, cycle) for cycle in cycles], catalog.pool_ids),
            )
            begun.append(Begun(pool.pool_id, pool.cycle, after.cycle, after.current_micros))
        await append_batch(connection, locked.batch, evidence, pools)
    return begun


READ_OPEN_POOLS = "SELECT pool_key FROM pools WHERE state <> $1 ORDER BY pool_key"


async def _open_pools(connection: asyncpg.Connection) -> Sequence[int]:
    return [row["pool_key"] for row in await connection.fetch(READ_OPEN_POOLS, Lifecycle.CLOSED)]


READ_USE = "SELECT EXISTS (SELECT FROM seed_commitments WHERE key_id = $1)"


async def _refuse_used(connection: asyncpg.Connection, key_id: str) -> None:
    if await connection.fetchval(READ_USE, key_id):
        raise KeyWasUsed(
            f"The root key {key_id!r} has committed to cycles of this database before: "
            "new cycles need a new key, with an id that was never used."
        )


READ_LAST_COMMITTED = "SELECT pool_key, max(cycle) AS cycle FROM seed_commitments GROUP BY pool_key"
