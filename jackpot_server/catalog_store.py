"""Pools, configurations and seed commitments as the database has them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from jackpot_server.domain.catalog import Catalog, PoolLabel, StoredConfig
from jackpot_server.domain.facts import Account, EntryKind
from jackpot_server.domain.pool import Lifecycle, PoolConfig, canonical_text, config_digest, parse_canonical
from jackpot_server.domain.trigger import deadline_of_cycle
from jackpot_server.seeds import Commitment
from service_kit.money import MICROS

READ_VERSION = "SELECT version FROM catalog"
READ_POOLS = "SELECT pool_key, pool_id, config_version FROM pools ORDER BY pool_key"
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
    """A pool and its newest configuration, locked by `lock_all`."""

    pool_key: int
    pool_id: str
    currency_code: str
    config_version: int
    config_text: str


# One who changes the catalog at a time; the pools stay locked, so that no batch decides meanwhile.
LOCK_CATALOG = "SELECT version FROM catalog FOR UPDATE"
LOCK_ALL_POOLS = "SELECT pool_key FROM pools ORDER BY pool_key FOR NO KEY UPDATE"
READ_NEWEST = """
SELECT p.pool_key, p.pool_id, p.currency_code, p.config_version, c.config
  FROM pools p
  JOIN pool_configs c ON c.pool_key = p.pool_key AND c.version = p.config_version
"""


async def lock_all(connection: asyncpg.Connection) -> list[KnownPool]:
    """Locks the catalog, then every pool; all of them as they are now."""
    await connection.execute(LOCK_CATALOG)
    await connection.execute(LOCK_ALL_POOLS)
    return [KnownPool(*row) for row in await connection.fetch(READ_NEWEST)]


READ_CLOCK = "SELECT clock_timestamp()"
# What the pool opens with is funded by the house, in a batch of its own.
INSERT_POOL = """
WITH moment AS MATERIALIZED (
    SELECT $8::timestamptz AS now, nextval('batch_ids') AS batch_id
), batch AS (
    INSERT INTO batches (batch_id, batch_time) SELECT batch_id, now FROM moment
), pool AS (
    INSERT INTO pools (
           pool_id, currency_code, state, config_version, cycle_config_version, cycle, cycle_start_micros,
           cycle_start_time, cycle_deadline, current_micros, reserve_micros, overflow_micros, version,
           update_time)
    SELECT $1, $2, $3, 1, 1, 1, $4::bigint, now, $9::timestamptz, $4::bigint, 0, 0, 1, now FROM moment
    RETURNING pool_key
), entry AS (
    INSERT INTO entries (batch_id, entry_number, account, kind, pool_key, currency_code, amount_micros)
    SELECT batch_id, 1, $5::smallint, $7::smallint, pool_key, $2, $4::bigint FROM moment, pool
     UNION ALL
    SELECT batch_id, 2, $6::smallint, $7::smallint, NULL, $2, -$4::bigint FROM moment
)
SELECT pool_key FROM pool
"""


async def insert_pool(connection: asyncpg.Connection, pool_id: str, config: PoolConfig) -> int:
    """A new active pool at its reset; its key. The configuration follows as version 1."""
    now: datetime = await connection.fetchval(READ_CLOCK)
    pool_key: int = await connection.fetchval(
        INSERT_POOL,
        pool_id,
        config.currency_code,
        Lifecycle.ACTIVE,
        config.reset_minor * MICROS,
        Account.CURRENT,
        Account.HOUSE,
        EntryKind.OPENING,
        now,
        deadline_of_cycle(config.trigger, now, None),
    )
    return pool_key


INSERT_CONFIG = """
INSERT INTO pool_configs (pool_key, version, config, config_sha256, actor, reason, create_time)
VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp())
"""


async def insert_config(
    connection: asyncpg.Connection, pool_key: int, version: int, config: PoolConfig, actor: str, reason: str
) -> None:
    """A new version of a pool's configuration, with who made it and why (PR-08)."""
    text = canonical_text(config)
    await connection.execute(INSERT_CONFIG, pool_key, version, text, config_digest(text), actor, reason)


POINT_TO_CONFIG = """
UPDATE pools
   SET config_version = $2, version = version + 1, update_time = clock_timestamp()
 WHERE pool_key = $1
"""


async def point_to_config(connection: asyncpg.Connection, pool_key: int, version: int) -> None:
    """Makes a version the pool's newest."""
    await connection.execute(POINT_TO_CONFIG, pool_key, version)


INSERT_COMMITMENT = """
INSERT INTO seed_commitments (pool_key, cycle, key_id, commitment, commit_time)
VALUES ($1, $2, $3, $4, clock_timestamp())
"""


async def insert_commitments(connection: asyncpg.Connection, commitments: Collection[Commitment]) -> None:
    """Commits to the seeds of cycles that no spin has seen yet."""
    await connection.executemany(INSERT_COMMITMENT, commitments)


BUMP_VERSION = "UPDATE catalog SET version = version + 1"


async def bump(connection: asyncpg.Connection) -> None:
    """Tells the servers that the catalog has changed; they see it with their next batch."""
    await connection.execute(BUMP_VERSION)
