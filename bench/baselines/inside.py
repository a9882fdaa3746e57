"""What asynchrony alone buys: the "before" with the product's own group commit, jackpots inside.

Spins and their contributions of a batch are decided and written in one transaction of one database: wallets'
locks, pools' locks, the jackpots' one write with its ledger, the spins' one write, the answers kept; wins are
credited at once. Spared are the outbox, the call, and the booking of its answer.

python -m bench.baselines.inside serve (SPIN_*, JACKPOT_ROOT_KEY)
"""

import json
import os
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import grpc.aio

from bench.baselines.before import contribution
from bench.baselines.one_by_one import parse, render
from jackpot_server.domain.commands import Contribute
from jackpot_server.domain.facts import Recorded, Win
from jackpot_server.domain.pool import PoolView
from jackpot_server.keys import RootKeys, parse_root_key
from jackpot_server.narration import Narration
from jackpot_server.transaction import JackpotTransaction
from protos.spin.v1 import spin_pb2 as pb
from protos.spin.v1.spin_pb2_grpc import SpinServiceServicer, add_SpinServiceServicer_to_server
from service_kit.batch_writer import BatchWriter
from service_kit.errors import Refusal
from service_kit.group_commit import GroupCommit
from service_kit.process import run
from service_kit.server import GrpcServer
from service_kit.settings import load
from spin_server import store
from spin_server.credit import entry_id
from spin_server.domain.commands import Settle
from spin_server.domain.facts import (
    NOT_APPLICABLE,
    JackpotState,
    JackpotView,
    NewSpin,
    Refused,
    Share,
    WalletEntry,
)
from spin_server.domain.game import GameCategory
from spin_server.domain.money_moves import credit_win
from spin_server.domain.settle import Rules, settle
from spin_server.domain.wallet import Wallet
from spin_server.games import load_games
from spin_server.refusals import refusal
from spin_server.settings import SpinSettings

_KEEP_ANSWERS = """
INSERT INTO jackpot_results (spin_id, operator_id, state, shares, record_time)
SELECT spin_id, operator_id, 1, shares::jsonb, $4::timestamptz
  FROM unnest($1::uuid[], $2::text[], $3::text[]) AS a (spin_id, operator_id, shares)
 ORDER BY spin_id"""
_KEEP_WINS = """
INSERT INTO jackpot_wins (win, spin_id, operator_id, user_id, wallet_id, pool, tier, currency_code,
                          amount_minor, state, event_sequence, wallet_entry_id)
SELECT win, spin_id, operator_id, user_id, wallet_id, pool, tier, currency_code, amount_minor, 3, 0, entry_id
  FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
              $9::bigint[], $10::text[])
    AS w (win, spin_id, operator_id, user_id, wallet_id, pool, tier, currency_code, amount_minor, entry_id)
 ORDER BY win"""

Answer = tuple[NewSpin, JackpotView]


class InsideTransaction:
    """One batch of spins with their jackpots."""

    def __init__(self, rules: Rules, jackpots: JackpotTransaction) -> None:
        self._rules = rules
        self._jackpots = jackpots

    async def __call__(
        self, connection: asyncpg.Connection, items: list[Settle], must_write: bool
    ) -> list[Answer | Exception]:
        """`results[i]` answers `items[i]`."""
        spin_ids = [item.terms.spin_id for item in items]
        locked = await store.lock_wallets(connection, {item.terms.wallet_id for item in items}, spin_ids, ())
        decided = [self._settle(item, locked) for item in items]
        spins = [spin for spin in decided if isinstance(spin, NewSpin)]
        shares = await self._contribute(connection, spins, locked, must_write)
        if spins:
            moved = {spin.record.terms.wallet_id for spin in spins}
            wallets = [locked.wallets[wallet_id] for wallet_id in moved]
            await store.write_spins(connection, spins, locked.now, wallets)
        return [
            spin
            if isinstance(spin, Exception)
            else (spin, shares.get(spin.record.terms.spin_id, NOT_APPLICABLE))
            for spin in decided
        ]

    def _settle(self, item: Settle, locked: store.Found) -> NewSpin | Exception:
        if item.terms.spin_id in locked.known_spins:
            return Refusal(grpc.StatusCode.ALREADY_EXISTS, "SPIN_ID_REUSED", "The spin is known.")
        spin = settle(item, locked.wallets, self._rules, locked.now)
        return refusal(spin) if isinstance(spin, Refused) else spin

    async def _contribute(
        self, connection: asyncpg.Connection, spins: Sequence[NewSpin], locked: store.Found, must_write: bool
    ) -> dict[UUID, JackpotView]:
        records = [spin.record for spin in spins if spin.record.game_category == GameCategory.SLOTS]
        if not records:
            return {}
        commands = [contribution(record.terms, record.game_category) for record in records]
        answers = await self._jackpots(connection, list(commands), must_write)
        recorded = [answer for answer in answers if isinstance(answer, Recorded)]
        assert len(recorded) == len(commands), "a contribution was refused, or left for the next batch"
        views = {each.contribution.command.spin_id: self._view(each) for each in recorded}
        await _keep_answers(connection, commands, views, locked.now)
        wins = [win for each in recorded for win in each.wins]
        if wins:
            await _credit(connection, wins, locked.wallets, locked.now)
        return views

    def _view(self, recorded: Recorded) -> JackpotView:
        labels = self._jackpots.rules.catalog.labels
        return JackpotView(
            JackpotState.RECORDED,
            tuple(
                Share(
                    f"pools/{labels[share[0], share[2]].pool_id}", labels[share[0], share[2]].tier, share[3]
                )
                for share in recorded.contribution.shares
            ),
        )


