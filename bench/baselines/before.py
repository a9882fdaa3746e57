"""The "before": jackpots inside the spin's transaction, fifteen statements, one transaction per spin.

It does in one database what the product does in two: wallet, spin, entries, pools, contribution with its
shares, draws, wins, their credit, and the answer kept beside the spin. Spared are what a simple system would
not have: the jackpots' ledger, the commitments of seeds, win events and acknowledgements.

python -m bench.baselines.before serve (SPIN_*, JACKPOT_ROOT_KEY)
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import asyncpg
import grpc.aio

from bench.baselines.one_by_one import Connections, credit_win, parse, render, settle_one
from jackpot_server.catalog_store import load_catalog
from jackpot_server.domain import terms as jackpot_rules
from jackpot_server.domain.commands import Contribute
from jackpot_server.domain.decide import decide
from jackpot_server.domain.decision import (
    Decision,
)
from jackpot_server.domain.facts import Contribution, Win
from jackpot_server.domain.pool import PoolState
from jackpot_server.keys import RootKey, parse_root_key
from jackpot_server.recall import pool_of
from protos.spin.v1 import spin_pb2 as pb
from protos.spin.v1.spin_pb2_grpc import SpinServiceServicer, add_SpinServiceServicer_to_server
from service_kit.process import run
from service_kit.server import GrpcServer
from service_kit.settings import load
from spin_server.domain.commands import SpinTerms
from spin_server.domain.facts import NOT_APPLICABLE, JackpotState, JackpotView, Share
from spin_server.domain.settle import Rules
from spin_server.domain.wallet import Wallet
from spin_server.games import load_games
from spin_server.settings import SpinSettings

_LOCK_POOLS = """
SELECT clock_timestamp(), pool_key, pool_id, currency_code, state, config_version,
       cycle_config_version, cycle, cycle_start_micros, cycle_start_time, current_micros, reserve_micros,
       overflow_micros, version, update_time, last_win_minor, last_win_time
  FROM pools WHERE pool_key = ANY($1::integer[]) ORDER BY pool_key FOR NO KEY UPDATE"""
_UPDATE_POOL = """
UPDATE pools
   SET cycle_config_version = $2, cycle = $3, cycle_start_micros = $4, cycle_start_time = $5,
       current_micros = $6, reserve_micros = $7, overflow_micros = $8, version = $9, update_time = $10,
       last_win_minor = $11, last_win_time = $12
 WHERE pool_key = $1"""
_INSERT_CONTRIBUTION = """
INSERT INTO contributions (batch_id, spin_id, operator_id, user_id, wallet_id, currency_code, wager_minor,
                           game_category, game_id, provider_name, provider_round_id, stake_kind,
                           country_code, client_seed, triggered_tiers, record_time, shares)
