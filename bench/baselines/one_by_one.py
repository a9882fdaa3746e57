"""The usual way to settle a spin: a transaction of its own on a connection of a pool, a statement per row."""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import asyncpg
import grpc

from protos.jackpot.v1 import jackpot_pb2
from protos.spin.v1 import spin_pb2 as pb
from service_kit.errors import Refusal
from spin_server.domain.commands import Settle
from spin_server.domain.facts import JackpotView, NewSpin, Refused, SettledSpin, SpinRecord
from spin_server.domain.settle import Rules, settle
from spin_server.domain.wallet import EntryKind, Wallet
from spin_server.refusals import refusal
from spin_server.wire import answers, requests

# More of them only queue for the same two cores; docs/performance.md has what was tried.
CONNECTIONS: Final = int(os.environ.get("BASELINE_CONNECTIONS", "16"))

# Tuned as the product is: each statement is planned once, by keys.
_PLAN_BY_KEY = "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan"
_IS_KNOWN = "SELECT EXISTS (SELECT FROM spins WHERE spin_id = $1)"
_LOCK_WALLET = """
SELECT clock_timestamp(), wallet_id, operator_id, user_id, currency_code, balance_minor, entry_count, is_test,
       create_time
  FROM wallets WHERE wallet_id = $1 FOR NO KEY UPDATE"""
_INSERT_SPIN = """
INSERT INTO spins (spin_id, method, operator_id, user_id, wallet_id, game_id, game_category, provider_name,
                   provider_round_id, currency_code, wager_minor, payout_minor, stake_kind, country_code,
                   client_seed, triggered_tiers, balance_minor, has_jackpot, settle_time)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)"""
_INSERT_ENTRY = """
INSERT INTO wallet_entries (wallet_id, entry_number, kind, amount_minor, balance_minor, spin_id, win,
                            entry_time)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"""
_UPDATE_WALLET = "UPDATE wallets SET balance_minor = $2, entry_count = $3 WHERE wallet_id = $1"


class Connections:
    """A fixed number of connections, given out in the order of asking, the warmest first."""

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]]) -> None:
        self._connect = connect
        self._free: list[asyncpg.Connection] = []
        self._waiting: deque[asyncio.Future[asyncpg.Connection]] = deque()

    async def open(self) -> None:
        """Opens all of them."""
        for _ in range(CONNECTIONS):
            connection = await self._connect()
            await connection.execute(_PLAN_BY_KEY)
            self._free.append(connection)

    async def close(self) -> None:
        """Closes those that are free."""
        while self._free:
            await self._free.pop().close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection]:
        """A transaction on a free connection."""
        connection = await self._take()
        try:
            await connection.execute("BEGIN")
            try:
                yield connection
            except BaseException:
                await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")
        finally:
            self._give_back(connection)

    async def _take(self) -> asyncpg.Connection:
        if self._free:
            return self._free.pop()
        turn: asyncio.Future[asyncpg.Connection] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        return await turn

    def _give_back(self, connection: asyncpg.Connection) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        self._free.append(connection)


def parse(request: pb.SettleSpinRequest) -> Settle:
    """As the product does."""
    return requests.settle(request)


def render(spin: NewSpin, jackpot: JackpotView) -> pb.SettleSpinResponse:
    """As the product does."""
    return pb.SettleSpinResponse(spin=answers.spin(SettledSpin(spin.record, jackpot)), replayed=False)


def contribution_of(record: SpinRecord) -> jackpot_pb2.RecordContributionRequest:
    """What is asked of the jackpot server for a spin."""
    terms = record.terms
    return jackpot_pb2.RecordContributionRequest(
        spin_id=str(terms.spin_id),
        operator_id=terms.operator_id,
        user_id=terms.user_id,
        wallet_id=terms.wallet_id,
        wager=jackpot_pb2.Money(currency_code=terms.currency_code, amount_minor=terms.wager_minor),
        game_category=int(record.game_category),  # type: ignore[arg-type]
        game_id=terms.game_id,
        provider_name=terms.provider_name,
        provider_round_id=terms.provider_round_id,
        stake_kind=terms.stake_kind,  # type: ignore[arg-type]
        country_code=terms.country_code,
        client_seed=terms.client_seed,
    )


async def settle_one(
    connection: asyncpg.Connection, command: Settle, rules: Rules
) -> tuple[NewSpin, Wallet, datetime]:
    """Books one spin in the transaction: six statements with a payout, five without."""
    terms = command.terms
    if await connection.fetchval(_IS_KNOWN, terms.spin_id):
        raise Refusal(grpc.StatusCode.ALREADY_EXISTS, "SPIN_ID_REUSED", "The spin is known.")
    row = await connection.fetchrow(_LOCK_WALLET, terms.wallet_id)
    wallets: dict[str, Wallet] = {}
    if row is not None:
        wallets[terms.wallet_id] = Wallet(*row[1:])
    now: datetime = row[0] if row is not None else datetime.now().astimezone()
    spin = settle(command, wallets, rules, now)
    if isinstance(spin, Refused):
        raise refusal(spin)
    record, wallet = spin.record, wallets[terms.wallet_id]
    await connection.execute(
        _INSERT_SPIN, terms.spin_id, record.method, terms.operator_id, terms.user_id, terms.wallet_id,
        terms.game_id, record.game_category, terms.provider_name, terms.provider_round_id,
        terms.currency_code, terms.wager_minor, record.payout_minor, terms.stake_kind, terms.country_code,
        terms.client_seed, terms.triggered_tiers, record.balance_minor, record.has_jackpot, now,
    )  # fmt: skip
    await _insert_entry(
        connection, wallet, spin.first_entry, EntryKind.STAKE, -terms.wager_minor,
        record.balance_minor - record.payout_minor, terms.spin_id, now,
    )  # fmt: skip
    if record.payout_minor:
        await _insert_entry(
            connection, wallet, spin.first_entry + 1, EntryKind.PAYOUT, record.payout_minor,
            record.balance_minor, terms.spin_id, now,
        )  # fmt: skip
    await update_wallet(connection, wallet)
    return spin, wallet, now


async def update_wallet(connection: asyncpg.Connection, wallet: Wallet) -> None:
    """Writes its balance and count."""
    await connection.execute(_UPDATE_WALLET, wallet.wallet_id, wallet.balance_minor, wallet.entry_count)


async def credit_win(
    connection: asyncpg.Connection, wallet: Wallet, win: str, amount_minor: int, now: datetime
) -> int:
    """Pays a win into the locked wallet; the number of its entry."""
    number = wallet.move(amount_minor)
    await connection.execute(
        _INSERT_ENTRY, wallet.wallet_id, number, EntryKind.JACKPOT_WIN, amount_minor, wallet.balance_minor,
        None, win, now,
    )  # fmt: skip
    await update_wallet(connection, wallet)
    return number


async def _insert_entry(
    connection: asyncpg.Connection,
    wallet: Wallet,
    number: int,
    kind: EntryKind,
    amount_minor: int,
    balance_minor: int,
    spin_id: Any,
    now: datetime,
) -> None:
    await connection.execute(
        _INSERT_ENTRY, wallet.wallet_id, number, kind, amount_minor, balance_minor, spin_id, None, now
    )
