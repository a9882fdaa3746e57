"""Reads both databases with its own SQL and says what does not add up. Shares no code with the servers.

Every check is one query whose rows are findings: nothing to see, no rows. Run it when the load has ended and
the outbox is empty; then each spin must have exactly one contribution and each win exactly one credit.
"""

import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

# Each: what is wrong, and the rows for which it is.
SPINS_CHECKS: Mapping[str, str] = {
    "outbox row left over": """
        SELECT kind, spin_id::text, win, attempts, last_error FROM jackpot_outbox""",
    "wallet balance is not its last entry": """
        SELECT w.wallet_id, w.balance_minor, w.entry_count, e.balance_minor AS entry_balance
          FROM wallets w
          LEFT JOIN wallet_entries e ON e.wallet_id = w.wallet_id AND e.entry_number = w.entry_count
         WHERE w.balance_minor <> coalesce(e.balance_minor, 0)""",
    "wallet balance is not the sum of its entries": """
        SELECT w.wallet_id, w.balance_minor, w.entry_count, e.total, e.n
          FROM wallets w
          LEFT JOIN (SELECT wallet_id, sum(amount_minor) AS total, count(*) AS n
                       FROM wallet_entries GROUP BY wallet_id) e USING (wallet_id)
         WHERE w.balance_minor <> coalesce(e.total, 0) OR w.entry_count <> coalesce(e.n, 0)""",
    "entry does not follow from the one before": """
        SELECT * FROM (
            SELECT wallet_id, entry_number, balance_minor, amount_minor,
                   lag(balance_minor, 1, 0) OVER w AS before,
                   lag(entry_number, 1, 0) OVER w AS number_before
              FROM wallet_entries WINDOW w AS (PARTITION BY wallet_id ORDER BY entry_number)) e
         WHERE balance_minor <> before + amount_minor OR entry_number <> number_before + 1""",
    "spin without its stake": """
        SELECT s.spin_id::text FROM spins s
          LEFT JOIN wallet_entries e ON e.spin_id = s.spin_id AND e.kind = 1 AND e.wallet_id = s.wallet_id
         WHERE s.wager_minor > 0
         GROUP BY s.spin_id HAVING count(e.spin_id) <> 1 OR sum(e.amount_minor) <> -min(s.wager_minor)""",
    "spin without its payout": """
        SELECT s.spin_id::text FROM spins s
          LEFT JOIN wallet_entries e ON e.spin_id = s.spin_id AND e.kind = 2 AND e.wallet_id = s.wallet_id
         WHERE s.payout_minor > 0
         GROUP BY s.spin_id HAVING count(e.spin_id) <> 1 OR sum(e.amount_minor) <> min(s.payout_minor)""",
    "spin's balance is not its last entry's": """
        SELECT s.spin_id::text, s.balance_minor, e.balance_minor AS entry_balance FROM spins s
          JOIN (SELECT DISTINCT ON (spin_id) spin_id, balance_minor FROM wallet_entries
                 WHERE spin_id IS NOT NULL AND kind IN (1, 2) ORDER BY spin_id, entry_number DESC) e
         USING (spin_id)
         WHERE e.balance_minor <> s.balance_minor""",
    "voided spin has not been given back": """
        SELECT v.spin_id::text, sum(e.amount_minor) FROM spin_voids v
          LEFT JOIN wallet_entries e USING (spin_id) GROUP BY v.spin_id HAVING sum(e.amount_minor) <> 0""",
    "spin given back without a void": """
        SELECT e.spin_id::text FROM wallet_entries e LEFT JOIN spin_voids v USING (spin_id)
         WHERE e.kind IN (4, 5) AND v.spin_id IS NULL""",
    "void without a spin, or of a jackpot's spin and not noted for the outbox": """
        SELECT v.spin_id::text FROM spin_voids v LEFT JOIN spins s USING (spin_id)
          LEFT JOIN jackpot_voids j USING (spin_id)
         WHERE s.spin_id IS NULL OR s.has_jackpot <> (j.spin_id IS NOT NULL)""",
    "entry without its spin": """
        SELECT e.spin_id::text FROM wallet_entries e LEFT JOIN spins s USING (spin_id)
         WHERE e.spin_id IS NOT NULL AND s.spin_id IS NULL""",
    "SLOTS spin without its jackpot, or another one with it": """
        SELECT s.spin_id::text, s.game_category, s.has_jackpot FROM spins s JOIN wallets w USING (wallet_id)
         WHERE s.has_jackpot <> (s.game_category = 1 AND s.wager_minor > 0 AND NOT w.is_test)""",
    "jackpot spin without its result, or a result without its spin": """
        SELECT coalesce(s.spin_id, r.spin_id)::text FROM (SELECT * FROM spins WHERE has_jackpot) s
          FULL JOIN jackpot_results r USING (spin_id) WHERE s.spin_id IS NULL OR r.spin_id IS NULL""",
    "credit without a win, or another amount or wallet": """
        SELECT e.win, e.amount_minor FROM wallet_entries e LEFT JOIN jackpot_wins w USING (win)
         WHERE e.kind = 3 AND (w.win IS NULL OR w.amount_minor <> e.amount_minor OR w.wallet_id <> e.wallet_id
                               OR w.wallet_entry_id IS DISTINCT FROM e.wallet_id || ':' || e.entry_number)""",
    "win credited more than once": """
        SELECT win, count(*) FROM wallet_entries WHERE kind = 3 GROUP BY win HAVING count(*) <> 1""",
    "win in this database not credited": """
        SELECT win, state FROM jackpot_wins
         WHERE wallet_entry_id IS NULL AND failure_reason = '' AND state = 1""",
}

