"""Players with money, put into a spins database as its own deposits would."""

import asyncpg

from bench.requests import CURRENCY, OPERATOR, WALLETS

FUNDS_MINOR = 10**10

_INSERT = """
WITH player AS (
    SELECT 'player-' || n AS wallet_id, 'user-' || n AS user_id FROM generate_series(0, $1::integer - 1) n
), wallet AS (
    INSERT INTO wallets (wallet_id, operator_id, user_id, currency_code, balance_minor, entry_count, is_test,
                         create_time)
    SELECT wallet_id, $2, user_id, $3, $4::bigint, 1, false, now() FROM player
)
INSERT INTO wallet_entries (wallet_id, entry_number, kind, amount_minor, balance_minor, request_id,
                            entry_time)
SELECT wallet_id, 1, 6, $4::bigint, $4::bigint, gen_random_uuid(), now() FROM player
"""


async def seat_players(spins_dsn: str) -> None:
    """All of them, each with more than a benchmark loses."""
    connection = await asyncpg.connect(spins_dsn)
    try:
        await connection.execute(_INSERT, WALLETS, OPERATOR, CURRENCY, FUNDS_MINOR)
    finally:
        await connection.close()
