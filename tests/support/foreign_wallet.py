"""A wallet that is not ours: its own tables beside jackpot_outbox/schema.sql, a sidecar does the rest.

It does what the schema file asks of a wallet in any language, and imports nothing of the project.
"""

import asyncio
import random
from collections import deque
from uuid import UUID

import asyncpg

from devstack.auditor import WalletBooks

TABLES = """
CREATE TABLE purses (
    wallet_id text PRIMARY KEY,
    balance   bigint NOT NULL CONSTRAINT purses_balance_is_not_negative CHECK (balance >= 0)
);
CREATE TABLE bets (
    spin_id    uuid PRIMARY KEY,
    wallet_id  text NOT NULL REFERENCES purses,
    stake      bigint NOT NULL,
    voided     boolean NOT NULL DEFAULT false,
    occur_time timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE prizes (
    prize_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    win       text NOT NULL CONSTRAINT prizes_are_paid_once UNIQUE,
    wallet_id text NOT NULL REFERENCES purses,
    amount    bigint NOT NULL
)"""

TAKE_STAKE = "UPDATE purses SET balance = balance - $2 WHERE wallet_id = $1"
INSERT_BET = "INSERT INTO bets (spin_id, wallet_id, stake) VALUES ($1, $2, $3)"
INSERT_CONTRIBUTION = """
INSERT INTO jackpot_outbox (kind, spin_id, operator_id, user_id, wallet_id, currency_code, wager_minor,
                            game_category, game_id, provider_name, provider_round_id, stake_kind,
                            country_code, client_seed, occur_time)
VALUES (1, $1, $2, $3, $4, $5, $6, 1, $7, 'elsewhere', 'round', 1, 'MT', 'seed', now())"""

# A bet is taken back under the wallet's lock: what was credited by then is credited.
LOCK_BET = "SELECT stake, voided FROM bets WHERE spin_id = $1 FOR UPDATE"
VOID_BET = "UPDATE bets SET voided = true WHERE spin_id = $1"
CREDITED_WINS = """
SELECT coalesce(string_agg(win, ',' ORDER BY win), '') FROM jackpot_wins
 WHERE spin_id = $1 AND wallet_entry_id IS NOT NULL"""
INSERT_VOID = """
INSERT INTO jackpot_outbox (kind, spin_id, operator_id, credited_wins, reason)
VALUES (2, $1, $2, $3, 'cancelled')"""

# What to act on: PAYABLE ones are credited, HELD ones confirmed. Locks: wallets, then wins.
OPEN = """wallet_entry_id IS NULL AND event_sequence > acted_sequence
   AND (state = 2 OR state = 1 AND (spin_voided OR spin_id NOT IN (SELECT spin_id FROM jackpot_voids)))"""
TO_DO = f"SELECT win, wallet_id FROM jackpot_wins WHERE {OPEN} ORDER BY receive_time LIMIT 50"
LOCK_PURSES = "SELECT FROM purses WHERE wallet_id = ANY($1) ORDER BY wallet_id FOR NO KEY UPDATE"
LOCK_WINS = f"SELECT * FROM jackpot_wins WHERE win = ANY($1) AND {OPEN} ORDER BY win FOR NO KEY UPDATE"
INSERT_PRIZE = "INSERT INTO prizes (win, wallet_id, amount) VALUES ($1, $2, $3) RETURNING prize_id"
GIVE_PRIZE = "UPDATE purses SET balance = balance + $2 WHERE wallet_id = $1"
MARK_WIN = "UPDATE jackpot_wins SET wallet_entry_id = $2, acted_sequence = event_sequence WHERE win = $1"
INSERT_ACKNOWLEDGEMENT = """
INSERT INTO jackpot_outbox (kind, spin_id, win, event_sequence, operator_id, outcome, wallet_entry_id,
                            currency_code, credited_minor, credit_time)
VALUES (3, $1, $2, $3, $4, $5, $6, $7, $8, now())"""
PAYABLE = 1
CREDITED, HOLD_CONFIRMED = 1, 3

BETS = """
SELECT spin_id, $1::text AS operator_id, 'user-' || wallet_id AS user_id, wallet_id,
       $2::text AS currency_code, stake AS wager_minor, 1::smallint AS game_category,
       $3::text AS game_id, 'elsewhere' AS provider_name, 'round' AS provider_round_id,
       1::smallint AS stake_kind, 'MT' AS country_code, 'seed' AS client_seed, '' AS triggered_tiers
  FROM bets"""
PRIZES = "SELECT win, prize_id::text AS entry_id, amount FROM prizes"
WRONG_PURSES = """
SELECT p.wallet_id, p.balance FROM purses p
 WHERE balance <> $1 - (SELECT coalesce(sum(stake), 0) FROM bets b
                       WHERE b.wallet_id = p.wallet_id AND NOT b.voided)
                     + (SELECT coalesce(sum(amount), 0) FROM prizes z WHERE z.wallet_id = p.wallet_id)"""

FUNDS_MINOR = 10**11
VOIDED_SHARE = 0.1


