"""Facts as the database has them: rows to pools, contributions, wins and what wallets said about them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg

from jackpot_server.domain.commands import Acknowledge, Contribute, Outcome
from jackpot_server.domain.evidence import AuditHead, Recording
from jackpot_server.domain.facts import (
    Contribution,
    ContributionState,
    HoldReason,
    Proof,
    Share,
    ShareRow,
    Win,
    WinState,
)
from jackpot_server.domain.pool import Lifecycle, PoolState

NUMBERS_PER_SHARE: Final = len(Share._fields)


POOL_COLUMNS: Final = """
       pool_key, pool_id, currency_code, state, config_version, cycle_config_version, cycle,
       cycle_start_micros, cycle_start_time, current_micros, reserve_micros, overflow_micros,
       version, update_time, last_win_minor, last_win_time, cycle_deadline, contribution_count"""


def pool_of(row: Sequence[Any]) -> PoolState:
    """A pool from POOL_COLUMNS."""
    pool_key, pool_id, currency_code, state, *rest = row
    return PoolState(pool_key, pool_id, currency_code, Lifecycle(state), *rest)


# In the order of `Contribute`, then what was recorded of it.
SELECT_CONTRIBUTIONS = """
SELECT spin_id, user_id, wallet_id, provider_round_id, client_seed, wager_minor, operator_id,
       currency_code, game_category, game_id, provider_name, stake_kind, country_code,
       triggered_tiers, occur_time, record_time, shares, b.chain, b.sequence, b.sha256,
       (SELECT v.spin_id FROM voids v WHERE v.spin_id = contributions.spin_id) IS NOT NULL AS is_voided
  FROM contributions
  JOIN batches b USING (batch_id)"""
READ_CONTRIBUTIONS = SELECT_CONTRIBUTIONS + " WHERE spin_id = ANY($1::uuid[])"


async def read_contributions(
    connection: asyncpg.Connection, spin_ids: Collection[UUID]
) -> dict[UUID, Contribution]:
    """Those of the contributions that exist, by spin id."""
    rows = await connection.fetch(READ_CONTRIBUTIONS, spin_ids)
    return {row["spin_id"]: contribution_of(row) for row in rows}


def contribution_of(row: asyncpg.Record) -> Contribution:
    """A contribution from the columns of SELECT_CONTRIBUTIONS."""
    *fields, tiers, occur_time, record_time, numbers, chain, sequence, sha256, is_voided = row
    command = Contribute._make([*fields, tuple(tiers.split(",")) if tiers else (), occur_time])
    head = None if chain is None else AuditHead(chain, sequence, sha256)
    state = ContributionState.VOIDED if is_voided else ContributionState.RECORDED
    return Contribution(command, record_time, state, share_rows(numbers), Recording(head))


def share_rows(numbers: Iterable[int]) -> list[ShareRow]:
    """The stored numbers of all shares, nine to a share."""
    number = iter(numbers)
    return list(zip(*[number] * NUMBERS_PER_SHARE, strict=True))


# Facts of a win, then its last event; one of a shadow pool has none.
WIN_COLUMNS = """
       w.pool_key, p.pool_id, w.tier, w.cycle, w.config_version, w.spin_id, w.operator_id, w.user_id,
       w.wallet_id, w.game_id, w.currency_code, w.amount_minor, w.shadow, w.draw_value, w.draw_threshold,
       w.reached, w.hidden, w.cycle_start_micros, w.cycle_start_time, w.cycle_deadline, w.decide_time,
       COALESCE(e.state, 0) AS state, COALESCE(e.hold_reason, 0), COALESCE(e.review_required, false),
       COALESCE(e.spin_voided, false), COALESCE(e.wallet_entry_id, ''), e.pay_time, COALESCE(e.sequence, 0)"""
WINS_AS_THEY_ARE = """
  FROM wins w
  JOIN pools p USING (pool_key)
  LEFT JOIN LATERAL (
        SELECT * FROM win_events
         WHERE pool_key = w.pool_key AND spin_id = w.spin_id
         ORDER BY sequence DESC LIMIT 1) e ON true"""
READ_WINS = f"""
SELECT {WIN_COLUMNS} {WINS_AS_THEY_ARE}
 WHERE w.spin_id = ANY($1::uuid[])
 ORDER BY w.spin_id, w.pool_key
"""


async def read_wins(connection: asyncpg.Connection, spin_ids: Collection[UUID]) -> dict[UUID, list[Win]]:
    """The wins of spins, as they are now, by spin id; within a spin by pool key."""
    wins: defaultdict[UUID, list[Win]] = defaultdict(list)
    for row in await connection.fetch(READ_WINS, spin_ids):
        wins[row["spin_id"]].append(win_of(row))
    return wins


def win_of(row: asyncpg.Record) -> Win:
    """A win from WIN_COLUMNS, which may be the first of a longer row."""
    value, threshold, reached, hidden, start, start_time, deadline, decide_time, state, reason = row[13:23]
    proof = Proof(
        None if value is None else int.from_bytes(value, "big"),
        None if threshold is None else int.from_bytes(threshold, "big"),
        reached,
        hidden,
        start,
        start_time,
        deadline,
    )
    fields: list[Any] = [*row[:13], proof, decide_time, WinState(state), HoldReason(reason), *row[23:28]]
    return Win(*fields)


READ_ACKNOWLEDGEMENTS = """
SELECT p.pool_id, a.spin_id, a.outcome, a.wallet_entry_id, a.credited_minor, a.currency_code,
       a.event_sequence, a.credit_time, a.failure_reason
  FROM acknowledgements a
  JOIN pools p USING (pool_key)
 WHERE a.spin_id = ANY($1::uuid[])
 ORDER BY a.batch_id, a.acknowledgement_number
"""


async def read_acknowledgements(
    connection: asyncpg.Connection, spin_ids: Collection[UUID]
) -> dict[tuple[str, UUID], list[Acknowledge]]:
    """Everything that wallets said about the wins of spins, oldest first, by pool id and spin id."""
    said: defaultdict[tuple[str, UUID], list[Acknowledge]] = defaultdict(list)
    for pool_id, spin_id, outcome, *rest in await connection.fetch(READ_ACKNOWLEDGEMENTS, spin_ids):
        said[pool_id, spin_id].append(Acknowledge(pool_id, spin_id, Outcome(outcome), *rest))
    return said