JACKPOTS_CHECKS: Mapping[str, str] = {
    "batch does not balance": """
        SELECT batch_id, currency_code, sum(amount_micros) FROM entries
         GROUP BY batch_id, currency_code HAVING sum(amount_micros) <> 0""",
    "batch named by a row but not recorded": """
        SELECT DISTINCT r.batch_id FROM (
            SELECT batch_id FROM contributions UNION ALL SELECT batch_id FROM entries
            UNION ALL SELECT batch_id FROM wins UNION ALL SELECT batch_id FROM win_events) r
          LEFT JOIN batches b USING (batch_id) WHERE b.batch_id IS NULL""",
    "pool's accounts are not the sums of their entries": """
        SELECT p.pool_id, a.account, a.amount, coalesce(sum(e.amount_micros), 0) AS booked
          FROM pools p CROSS JOIN LATERAL
               (VALUES (2, current_micros), (3, reserve_micros), (4, overflow_micros)) a (account, amount)
          LEFT JOIN entries e ON e.pool_key = p.pool_key AND e.account = a.account
         WHERE p.state <> 3
         GROUP BY p.pool_id, a.account, a.amount HAVING coalesce(sum(e.amount_micros), 0) <> a.amount""",
    "account that may not be negative is": """
        SELECT account, pool_key, operator_id, currency_code, sum(amount_micros) FROM entries
         WHERE account NOT IN (1, 5, 8) GROUP BY 1, 2, 3, 4 HAVING sum(amount_micros) < 0""",
    "batch's contribution entries are not the sums of its shares": """
        WITH shares AS (
            SELECT s.batch_id, s.pool_key, a.account, sum(a.amount) AS amount
              FROM contribution_shares s CROSS JOIN LATERAL
                   (VALUES (2, amount_micros), (3, reserve_micros), (4, overflow_micros)) a (account, amount)
             WHERE NOT s.shadow GROUP BY 1, 2, 3 HAVING sum(a.amount) <> 0),
        booked AS (
            SELECT batch_id, pool_key, account::int, sum(amount_micros) AS amount
              FROM entries WHERE kind = 2 AND account BETWEEN 2 AND 4 GROUP BY 1, 2, 3)
        SELECT batch_id, pool_key, account, s.amount AS shared, b.amount AS booked
          FROM shares s FULL JOIN booked b USING (batch_id, pool_key, account)
         WHERE s.amount IS DISTINCT FROM b.amount""",
    "share is not the wager times the rate": """
        SELECT s.spin_id::text, s.pool_id, s.amount_micros, s.reserve_micros, s.overflow_micros
          FROM contribution_shares s JOIN contributions c USING (spin_id)
          JOIN pool_configs f ON f.pool_key = s.pool_key AND f.version = s.config_version
         WHERE s.skip_reason = 0 AND s.amount_micros + s.reserve_micros + s.overflow_micros <>
               c.wager_minor * ((f.config::jsonb ->> 'contribution_ppm')::bigint
                                + coalesce((f.config::jsonb ->> 'reserve_ppm')::bigint, 0))""",
    "skipped share has money": """
        SELECT spin_id::text, pool_id FROM contribution_shares
         WHERE skip_reason <> 0 AND (amount_micros <> 0 OR reserve_micros <> 0 OR overflow_micros <> 0)""",
    "win does not pay what its pool held": """
        SELECT w.pool_key, w.spin_id::text, w.amount_minor, s.balance_micros FROM wins w
          JOIN contribution_shares s ON s.spin_id = w.spin_id AND s.pool_key = w.pool_key
         WHERE w.amount_minor <> s.balance_micros / 1000000""",
    "win without its share": """
        SELECT w.pool_key, w.spin_id::text FROM wins w
          LEFT JOIN contribution_shares s ON s.spin_id = w.spin_id AND s.pool_key = w.pool_key
         WHERE s.skip_reason IS DISTINCT FROM 0""",
    "win that its draw did not give": """
        SELECT w.pool_key, spin_id::text, draw_value, draw_threshold, reached, hidden FROM wins w
          JOIN pool_configs c ON c.pool_key = w.pool_key AND c.version = w.config_version
         WHERE NOT coalesce(length(draw_threshold) > length(draw_value) OR draw_value < draw_threshold,
                            reached >= hidden, config::jsonb ? 'game')""",
    "cycle of a pool neither won exactly once nor ended without a win": """
        SELECT p.pool_id, p.cycle, count(c.cycle), count(DISTINCT c.cycle) FROM pools p
          LEFT JOIN (SELECT pool_key, cycle FROM wins
                      UNION ALL SELECT pool_key, cycle FROM unwon_cycles) c USING (pool_key)
         GROUP BY p.pool_id, p.cycle
        HAVING count(c.cycle) <> p.cycle - 1 OR count(DISTINCT c.cycle) <> p.cycle - 1""",
    "win events have a gap": """
        SELECT o.operator_id, o.win_event_sequence, count(e.sequence), max(e.sequence) FROM operators o
          LEFT JOIN win_events e USING (operator_id) GROUP BY o.operator_id, o.win_event_sequence
        HAVING count(e.sequence) <> o.win_event_sequence
            OR coalesce(max(e.sequence), 0) <> o.win_event_sequence""",
    "voids' entries are not the sums of the voided shares": """
        WITH voided AS (
            SELECT v.batch_id, v.operator_id, c.currency_code,
                   sum(s.amount_micros + s.reserve_micros + s.overflow_micros) AS amount
              FROM voids v JOIN contributions c USING (spin_id) JOIN contribution_shares s USING (spin_id)
             WHERE NOT s.shadow GROUP BY 1, 2, 3
            HAVING sum(s.amount_micros + s.reserve_micros + s.overflow_micros) <> 0),
        booked AS (
            SELECT batch_id, operator_id, currency_code, sum(amount_micros) AS amount
              FROM entries WHERE kind = 8 AND account = 1 GROUP BY 1, 2, 3)
        SELECT batch_id, operator_id, v.amount AS voided, b.amount AS booked
          FROM voided v FULL JOIN booked b USING (batch_id, operator_id, currency_code)
         WHERE v.amount IS DISTINCT FROM b.amount""",
    "void without a contribution, or a contribution without a wager and a void": """
        SELECT spin_id::text FROM voids v FULL JOIN contributions c USING (spin_id)
         WHERE c.spin_id IS NULL OR v.spin_id IS NULL AND c.wager_minor = 0""",
    "win of a voided spin is still payable": """
        SELECT w.pool_key, w.spin_id::text FROM wins w JOIN voids USING (spin_id) CROSS JOIN LATERAL
               (SELECT e.state, e.spin_voided FROM win_events e
                 WHERE e.pool_key = w.pool_key AND e.spin_id = w.spin_id
                 ORDER BY e.sequence DESC LIMIT 1) last
         WHERE last.state = 1 AND NOT last.spin_voided""",
    "commitment missing for one of the next 16 cycles": """
        SELECT p.pool_id, n AS cycle FROM pools p CROSS JOIN LATERAL generate_series(p.cycle, p.cycle + 16) n
          LEFT JOIN seed_commitments c ON c.pool_key = p.pool_key AND c.cycle = n WHERE c.cycle IS NULL""",
    "payable and paid are not the wins": """
        WITH wins_by_state AS (
            SELECT w.operator_id, w.currency_code, sum(w.amount_minor) * 1000000::numeric AS amount,
                   last.state = 3 AS paid
              FROM wins w CROSS JOIN LATERAL
                   (SELECT e.state FROM win_events e WHERE e.pool_key = w.pool_key AND e.spin_id = w.spin_id
                     ORDER BY e.sequence DESC LIMIT 1) last
             WHERE NOT w.shadow AND last.state <> 4 GROUP BY 1, 2, 4),
        booked AS (
            SELECT operator_id, currency_code, sum(amount_micros) AS amount, account = 7 AS paid
              FROM entries WHERE account IN (6, 7) GROUP BY 1, 2, 4)
        SELECT operator_id, currency_code, paid, w.amount AS won, b.amount AS booked
          FROM wins_by_state w FULL JOIN booked b USING (operator_id, currency_code, paid)
         WHERE coalesce(w.amount, 0) <> coalesce(b.amount, 0)""",
}