async def _keep_answers(
    connection: asyncpg.Connection,
    commands: Sequence[Contribute],
    views: dict[UUID, JackpotView],
    now: datetime,
) -> None:
    told = [
        json.dumps(
            [
                {"pool": share.pool, "tier": share.tier, "amount_micros": share.amount_micros}
                for share in views[command.spin_id].shares
            ]
        )
        for command in commands
    ]
    spin_ids = [command.spin_id for command in commands]
    await connection.execute(
        _KEEP_ANSWERS, spin_ids, [command.operator_id for command in commands], told, now
    )


async def _credit(
    connection: asyncpg.Connection, wins: Sequence[Win], wallets: dict[str, Wallet], now: datetime
) -> None:
    """Into the locked wallets, which are written with the spins."""
    entries = []
    for win in wins:
        name = f"pools/{win.pool_id}/wins/{win.spin_id}"
        wallet = wallets[win.wallet_id]
        entry = credit_win(
            name, win.operator_id, win.user_id, win.currency_code, win.amount_minor, wallet, now
        )
        assert isinstance(entry, WalletEntry), entry
        entries.append(entry)
    await store.write_money(connection, (), (), entries, ())
    await connection.execute(
        _KEEP_WINS,
        [entry.win for entry in entries],
        [win.spin_id for win in wins],
        [win.operator_id for win in wins],
        [win.user_id for win in wins],
        [win.wallet_id for win in wins],
        [f"pools/{win.pool_id}" for win in wins],
        [win.tier for win in wins],
        [win.currency_code for win in wins],
        [win.amount_minor for win in wins],
        [entry_id(entry.wallet_id, entry.entry_number) for entry in entries],
    )


def _unseen(views: Sequence[PoolView]) -> None:
    """Nobody looks at the pools."""


class Inside(SpinServiceServicer):
    """SettleSpin; the answer has its jackpot."""

    def __init__(self, settings: SpinSettings) -> None:
        self._connect = partial(settings.connect, "inside")
        # No spin gets an outbox row.
        rules = Rules(load_games(settings.games_file), jackpots_on=False)
        root_keys = RootKeys(parse_root_key("root", os.environ["JACKPOT_ROOT_KEY"]))
        self._jackpots = JackpotTransaction(root_keys, _unseen, Narration())
        self._writer: BatchWriter[Settle, Answer] = BatchWriter(
            self._connect,
            InsideTransaction(rules, self._jackpots),
            lock_keys=_wallet_of,
            max_batch=settings.max_batch,
            committed=self._jackpots.committed,
            more_waits=lambda: self._group.waiting > 0,
        )
        self._group: GroupCommit[Settle, Answer] = GroupCommit(
            self._writer.write,
            key=lambda item: item.terms.spin_id,
            max_batch=settings.max_batch,
            max_waiting=settings.max_waiting,
            name="inside",
        )

    async def open(self) -> None:
        """Reads the pools and starts the task that writes."""
        connection = await self._connect()
        try:
            await self._jackpots.load(connection)
        finally:
            await connection.close()
        self._group.start()

    async def close(self) -> None:
        """Finishes what was taken."""
        await self._group.close()
        await self._writer.close()

    async def SettleSpin(
        self, request: pb.SettleSpinRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.SettleSpinResponse:
        return render(*await self._group.submit(parse(request)))


def _wallet_of(item: Settle) -> Collection[str]:
    return (item.terms.wallet_id,)


async def serve(settings: SpinSettings) -> None:
    """Until SIGTERM."""
    service = Inside(settings)  # type: ignore[abstract]
    server = GrpcServer(settings, [partial(add_SpinServiceServicer_to_server, service)])
    await server.run_until_signal(service.open, service.close)


if __name__ == "__main__":
    loaded = load(SpinSettings)
    run(partial(serve, loaded), loaded)
