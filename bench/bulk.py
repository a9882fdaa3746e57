"""Tables filled with millions of rows, as years of play would leave them; one statement per table.

Indexes are made anew when the rows are there, which takes a fraction of keeping them up to date. Only what
the servers read and write beside is there: no wallet, pool or ledger knows of these spins.
"""

from time import monotonic

import asyncpg

LIMIT_S = 4 * 3600.0

_SPINS = """
INSERT INTO spins (spin_id, method, operator_id, user_id, wallet_id, game_id, game_category, provider_name,
                   provider_round_id, currency_code, wager_minor, payout_minor, stake_kind, country_code,
                   client_seed, triggered_tiers, balance_minor, has_jackpot, settle_time)
SELECT gen_random_uuid(), 1, $1, 'user-' || n % 100000, 'wallet-' || n % 100000, 'demo-slots', 1, 'house',
       'round', 'COIN', 100, 0, 1, '', '', '', 100, false, now() - n * interval '1 ms'
  FROM generate_series($2::bigint, $3::bigint) n"""
_ENTRIES = """
INSERT INTO wallet_entries (wallet_id, entry_number, kind, amount_minor, balance_minor, spin_id, entry_time)
SELECT wallet_id, row_number() OVER (PARTITION BY wallet_id), 1, -100, 100, spin_id, settle_time
  FROM spins WHERE operator_id = $1"""
_RESULTS = """
INSERT INTO jackpot_results (spin_id, operator_id, state, shares, record_time)
SELECT spin_id, operator_id, 1, '[{"pool": "pools/mini", "tier": "MINI", "amount_micros": 1500}]', settle_time
  FROM spins WHERE operator_id = $1"""
_CONTRIBUTIONS = """
INSERT INTO contributions (batch_id, record_time, spin_id, user_id, wallet_id, provider_round_id, client_seed,
                           wager_minor, operator_id, currency_code, game_category, game_id, provider_name,
                           stake_kind, country_code, triggered_tiers, occur_time, shares)
SELECT -1 - n / 50, now() - n * interval '1 ms', gen_random_uuid(), 'user-' || n % 100000,
       'wallet-' || n % 100000, 'round', '', 100, $1, 'COIN', 1, 'demo-slots', 'house', 1, '', '',
       now() - n * interval '1 ms', '{1,1,1,1500,700,0,1500,0,0}'
  FROM generate_series(1, $2::bigint) n"""


async def fill_spins(dsn: str, operator_id: str, first: int, last: int) -> None:
    """Spins number `first` to `last` of an operator, each a millisecond older than the one before."""
    await _run(dsn, "spins", _SPINS, operator_id, first, last)


async def fill_what_spins_leave(dsn: str, operator_id: str) -> None:
    """An entry and a jackpot's answer for each spin of an operator."""
    await _run(dsn, "wallet_entries", _ENTRIES, operator_id)
    await _run(dsn, "jackpot_results", _RESULTS, operator_id)


async def fill_contributions(dsn: str, operator_id: str, count: int) -> None:
    """So many contributions of an operator, fifty to a batch."""
    await _run(dsn, "contributions", _CONTRIBUTIONS, operator_id, count)


_SETTINGS = ("SET maintenance_work_mem = '1GB'", "SET work_mem = '1GB'")
_KEYS = """
SELECT format('ALTER TABLE %I DROP CONSTRAINT %I', $1::text, conname) AS away,
       format('ALTER TABLE %I ADD CONSTRAINT %I %s', $1::text, conname, pg_get_constraintdef(oid)) AS back
  FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype IN ('p', 'u')"""
_INDEXES = """
SELECT format('DROP INDEX %I', indexname) AS away, indexdef AS back FROM pg_indexes WHERE tablename = $1"""


async def _run(dsn: str, table: str, statement: str, *arguments: object) -> None:
    connection = await asyncpg.connect(dsn)
    begin = monotonic()
    try:
        for setting in _SETTINGS:
            await connection.execute(setting)
        again = []
        # Once the keys are away, what is left are indexes of no constraint.
        for query in (_KEYS, _INDEXES):
            for away, back in await connection.fetch(query, table):
                await connection.execute(away)
                again.append(back)
        await connection.execute(statement, *arguments, timeout=LIMIT_S)
        for back in again:
            await connection.execute(back, timeout=LIMIT_S)
        await connection.execute(f"VACUUM ANALYZE {table}", timeout=LIMIT_S)
        await connection.execute("CHECKPOINT", timeout=LIMIT_S)
    finally:
        await connection.close()
    print(f"  {table} filled in {monotonic() - begin:.0f} s", flush=True)