SPINS_OF_JACKPOTS = """
SELECT spin_id, operator_id, user_id, wallet_id, currency_code, wager_minor, game_category, game_id,
       provider_name, provider_round_id, greatest(stake_kind, 1) AS stake_kind, country_code,
       client_seed, triggered_tiers
  FROM spins WHERE has_jackpot"""
CONTRIBUTIONS = SPINS_OF_JACKPOTS.replace(
    "FROM spins WHERE has_jackpot", "FROM contributions WHERE wager_minor > 0"
)
UNMET = "SELECT spin_id FROM contributions WHERE wager_minor = 0"

# What the answers said went into which pool, as this database keeps it, and as the other one does.
RESULT_SHARES = """
SELECT r.spin_id, s ->> 'pool' AS pool, (s ->> 'amount_micros')::bigint AS amount_micros
  FROM jackpot_results r CROSS JOIN LATERAL jsonb_array_elements(r.shares) s"""
RECORDED_SHARES = """
SELECT spin_id, 'pools/' || pool_id AS pool, amount_micros FROM contribution_shares
 WHERE skip_reason = 0 AND NOT shadow"""

CREDITS = """
SELECT win, wallet_id || ':' || entry_number AS entry_id, amount_minor FROM wallet_entries WHERE kind = 3"""
PAID_WINS = """
SELECT 'pools/' || p.pool_id || '/wins/' || w.spin_id AS win, e.wallet_entry_id AS entry_id,
       w.amount_minor, e.state, e.spin_voided
  FROM wins w JOIN pools p USING (pool_key)
  JOIN LATERAL (SELECT state, spin_voided, wallet_entry_id FROM win_events e
                 WHERE e.pool_key = w.pool_key AND e.spin_id = w.spin_id
                 ORDER BY sequence DESC LIMIT 1) e ON true
 WHERE NOT w.shadow"""
