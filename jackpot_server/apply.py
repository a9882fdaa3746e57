"""Brings the pools of the database to what a `jackpots.toml` says, in one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import asyncpg

from jackpot_server import catalog_store
from jackpot_server.catalog_store import KnownPool
from jackpot_server.config import InvalidConfig
from jackpot_server.domain.decide import COMMITTED_AHEAD
from jackpot_server.domain.pool import PoolConfig, canonical_text
from jackpot_server.keys import RootKeys
from jackpot_server.seeds import CommittedSeeds


@dataclass(slots=True)
class Applied:
    """What was done, by pool id. `left_alone`: pools that the file does not name."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)


async def apply(
    connection: asyncpg.Connection,
    wanted: Mapping[str, PoolConfig],
    root_keys: RootKeys,
    *,
    actor: str,
    reason: str,
) -> Applied:
    """Applies all of it in one transaction, or nothing; the same again does nothing.

    A new pool is active and opens at its reset, which the house funds; the seeds of its first cycles are
    committed. A changed one gets a new configuration version. Servers notice with their next batch. Raises
    InvalidConfig for what cannot be changed, else what asyncpg raises.
    """
    async with connection.transaction():
        pools = {pool.pool_id: pool for pool in await catalog_store.lock_all(connection)}
        _refuse_other_currencies(pools, wanted)
        applied = Applied(left_alone=sorted(pools.keys() - wanted.keys()))
        for pool_id, config in wanted.items():
            known = pools.get(pool_id)
            if known is None:
                await _create(connection, pool_id, config, root_keys, actor, reason)
                applied.created.append(pool_id)
            elif known.config_text == canonical_text(config):
                applied.unchanged.append(pool_id)
            else:
                version = known.config_version + 1
                await catalog_store.insert_config(connection, known.pool_key, version, config, actor, reason)
                await catalog_store.point_to_config(connection, known.pool_key, version)
                applied.changed.append(pool_id)
        if applied.created or applied.changed:
            await catalog_store.bump(connection)
    return applied


def _refuse_other_currencies(pools: Mapping[str, KnownPool], wanted: Mapping[str, PoolConfig]) -> None:
    problems = [
        f"pools.{pool_id}.currency_code: is {pools[pool_id].currency_code} and cannot be changed"
        for pool_id, config in wanted.items()
        if pool_id in pools and pools[pool_id].currency_code != config.currency_code
    ]
    if problems:
        raise InvalidConfig(problems)


async def _create(
    connection: asyncpg.Connection,
    pool_id: str,
    config: PoolConfig,
    root_keys: RootKeys,
    actor: str,
    reason: str,
) -> None:
    pool_key = await catalog_store.insert_pool(connection, pool_id, config)
    await catalog_store.insert_config(connection, pool_key, 1, config, actor, reason)
    cycles = [(pool_key, cycle) for cycle in range(1, COMMITTED_AHEAD + 2)]
    await catalog_store.insert_commitments(
        connection, CommittedSeeds(root_keys).new(cycles, {pool_key: pool_id})
    )