class ForeignWallet:
    """Plays and credits until stopped; `dsn` is a database with the outbox's schema, its own."""

    def __init__(
        self, dsn: str, *, operator: str, currency: str, game: str, wallets: int, rng: random.Random
    ) -> None:
        self._dsn = dsn
        self._operator, self._currency, self._game = operator, currency, game
        self._wallets = [f"purse-{i}" for i in range(wallets)]
        self._rng = rng
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.bets = 0
        self.prizes = 0
        self.voids = 0

    async def start(self, *, players: int = 2, pause_s: float = 0.005) -> None:
        connection = await asyncpg.connect(self._dsn)
        await connection.execute(TABLES)
        rows = [(wallet, FUNDS_MINOR) for wallet in self._wallets]
        await connection.executemany("INSERT INTO purses VALUES ($1, $2)", rows)
        await connection.close()
        self._tasks = [asyncio.create_task(self._play(pause_s)) for _ in range(players)]
        self._tasks.append(asyncio.create_task(self._credit()))

    async def stop_playing(self) -> None:
        """No more bets; prizes are still credited."""
        self._stopping.set()
        await asyncio.gather(*self._tasks[:-1])

    async def stop(self) -> None:
        """Ends crediting too."""
        self._tasks[-1].cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def books(self) -> WalletBooks:
        """What this wallet knows, for the auditor."""
        connection = await asyncpg.connect(self._dsn)
        try:
            bets = await connection.fetch(BETS, self._operator, self._currency, self._game)
            prizes = await connection.fetch(PRIZES)
            voided = await connection.fetch("SELECT spin_id FROM bets WHERE voided")
        finally:
            await connection.close()
        return WalletBooks(
            {row["spin_id"]: tuple(row) for row in bets},
            {row["win"]: (row["entry_id"], row["amount"]) for row in prizes},
            {row["spin_id"] for row in voided},
        )

    async def findings(self) -> list[str]:
        """Purses that are not what their bets and prizes make them."""
        connection = await asyncpg.connect(self._dsn)
        try:
            return [f"purse: {dict(row)}" for row in await connection.fetch(WRONG_PURSES, FUNDS_MINOR)]
        finally:
            await connection.close()

    async def _play(self, pause_s: float) -> None:
        connection = await asyncpg.connect(self._dsn)
        recent: deque[tuple[UUID, str]] = deque(maxlen=100)
        while not self._stopping.is_set():
            wallet, stake = self._rng.choice(self._wallets), self._rng.choice((1, 20, 100, 100))
            spin_id = UUID(int=self._rng.getrandbits(128), version=4)
            async with connection.transaction():
                await connection.execute(TAKE_STAKE, wallet, stake)
                await connection.execute(INSERT_BET, spin_id, wallet, stake)
                user = f"user-{wallet}"
                contribution = (spin_id, self._operator, user, wallet, self._currency, stake, self._game)
                await connection.execute(INSERT_CONTRIBUTION, *contribution)
            self.bets += 1
            recent.append((spin_id, wallet))
            await asyncio.sleep(pause_s)
            if self._rng.random() < VOIDED_SHARE:
                await self._void(connection, *self._rng.choice(recent))
        await connection.close()

    async def _void(self, connection: asyncpg.Connection, spin_id: UUID, wallet: str) -> None:
        async with connection.transaction():
            await connection.execute(LOCK_PURSES, [wallet])
            bet = await connection.fetchrow(LOCK_BET, spin_id)
            if bet is None or bet["voided"]:
                return
            credited = await connection.fetchval(CREDITED_WINS, spin_id)
            await connection.execute(GIVE_PRIZE, wallet, bet["stake"])
            await connection.execute(VOID_BET, spin_id)
            await connection.execute(INSERT_VOID, spin_id, self._operator, credited)
            self.voids += 1

    async def _credit(self) -> None:
        connection = await asyncpg.connect(self._dsn)
        try:
            while True:
                to_do = await connection.fetch(TO_DO)
                if to_do:
                    await self._credit_all(connection, to_do)
                else:
                    await asyncio.sleep(0.02)
        finally:
            connection.terminate()

    async def _credit_all(self, connection: asyncpg.Connection, to_do: list[asyncpg.Record]) -> None:
        async with connection.transaction():
            await connection.execute(LOCK_PURSES, sorted({row["wallet_id"] for row in to_do}))
            for win in await connection.fetch(LOCK_WINS, [row["win"] for row in to_do]):
                facts = (win["spin_id"], win["win"], win["event_sequence"], win["operator_id"])
                if win["state"] != PAYABLE:
                    await connection.execute(MARK_WIN, win["win"], None)
                    await connection.execute(INSERT_ACKNOWLEDGEMENT, *facts, HOLD_CONFIRMED, "", "", 0)
                    continue
                amount = win["amount_minor"]
                entry = str(await connection.fetchval(INSERT_PRIZE, win["win"], win["wallet_id"], amount))
                await connection.execute(GIVE_PRIZE, win["wallet_id"], amount)
                await connection.execute(MARK_WIN, win["win"], entry)
                paid = (CREDITED, entry, win["currency_code"], amount)
                await connection.execute(INSERT_ACKNOWLEDGEMENT, *facts, *paid)
                self.prizes += 1
