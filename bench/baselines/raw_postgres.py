"""The limit of PostgreSQL for contributions: their rows alone, a batch at a time, on one connection.

Each batch locks the pool's row, adds to it, and inserts as many contributions as are in flight in B9, with
the product's own columns, keys and indexes; durable like everything else. Nothing is decided, drawn, hashed,
kept in a ledger or answered, and the rows' values are made once.
"""

from time import perf_counter
from uuid import uuid4

import asyncpg

from bench.requests import CURRENCY, OPERATOR, PROVIDER, SLOTS_GAME, WAGER_MINOR

_ADD = "UPDATE pools SET current_micros = current_micros + $1 WHERE pool_key = 1"
_INSERT = f"""
INSERT INTO contributions (batch_id, record_time, spin_id, user_id, wallet_id, provider_round_id, client_seed,
                           wager_minor, operator_id, currency_code, game_category, game_id, provider_name,
                           stake_kind, country_code, triggered_tiers, occur_time, shares)
SELECT $1, clock_timestamp(), spin_id, 'user', 'wallet', 'round', '', {WAGER_MINOR}, '{OPERATOR}',
       '{CURRENCY}', 1, '{SLOTS_GAME}', '{PROVIDER}', 1, '', '', NULL,
       '{{1,1,1,100000,70000,0,2500100000,0,0}}'
  FROM unnest($2::uuid[]) AS u (spin_id) ORDER BY spin_id"""
SHARE_MICROS = 100_000


class RawPostgres:
    """One connection that writes batches."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._batches = 0

    async def play(self, size: int, seconds: float) -> tuple[float, list[float]]:
        """Batches of `size` for so long: when the last one was durable, and what each of them took."""
        times: list[float] = []
        end = start = perf_counter()
        while end < start + seconds:
            begin = end
            self._batches += 1
            spin_ids = [uuid4() for _ in range(size)]
            async with self._connection.transaction():
                await self._connection.execute(_ADD, size * SHARE_MICROS)
                await self._connection.execute(_INSERT, self._batches, spin_ids)
            end = perf_counter()
            times.append(end - begin)
        return end, times
