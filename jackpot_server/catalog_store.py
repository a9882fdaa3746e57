"""Pools, configurations and seed commitments as the database has them."""

from collections.abc import Collection, Iterable
from dataclasses import astuple, dataclass

import asyncpg

from jackpot_server.domain.catalog import Catalog, PoolLabel, StoredConfig
from jackpot_server.domain.evidence import ENTRIES, POOL_CONFIGS, SEED_COMMITMENTS, UNWON_CYCLES, Evidence
from jackpot_server.domain.facts import Batch, Entry
from jackpot_server.domain.plan import Configured
from jackpot_server.domain.pool import (
    Lifecycle,
    PoolConfig,
    PoolState,
    canonical_text,
    config_digest,
    parse_canonical,
)
from jackpot_server.domain.trigger import deadline_of_cycle
from jackpot_server.recall import POOL_COLUMNS, pool_of
from jackpot_server.seeds import Commitment

READ_VERSION = "SELECT version FROM catalog"
READ_POOLS = "SELECT pool_key, pool_id, config_version, state FROM pools ORDER BY pool_key"
READ_CONFIGS = "SELECT pool_key, version, config, config_sha256 FROM pool_configs"


async def load_catalog(connection: asyncpg.Connection) -> Catalog:
    """All pools and configurations. The version is read first: what is added meanwhile makes it outdated."""
    version: int = await connection.fetchval(READ_VERSION)
    pools = await connection.fetch(READ_POOLS)
    configs = {
        (row["pool_key"], row["version"]): StoredConfig(parse_canonical(row["config"]), row["config_sha256"])
        for row in await connection.fetch(READ_CONFIGS)
    }
    pool_ids = {row["pool_key"]: row["pool_id"] for row in pools}
    return Catalog(
        version=version,
        pool_ids=pool_ids,
        pool_keys={pool_id: pool_key for pool_key, pool_id in pool_ids.items()},
        newest={row["pool_key"]: row["config_version"] for row in pools},
        configs=configs,
        labels={
            (pool_key, number): PoolLabel(pool_ids[pool_key], stored.config.tier)
            for (pool_key, number), stored in configs.items()
            if pool_key in pool_ids
        },
        closed=frozenset(row["pool_key"] for row in pools if row["state"] == Lifecycle.CLOSED),
    )


READ_COMMITMENTS = """
SELECT c.pool_key, c.cycle, c.key_id, c.commitment
  FROM seed_commitments c
  JOIN pools p USING (pool_key)
 WHERE c.cycle >= p.cycle AND ($1::integer[] IS NULL OR c.pool_key = ANY($1))
 ORDER BY c.pool_key, c.cycle
"""


async def read_commitments(
    connection: asyncpg.Connection, pool_keys: Collection[int] | None = None
) -> list[Commitment]:
    """Of each pool's running and next cycles; None: of all pools."""
    return [Commitment(*row) for row in await connection.fetch(READ_COMMITMENTS, pool_keys)]


@dataclass(frozen=True, slots=True)
class KnownPool:
    """A pool and what it is configured to be, locked by `lock_all`."""

    pool_key: int
    pool_id: str
    config_version: int
    configured: Configured


# One who changes the catalog at a time; the pools stay locked, so that no batch decides meanwhile.
LOCK_CATALOG = "SELECT version FROM catalog FOR UPDATE"
LOCK_ALL_POOLS = "SELECT pool_key FROM pools ORDER BY pool_key FOR NO KEY UPDATE"
READ_CONFIGURED = """
SELECT p.pool_key, p.pool_id, p.config_version, p.state, newest.config AS newest, of_cycle.config AS of_cycle
  FROM pools p
  JOIN pool_configs newest ON newest.pool_key = p.pool_key AND newest.version = p.config_version
  JOIN pool_configs of_cycle ON of_cycle.pool_key = p.pool_key AND of_cycle.version = p.cycle_config_version
"""


async def lock_all(connection: asyncpg.Connection) -> list[KnownPool]:
    """Locks the catalog, then every pool; all of them as they are now."""
    await connection.execute(LOCK_CATALOG)
    await connection.execute(LOCK_ALL_POOLS)
    return [_known(row) for row in await connection.fetch(READ_CONFIGURED)]


def _known(row: asyncpg.Record) -> KnownPool:
    newest, of_cycle = (parse_canonical(row[name]) for name in ("newest", "of_cycle"))
    configured = Configured(newest, of_cycle, Lifecycle(row["state"]))
    return KnownPool(row["pool_key"], row["pool_id"], row["config_version"], configured)


INSERT_POOL = f"""
INSERT INTO pools (
       create_batch_id, update_time, cycle_start_time, pool_id, currency_code, state, config_version,
       cycle_config_version, cycle, cycle_start_micros, current_micros, reserve_micros, overflow_micros,
       version, cycle_deadline)
VALUES ($1, $2, $2, $3, $4, $5, 1, 1, 1, $6, $6, 0, 0, 1, $7)
RETURNING {POOL_COLUMNS}
"""


