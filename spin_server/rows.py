"""How a stored spin is read, by the committer for repeats and by the reads: one SELECT, one rendering."""

import json

import asyncpg

from spin_server.domain.commands import SpinMethod, SpinTerms
from spin_server.domain.facts import (
    NOT_APPLICABLE,
    JackpotState,
    JackpotView,
    SettledSpin,
    Share,
    SpinRecord,
    Win,
    win_state,
)

# One statement sees one moment: an outbox row that is being answered is seen either as it was or as answered.
SELECT_SPINS = """
SELECT s.*,
       r.state AS answer_state,
       r.shares,
       o.parked_time IS NOT NULL OR v.parked_time IS NOT NULL AS is_parked,
       v.spin_id IS NOT NULL AS is_void_open,
       (SELECT x.spin_id FROM spin_voids x WHERE x.spin_id = s.spin_id) IS NOT NULL AS is_voided,
       (SELECT jsonb_agg(jsonb_build_array(w.win, w.pool, w.tier, w.currency_code, w.amount_minor, w.state,
                                           w.wallet_entry_id IS NOT NULL, w.failure_reason <> '')
                         ORDER BY w.win)
          FROM jackpot_wins w
         WHERE s.has_jackpot AND w.spin_id = s.spin_id) AS wins
  FROM spins s
  LEFT JOIN jackpot_results r ON s.has_jackpot AND r.spin_id = s.spin_id
  LEFT JOIN jackpot_outbox o
    ON s.has_jackpot AND o.kind = 1 AND o.spin_id = s.spin_id AND o.win = '' AND o.event_sequence = 0
  LEFT JOIN jackpot_outbox v
    ON s.has_jackpot AND v.kind = 2 AND v.spin_id = s.spin_id AND v.win = '' AND v.event_sequence = 0
"""

# jackpot.v1.Contribution.State
_CONTRIBUTION_VOIDED = 2


def settled_spin(row: asyncpg.Record) -> SettledSpin:
    """A row of SELECT_SPINS."""
    terms = SpinTerms(
        spin_id=row["spin_id"],
        operator_id=row["operator_id"],
        user_id=row["user_id"],
        wallet_id=row["wallet_id"],
        game_id=row["game_id"],
        provider_name=row["provider_name"],
        provider_round_id=row["provider_round_id"],
        currency_code=row["currency_code"],
        wager_minor=row["wager_minor"],
        stake_kind=row["stake_kind"],
        country_code=row["country_code"],
        client_seed=row["client_seed"],
        triggered_tiers=row["triggered_tiers"],
    )
    record = SpinRecord(
        terms=terms,
        method=SpinMethod(row["method"]),
        game_category=row["game_category"],
        payout_minor=row["payout_minor"],
        balance_minor=row["balance_minor"],
        has_jackpot=row["has_jackpot"],
        settle_time=row["settle_time"],
    )
    return SettledSpin(record, _jackpot(row), row["is_voided"])


def _jackpot(row: asyncpg.Record) -> JackpotView:
    if not row["has_jackpot"]:
        return NOT_APPLICABLE
    wins = tuple(_win(*win) for win in json.loads(row["wins"])) if row["wins"] else ()
    if row["answer_state"] is None or row["is_void_open"]:  # its wins may have come first, as events
        return JackpotView(JackpotState.PARKED if row["is_parked"] else JackpotState.PENDING, wins=wins)
    voided = row["is_voided"] or row["answer_state"] == _CONTRIBUTION_VOIDED
    shares = tuple(Share(**share) for share in json.loads(row["shares"]))
    return JackpotView(JackpotState.VOIDED if voided else JackpotState.RECORDED, shares, wins)


def _win(
    win: str, pool: str, tier: str, currency: str, amount: int, state: int, credited: bool, failed: bool
) -> Win:
    return Win(win, pool, tier, currency, amount, win_state(state, credited, failed))
