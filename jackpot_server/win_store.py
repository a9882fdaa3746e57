"""What a batch writes of wins, in one round trip: wins, events, acknowledgements, commitments, open wins."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from jackpot_server.domain.decision import Decision, StoredAcknowledgement
from jackpot_server.domain.draw import draw_bytes
from jackpot_server.domain.evidence import ACKNOWLEDGEMENTS, SEED_COMMITMENTS, WIN_EVENTS, WINS, Evidence
from jackpot_server.domain.facts import Batch, Win, WinEvent, WinState
from jackpot_server.store import columns_of

# The counters are locked in order of their operators; the events take the numbers that they were bumped by.
WRITE_WINS = """
WITH bumped AS (
    INSERT INTO operators AS o (operator_id, win_event_sequence)
    SELECT u.operator_id, u.event_count
      FROM unnest($3::text[], $4::bigint[]) AS u (operator_id, event_count)
     ORDER BY u.operator_id
        ON CONFLICT (operator_id) DO UPDATE
       SET win_event_sequence = o.win_event_sequence + EXCLUDED.win_event_sequence
    RETURNING o.operator_id, o.win_event_sequence
), counter AS MATERIALIZED (
    SELECT b.operator_id, b.win_event_sequence - u.event_count AS last_before
      FROM bumped b
      JOIN unnest($3::text[], $4::bigint[]) AS u (operator_id, event_count) USING (operator_id)
), win AS (
    INSERT INTO wins (
           batch_id, decide_time, pool_key, spin_id, cycle, config_version, tier, operator_id, user_id,
           wallet_id, game_id, currency_code, amount_minor, shadow, draw_value, draw_threshold, reached,
           hidden, cycle_start_micros, cycle_start_time, cycle_deadline)
    SELECT $1::bigint, $2::timestamptz, u.*
      FROM unnest($5::integer[], $6::uuid[], $7::bigint[], $8::integer[], $9::text[], $10::text[],
                  $11::text[], $12::text[], $13::text[], $14::text[], $15::bigint[], $16::boolean[],
                  $17::bytea[], $18::bytea[], $19::bigint[], $20::bigint[], $21::bigint[],
                  $22::timestamptz[], $23::timestamptz[])
        AS u (pool_key, spin_id, cycle, config_version, tier, operator_id, user_id, wallet_id, game_id,
              currency_code, amount_minor, shadow, draw_value, draw_threshold, reached, hidden,
              cycle_start_micros, cycle_start_time, cycle_deadline)
     ORDER BY u.pool_key, u.spin_id
), event AS (
    INSERT INTO win_events (
           batch_id, event_time, operator_id, sequence, pool_key, spin_id, kind, state, hold_reason,
           review_required, spin_voided, wallet_entry_id, pay_time)
    SELECT $1::bigint, $2::timestamptz, u.operator_id, counter.last_before + u.number, u.pool_key, u.spin_id,
           u.kind, u.state, u.hold_reason, u.review_required, u.spin_voided, u.wallet_entry_id, u.pay_time
      FROM unnest($24::text[], $25::bigint[], $26::integer[], $27::uuid[], $28::smallint[], $29::smallint[],
                  $30::smallint[], $31::boolean[], $32::boolean[], $33::text[], $34::timestamptz[])
        AS u (operator_id, number, pool_key, spin_id, kind, state, hold_reason, review_required,
              spin_voided, wallet_entry_id, pay_time)
      JOIN counter USING (operator_id)
     ORDER BY u.operator_id, u.number
), acknowledgement AS (
    INSERT INTO acknowledgements (
           batch_id, acknowledge_time, acknowledgement_number, pool_key, spin_id, outcome, wallet_entry_id,
           credited_minor, currency_code, credit_time, failure_reason, event_sequence, took_effect)
    SELECT $1::bigint, $2::timestamptz, u.*
      FROM unnest($35::integer[], $36::integer[], $37::uuid[], $38::smallint[], $39::text[], $40::bigint[],
                  $41::text[], $42::timestamptz[], $43::text[], $44::bigint[], $45::boolean[])
        AS u (acknowledgement_number, pool_key, spin_id, outcome, wallet_entry_id, credited_minor,
              currency_code, credit_time, failure_reason, event_sequence, took_effect)
), commitment AS (
    INSERT INTO seed_commitments (batch_id, commit_time, pool_key, cycle, key_id, commitment)
    SELECT $1::bigint, $2::timestamptz, u.*
      FROM unnest($46::integer[], $47::bigint[], $48::text[], $49::bytea[])
        AS u (pool_key, cycle, key_id, commitment)
     ORDER BY u.pool_key, u.cycle
), opened AS (
    INSERT INTO open_wins AS o (pool_key, spin_id, state, since)
    SELECT u.*, $2::timestamptz
      FROM unnest($50::integer[], $51::uuid[], $52::smallint[]) AS u (pool_key, spin_id, state)
     ORDER BY u.pool_key, u.spin_id
        ON CONFLICT (pool_key, spin_id) DO UPDATE SET state = EXCLUDED.state, since = EXCLUDED.since
     WHERE o.state <> EXCLUDED.state
), closed AS (
    DELETE FROM open_wins o
     USING unnest($53::integer[], $54::uuid[]) AS u (pool_key, spin_id)
     WHERE o.pool_key = u.pool_key AND o.spin_id = u.spin_id
)
SELECT operator_id, last_before FROM counter
"""


async def write_wins(
    connection: asyncpg.Connection,
    batch: Batch,
    decision: Decision,
    commitments: Sequence[tuple[int, int, str, bytes]],
    evidence: Evidence,
) -> Mapping[str, int]:
    """Wins, their events, acknowledgements and commitments (pool key, cycle, key id, SHA-256 of the seed).

    Returns the number of each operator's last event before the batch's own. Comes before `write_batch`.
    """
    wins = [_win_row(win) for win in decision.wins]
    events = [_event_row(event) for event in decision.events]
    acknowledgements = [
        (number, *_acknowledgement_row(said)) for number, said in enumerate(decision.acknowledgements, 1)
    ]
    rows = await connection.fetch(
        WRITE_WINS,
        *batch,
        *columns_of(list(decision.event_counts().items()), 2),
        *columns_of(wins, 19),
        *columns_of(events, 11),
        *columns_of(acknowledgements, 11),
        *columns_of(commitments, 4),
        *_open_wins(decision.events),
    )
    last_before = {row["operator_id"]: row["last_before"] for row in rows}
    evidence.add(WINS, wins)
    evidence.add(
        WIN_EVENTS, [(operator, last_before[operator] + number, *rest) for operator, number, *rest in events]
    )
    evidence.add(ACKNOWLEDGEMENTS, acknowledgements)
    evidence.add(SEED_COMMITMENTS, commitments)
    return last_before


def _open_wins(events: Sequence[WinEvent]) -> list[Sequence[Any]]:
    """Columns of the wins that are open after the batch, with their states; then of those that are not."""
    last = {(event.win.pool_key, event.win.spin_id): event.win.state for event in events}
    opened = [(*key, state) for key, state in last.items() if state in (WinState.PAYABLE, WinState.HELD)]
    closed = [key for key, state in last.items() if state not in (WinState.PAYABLE, WinState.HELD)]
    return [*columns_of(opened, 3), *columns_of(closed, 2)]


def _win_row(win: Win) -> tuple[Any, ...]:
    value, threshold = win.proof.value, win.proof.threshold
    return (
        win.pool_key,
        win.spin_id,
        win.cycle,
        win.config_version,
        win.tier,
        win.operator_id,
        win.user_id,
        win.wallet_id,
        win.game_id,
        win.currency_code,
        win.amount_minor,
        win.shadow,
        None if value is None else draw_bytes(value),
        None if threshold is None else draw_bytes(threshold),
        win.proof.reached,
        win.proof.hidden,
        win.proof.cycle_start_micros,
        win.proof.cycle_start_time,
        win.proof.cycle_deadline,
    )


def _event_row(event: WinEvent) -> tuple[Any, ...]:
    win = event.win
    return (
        win.operator_id,
        -win.event_sequence,
        win.pool_key,
        win.spin_id,
        event.kind,
        win.state,
        win.hold_reason,
        win.review_required,
        win.spin_voided,
        win.wallet_entry_id,
        win.pay_time,
    )


def _acknowledgement_row(said: StoredAcknowledgement) -> tuple[Any, ...]:
    command = said.command
    return (
        said.win.pool_key,
        command.spin_id,
        command.outcome,
        command.wallet_entry_id,
        command.credited_minor,
        command.currency_code,
        command.credit_time,
        command.failure_reason,
        command.event_sequence,
        said.took_effect,
    )