async def insert_pool(
    connection: asyncpg.Connection,
    batch: Batch,
    pool_id: str,
    config: PoolConfig,
    state: Lifecycle,
    opening_micros: int,
) -> PoolState:
    """A new pool. The configuration follows as version 1, the entries with the batch."""
    row = await connection.fetchrow(
        INSERT_POOL,
        *batch,
        pool_id,
        config.currency_code,
        state,
        opening_micros,
        deadline_of_cycle(config.trigger, batch.now, None),
    )
    assert row is not None
    return pool_of(tuple(row))


INSERT_CONFIG = """
INSERT INTO pool_configs (batch_id, create_time, pool_key, version, config, config_sha256, actor, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""


async def insert_config(
    connection: asyncpg.Connection,
    batch: Batch,
    evidence: Evidence,
    pool_key: int,
    version: int,
    config: PoolConfig,
    *,
    actor: str,
    reason: str,
) -> None:
    """A new version of a pool's configuration, with who made it and why (PR-08)."""
    text = canonical_text(config)
    row = (pool_key, version, text, config_digest(text), actor, reason)
    await connection.execute(INSERT_CONFIG, *batch, *row)
    evidence.add(POOL_CONFIGS, [row])


POINT_TO_CONFIG = f"""
UPDATE pools
   SET config_version = $3, version = version + 1, update_time = $1
 WHERE pool_key = $2
RETURNING {POOL_COLUMNS}
"""


async def point_to_config(
    connection: asyncpg.Connection, batch: Batch, pool_key: int, version: int
) -> PoolState:
    """Makes a version the pool's newest; the pool after it."""
    row = await connection.fetchrow(POINT_TO_CONFIG, batch.now, pool_key, version)
    assert row is not None
    return pool_of(tuple(row))


WRITE_POOL = """
UPDATE pools
   SET state = $2, config_version = $3, cycle_config_version = $4, cycle = $5, cycle_start_micros = $6,
       cycle_start_time = $7, current_micros = $8, reserve_micros = $9, overflow_micros = $10, version = $11,
       update_time = $12, last_win_minor = $13, last_win_time = $14, cycle_deadline = $15
 WHERE pool_key = $1
"""


async def write_pool(connection: asyncpg.Connection, pool: PoolState) -> None:
    """A locked pool as it is now."""
    pool_key, _, _, *values, _ = astuple(pool)  # people change no counts
    await connection.execute(WRITE_POOL, pool_key, *values)


INSERT_UNWON = """
INSERT INTO unwon_cycles (batch_id, end_time, pool_key, cycle, config_version, cycle_start_micros,
                          cycle_start_time, cycle_deadline, actor, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""


async def insert_unwon_cycles(
    connection: asyncpg.Connection,
    batch: Batch,
    evidence: Evidence,
    before: PoolState,
    cycles: Iterable[int],
    *,
    actor: str,
    reason: str,
) -> None:
    """Cycles of a pool that ended without a win, the running one and those that will never open."""
    opening = (
        before.cycle_config_version,
        before.cycle_start_micros,
        before.cycle_start_time,
        before.cycle_deadline,
    )
    unwon = [(before.pool_key, cycle, *opening, actor, reason) for cycle in cycles]
    await connection.executemany(INSERT_UNWON, [(*batch, *row) for row in unwon])
    evidence.add(UNWON_CYCLES, unwon)


INSERT_COMMITMENT = """
INSERT INTO seed_commitments (batch_id, commit_time, pool_key, cycle, key_id, commitment)
VALUES ($1, $2, $3, $4, $5, $6)
"""


async def insert_commitments(
    connection: asyncpg.Connection, batch: Batch, evidence: Evidence, commitments: Collection[Commitment]
) -> None:
    """Commits to the seeds of cycles that no spin has seen yet."""
    await connection.executemany(INSERT_COMMITMENT, [(*batch, *each) for each in commitments])
    evidence.add(SEED_COMMITMENTS, commitments)


INSERT_ENTRY = """
INSERT INTO entries (
       batch_id, entry_number, account, kind, pool_key, operator_id, currency_code, amount_micros)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""


async def insert_entries(
    connection: asyncpg.Connection, batch: Batch, evidence: Evidence, entries: Collection[Entry]
) -> None:
    """All movements of a batch."""
    rows = [(number, *entry) for number, entry in enumerate(entries, 1)]
    await connection.executemany(INSERT_ENTRY, [(batch.batch_id, *row) for row in rows])
    evidence.add(ENTRIES, rows)


BUMP_VERSION = "UPDATE catalog SET version = version + 1"


async def bump(connection: asyncpg.Connection) -> None:
    """Tells the servers that the catalog has changed; they see it with their next batch."""
    await connection.execute(BUMP_VERSION)