STATE_HELD, STATE_PAID = 2, 3


async def _look(connection: asyncpg.Connection, checks: Mapping[str, str]) -> list[str]:
    findings = []
    for wrong, sql in checks.items():
        rows = await connection.fetch(sql)
        findings += [f"{wrong}: {dict(row)}" for row in rows[:5]]
        if len(rows) > 5:
            findings.append(f"{wrong}: … {len(rows)} in all")
    return findings


def _differences(what: str, left: Mapping[Any, Any], right: Mapping[Any, Any]) -> list[str]:
    findings = [f"{what}: {key} only in the spins database" for key in left.keys() - right.keys()]
    findings += [f"{what}: {key} only in the jackpots database" for key in right.keys() - left.keys()]
    both = left.keys() & right.keys()
    findings += [f"{what}: {key}: {left[key]} and {right[key]}" for key in both if left[key] != right[key]]
    return findings


@dataclass(frozen=True, slots=True)
class WalletBooks:
    """What one wallet's own database says, whoever keeps it, to be held against the jackpots database."""

    # By spin: the fields of CONTRIBUTIONS, spin_id included.
    contributions: Mapping[UUID, tuple[Any, ...]]
    # By win: the wallet's entry, what was credited.
    credits: Mapping[str, tuple[str, int]]
    # Spins of contributions that the wallet voided.
    voided: Set[UUID] = frozenset()