VALUES (0, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"""
_INSERT_RESULT = """
INSERT INTO jackpot_results (spin_id, operator_id, state, shares, record_time)
VALUES ($1, $2, $3, $4, $5)"""
_INSERT_WIN = """
INSERT INTO jackpot_wins (win, spin_id, operator_id, user_id, wallet_id, pool, tier, currency_code,
                          amount_minor, state, event_sequence, wallet_entry_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 3, 0, $10)"""


class Seeds(Mapping[tuple[int, int], bytes]):
    """The seed of any cycle, derived when it is first asked for."""

    def __init__(self, key: RootKey, pool_ids: Mapping[int, str]) -> None:
        self._key, self._pool_ids = key, pool_ids

    def __getitem__(self, pool_and_cycle: tuple[int, int]) -> bytes:
        pool_key, cycle = pool_and_cycle
        return self._key.seed(self._pool_ids[pool_key], cycle)

    def __contains__(self, pool_and_cycle: object) -> bool:
        return True

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(())

    def __len__(self) -> int:
        return 0


class PoolStatements:
    """A contribution the usual way: lock the pools in order, decide, one UPDATE per pool, one INSERT."""

    def __init__(self, rules: jackpot_rules.Rules) -> None:
        self._rules = rules

    @classmethod
    async def load(cls, connection: asyncpg.Connection, root_key: str) -> "PoolStatements":
        """With the pools and configurations that are in the database now."""
        catalog = await load_catalog(connection)
        key = parse_root_key("root", root_key)
        return cls(jackpot_rules.Rules(catalog, Seeds(key, catalog.pool_ids)))

    async def contribute(self, connection: asyncpg.Connection, command: Contribute) -> Decision:
        """Records it in the transaction: six statements with four pools, one with none."""
        pool_keys = self._rules.eligibility.candidates(command.eligibility).pool_keys
        rows = await connection.fetch(_LOCK_POOLS, list(pool_keys)) if pool_keys else []
        pools = [pool_of(tuple(row)[1:]) for row in rows]
        now = rows[-1][0] if rows else datetime.now(UTC)
        decision = decide(self._rules, pools, [command], known={}, wins={}, now=now)
        for pool in decision.pools:
            await _update_pool(connection, pool)
        contribution = decision.contributions[0]
        await connection.execute(
            _INSERT_CONTRIBUTION, command.spin_id, command.operator_id, command.user_id, command.wallet_id,
            command.currency_code, command.wager_minor, command.game_category, command.game_id,
            command.provider_name, command.provider_round_id, command.stake_kind, command.country_code,
            command.client_seed, ",".join(command.triggered_tiers), contribution.record_time,
            [number for share in contribution.shares for number in share],
        )  # fmt: skip
        return decision

    def shares(self, contribution: Contribution) -> tuple[Share, ...]:
        """As the spin's answer tells of them."""
        labels = self._rules.catalog.labels
        return tuple(
            Share(f"pools/{labels[share[0], share[2]].pool_id}", labels[share[0], share[2]].tier, share[3])
            for share in contribution.shares
        )


class Before(SpinServiceServicer):
    """SettleSpin; the answer has its jackpot."""

    def __init__(self, settings: SpinSettings) -> None:
        self._connections = Connections(partial(settings.connect, "before"))
        self._rules = Rules(load_games(settings.games_file), jackpots_on=True)
        self._pools: PoolStatements | None = None

    async def open(self) -> None:
        """Opens the connections and reads the pools."""
        await self._connections.open()
        async with self._connections.transaction() as connection:
            self._pools = await PoolStatements.load(connection, os.environ["JACKPOT_ROOT_KEY"])

    async def close(self) -> None:
        """Closes the connections."""
        await self._connections.close()

    async def SettleSpin(
        self, request: pb.SettleSpinRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.SettleSpinResponse:
        assert self._pools is not None
        command = parse(request)
        async with self._connections.transaction() as connection:
            spin, wallet, now = await settle_one(connection, command, self._rules)
            if not spin.record.has_jackpot:
                return render(spin, NOT_APPLICABLE)
            contributed = contribution(spin.record.terms, spin.record.game_category)
            decision = await self._pools.contribute(connection, contributed)
            shares = self._pools.shares(decision.contributions[0])
            await _insert_result(connection, decision.contributions[0], shares)
            for won in decision.wins:
                await _credit(connection, wallet, won, now)
        return render(spin, JackpotView(JackpotState.RECORDED, shares))


def contribution(terms: SpinTerms, category: int) -> Contribute:
    """What a spin gives to the pools."""
    return Contribute(
        spin_id=terms.spin_id,
        user_id=terms.user_id,
        wallet_id=terms.wallet_id,
        provider_round_id=terms.provider_round_id,
        client_seed=terms.client_seed,
        wager_minor=terms.wager_minor,
        operator_id=terms.operator_id,
        currency_code=terms.currency_code,
        game_category=category,
        game_id=terms.game_id,
        provider_name=terms.provider_name,
        stake_kind=terms.stake_kind,
        country_code=terms.country_code,
    )


async def _insert_result(
    connection: asyncpg.Connection, contribution: Contribution, shares: Sequence[Share]
) -> None:
    told = [
        {"pool": share.pool, "tier": share.tier, "amount_micros": share.amount_micros} for share in shares
    ]
    command = contribution.command
    await connection.execute(
        _INSERT_RESULT, command.spin_id, command.operator_id, 1, json.dumps(told), contribution.record_time
    )


async def _credit(connection: asyncpg.Connection, wallet: Wallet, won: Win, now: datetime) -> None:
    win = f"pools/{won.pool_id}/wins/{won.spin_id}"
    number = await credit_win(connection, wallet, win, won.amount_minor, now)
    await connection.execute(
        _INSERT_WIN, win, won.spin_id, won.operator_id, won.user_id, won.wallet_id, f"pools/{won.pool_id}",
        won.tier, won.currency_code, won.amount_minor, f"{won.wallet_id}:{number}",
    )  # fmt: skip


async def _update_pool(connection: asyncpg.Connection, pool: PoolState) -> None:
    await connection.execute(
        _UPDATE_POOL, pool.pool_key, pool.cycle_config_version, pool.cycle, pool.cycle_start_micros,
        pool.cycle_start_time, pool.current_micros, pool.reserve_micros, pool.overflow_micros, pool.version,
        pool.update_time, pool.last_win_minor, pool.last_win_time,
    )  # fmt: skip


async def serve(settings: SpinSettings) -> None:
    """Until SIGTERM."""
    service = Before(settings)  # type: ignore[abstract]
    server = GrpcServer(settings, [partial(add_SpinServiceServicer_to_server, service)])
    await server.run_until_signal(service.open, service.close)


if __name__ == "__main__":
    loaded = load(SpinSettings)
    run(partial(serve, loaded), loaded)
