"""Brings the pools of the database to what a `jackpots.toml` says, in one transaction; or only says how."""

import json
from collections.abc import Mapping
from uuid import uuid4

import asyncpg

from jackpot_server import admin_store, catalog_store
from jackpot_server.admin_store import AdminEvent
from jackpot_server.catalog_store import KnownPool
from jackpot_server.chains import append_batch, open_batch
from jackpot_server.config import InvalidConfig
from jackpot_server.domain.decision import (
    COMMITTED_AHEAD,
)
from jackpot_server.domain.evidence import POOLS, Evidence
from jackpot_server.domain.facts import Account, Batch, EntryKind
from jackpot_server.domain.ledger import Ledger
from jackpot_server.domain.plan import Plan, PoolChange, plan
from jackpot_server.domain.pool import Lifecycle, PoolConfig, PoolState
from jackpot_server.keys import RootKeys
from jackpot_server.seeds import CommittedSeeds
from service_kit.money import MICROS


async def apply(
    connection: asyncpg.Connection,
    wanted: Mapping[str, PoolConfig],
    root_keys: RootKeys,
    *,
    actor: str,
    reason: str,
    approver: str = "",
    dry_run: bool = False,
) -> Plan:
    """Does what the plan says in one transaction, or nothing of it; nothing at all with `dry_run`.

    A new pool is active and opens at its reset, which the house funds; the seeds of its first cycles are
    committed. A changed one gets a new configuration version. Each is in the audit trail of changes, with who
    did it, who `approver` was and why (PR-08). Servers notice with their next batch. Raises
    InvalidConfig for what cannot be changed, else what asyncpg raises.
    """
    async with connection.transaction():
        pools = {pool.pool_id: pool for pool in await catalog_store.lock_all(connection)}
        planned = plan({pool_id: pool.configured for pool_id, pool in pools.items()}, wanted)
        if planned.problems:
            raise InvalidConfig(planned.problems)
        if planned.is_empty or dry_run:
            return planned
        change = _Change(connection, await open_batch(connection), actor, reason)
        for new in planned.created:
            await change.create(new.pool_id, wanted[new.pool_id], root_keys)
            await change.note(new, approver)
        for changed in planned.changed:
            await change.configure(pools[changed.pool_id], wanted[changed.pool_id])
            await change.note(changed, approver)
        await catalog_store.bump(connection)
        await change.record()
    return planned


class _Change:
    """One batch that changes pools: everything that it inserts is evidence."""

    def __init__(self, connection: asyncpg.Connection, batch: Batch, actor: str, reason: str) -> None:
        self._connection = connection
        self._batch = batch
        self._actor = actor
        self._reason = reason
        self._ledger = Ledger()
        self._evidence = Evidence()
        self._states: list[PoolState] = []

    async def create(self, pool_id: str, config: PoolConfig, root_keys: RootKeys) -> None:
        opening_micros = config.reset_minor * MICROS
        pool = await catalog_store.insert_pool(
            self._connection, self._batch, pool_id, config, Lifecycle.ACTIVE, opening_micros
        )
        key, currency = pool.pool_key, pool.currency_code
        self._states.append(pool)
        self._evidence.add(POOLS, [(key, pool_id, currency)])
        self._ledger.pool(Account.CURRENT, EntryKind.OPENING, key, currency, pool.current_micros)
        self._ledger.house(EntryKind.OPENING, currency, -pool.current_micros)
        await self._insert_config(key, 1, config)
        cycles = [(key, cycle) for cycle in range(1, COMMITTED_AHEAD + 2)]
        commitments = CommittedSeeds(root_keys).new(cycles, {key: pool_id})
        await catalog_store.insert_commitments(self._connection, self._batch, self._evidence, commitments)

    async def configure(self, known: KnownPool, config: PoolConfig) -> None:
        version = known.config_version + 1
        await self._insert_config(known.pool_key, version, config)
        self._states.append(
            await catalog_store.point_to_config(self._connection, self._batch, known.pool_key, version)
        )

    async def note(self, change: PoolChange, approver: str) -> None:
        """Adds to the trail of what people change; every application is a request of its own."""
        after = json.dumps(change.after, sort_keys=True, ensure_ascii=False)
        event = AdminEvent(
            request_id=uuid4(),
            action="apply",
            resource=f"pools/{change.pool_id}",
            fields=after,
            actor=self._actor,
            approver=approver,
            reason=self._reason,
            before=json.dumps(change.before, sort_keys=True, ensure_ascii=False),
            after=after,
            pending=False,
            standing="",
        )
        await admin_store.insert_event(self._connection, self._batch, self._evidence, event)

    async def record(self) -> None:
        """Books what the new pools opened with, then appends the batch to its audit chain."""
        entries = self._ledger.entries()
        await catalog_store.insert_entries(self._connection, self._batch, self._evidence, entries)
        await append_batch(self._connection, self._batch, self._evidence, self._states)

    async def _insert_config(self, pool_key: int, version: int, config: PoolConfig) -> None:
        await catalog_store.insert_config(
            self._connection,
            self._batch,
            self._evidence,
            pool_key,
            version,
            config,
            actor=self._actor,
            reason=self._reason,
        )