async def jackpot_findings(jackpots_dsn: str, books: WalletBooks) -> list[str]:
    """What is wrong in the jackpots database, and between it and the only wallet that it serves."""
    jackpots = await asyncpg.connect(jackpots_dsn)
    try:
        found = await _look(jackpots, JACKPOTS_CHECKS)
        contributed = {row["spin_id"]: tuple(row) for row in await jackpots.fetch(CONTRIBUTIONS)}
        # Voided before they arrived: nothing of them is kept but the id.
        unmet = {row["spin_id"] for row in await jackpots.fetch(UNMET)}
        expected = {spin_id: row for spin_id, row in books.contributions.items() if spin_id not in unmet}
        found += _differences("contribution", expected, contributed)
        voided = {row["spin_id"] for row in await jackpots.fetch("SELECT spin_id FROM voids")}
        found += [f"void only in one database: {spin_id}" for spin_id in books.voided ^ voided]
        wins = await jackpots.fetch(PAID_WINS)
        paid = {
            row["win"]: (row["entry_id"], row["amount_minor"]) for row in wins if row["state"] == STATE_PAID
        }
        found += _differences("credit", books.credits, paid)
        return found + [
            f"win not paid: {dict(row)}"
            for row in wins
            if row["state"] != STATE_PAID and not (row["state"] == STATE_HELD and row["spin_voided"])
        ]
    finally:
        await jackpots.close()


async def share_findings(wallet_dsn: str, jackpots_dsn: str) -> list[str]:
    """Answers that a wallet's database keeps (jackpot_results) otherwise than they were decided."""
    wallet, jackpots = await asyncpg.connect(wallet_dsn), await asyncpg.connect(jackpots_dsn)
    try:
        told = {(row[0], row[1]): row[2] for row in await wallet.fetch(RESULT_SHARES)}
        shared = {(row[0], row[1]): row[2] for row in await jackpots.fetch(RECORDED_SHARES)}
        return _differences("share", told, shared)
    finally:
        await wallet.close()
        await jackpots.close()


async def findings(spins_dsn: str, jackpots_dsn: str, *, answered: Iterable[UUID] = ()) -> list[str]:
    """What is wrong, in sentences; empty when every coin is where it belongs.

    ``answered``: the ids of the spins that clients were told were settled.
    """
    spins = await asyncpg.connect(spins_dsn)
    try:
        found = await _look(spins, SPINS_CHECKS)
        books = WalletBooks(
            {row["spin_id"]: tuple(row) for row in await spins.fetch(SPINS_OF_JACKPOTS)},
            {row["win"]: (row["entry_id"], row["amount_minor"]) for row in await spins.fetch(CREDITS)},
            {row["spin_id"] for row in await spins.fetch("SELECT spin_id FROM jackpot_voids")},
        )
        there = {row["spin_id"] for row in await spins.fetch("SELECT spin_id FROM spins")}
        found += [f"spin answered but not settled: {spin_id}" for spin_id in answered if spin_id not in there]
    finally:
        await spins.close()
    found += await share_findings(spins_dsn, jackpots_dsn)
    return found + await jackpot_findings(jackpots_dsn, books)


async def counts(spins_dsn: str, jackpots_dsn: str) -> dict[str, int]:
    """How much there was to audit, for the test's own report."""
    spins, jackpots = await asyncpg.connect(spins_dsn), await asyncpg.connect(jackpots_dsn)
    try:
        return {
            "spins": await spins.fetchval("SELECT count(*) FROM spins"),
            "contributions": await jackpots.fetchval("SELECT count(*) FROM contributions"),
            "voids": await jackpots.fetchval("SELECT count(*) FROM voids"),
            "wins": await jackpots.fetchval("SELECT count(*) FROM wins"),
            "credits": await spins.fetchval("SELECT count(*) FROM wallet_entries WHERE kind = 3"),
        }
    finally:
        await spins.close()
        await jackpots.close()


def report(found: list[str]) -> str:
    """The findings as one text for an assertion."""
    return json.dumps(found[:20], indent=2) if found else "clean"
