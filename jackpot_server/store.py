"""What a batch locks and writes, each in one round trip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg

from jackpot_server.chains import Record, append_record, free_chain, record_sql
from jackpot_server.domain.commands import Contribute
from jackpot_server.domain.decide import Decision, StoredAcknowledgement
from jackpot_server.domain.draw import draw_bytes
from jackpot_server.domain.evidence import (
    ACKNOWLEDGEMENTS,
    CONTRIBUTIONS,
    ENTRIES,
    NULL,
    POOL_STATES,
    SEED_COMMITMENTS,
    SEPARATOR,
    WIN_EVENTS,
    WINS,
    AuditHead,
    Evidence,
    escaped,
    state_numbers,
)
from jackpot_server.domain.facts import (
    Batch,
    Contribution,
    Entry,
    ShareRow,
    Win,
    WinEvent,
    WinState,
)
from jackpot_server.domain.pool import PoolState
from jackpot_server.recall import NUMBERS_PER_SHARE, POOL_COLUMNS, pool_of

_SHARE_TEXT: Final = ",".join(["%d"] * NUMBERS_PER_SHARE)


@dataclass(frozen=True, slots=True)
class Locked:
    """What was found once all locks were taken. `known`: those of the batch's spin ids that are recorded."""

    batch: Batch
    catalog_version: int
    known: list[UUID]
    pools: list[PoolState]


# The aggregate reads its input to the end: its clock and number are taken when every lock is held.
LOCK_POOLS = f"""
WITH locked AS MATERIALIZED (
    SELECT {POOL_COLUMNS}
      FROM pools
     WHERE pool_key = ANY($1::integer[])
     ORDER BY pool_key
       FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT count(*) AS pool_count, clock_timestamp() AS now, nextval('batch_ids') AS batch_id FROM locked
)
SELECT moment.batch_id, moment.now, (SELECT version FROM catalog) AS catalog_version,
       ARRAY(SELECT spin_id FROM contributions
              WHERE spin_id = ANY(string_to_array($2::text, ',')::uuid[])) AS known,
       locked.*
  FROM moment LEFT JOIN locked ON true
"""
_MOMENT_COLUMNS: Final = 4


async def lock_pools(
    connection: asyncpg.Connection, pool_keys: Sequence[int], spin_ids: Sequence[UUID]
) -> Locked:
    """Locks the pools in order of their keys, then reads the clock and which spins are known."""
    rows = await connection.fetch(LOCK_POOLS, pool_keys, ",".join(map(str, spin_ids)))
    batch_id, now, catalog_version, known, pool_key = rows[0][: _MOMENT_COLUMNS + 1]
    pools = [] if pool_key is None else [pool_of(row[_MOMENT_COLUMNS:]) for row in rows]
    return Locked(Batch(batch_id, now), catalog_version, known, pools)


_FIRST_OF_RECORD: Final = 39

# The columns of contributions come as one text each: the driver looks at every element of an array more than
# once, which cost more than everything else. Texts that may be empty end with a separator each, so that one
# empty text is one; the array then has an empty element too many, which no row takes.
WRITE_BATCH: Final = r"""
WITH contribution AS (
    INSERT INTO contributions (
           batch_id, record_time, spin_id, user_id, wallet_id, provider_round_id, client_seed, wager_minor,
           operator_id, currency_code, game_category, game_id, provider_name, stake_kind, country_code,
           triggered_tiers, occur_time, shares)
    SELECT $1::bigint, $2::timestamptz, u.spin_id, u.user_id, u.wallet_id, u.provider_round_id,
           u.client_seed, u.wager_minor, u.operator_id, u.currency_code, u.game_category, u.game_id,
           u.provider_name, u.stake_kind, u.country_code, u.triggered_tiers,
           nullif(u.occur_time, E'\x1a')::timestamptz, u.shares::bigint[]
      FROM unnest(
               string_to_array($4::text, E'\x1f')::uuid[],
               string_to_array($5::text, E'\x1f'),
               string_to_array($6::text, E'\x1f'),
               string_to_array($7::text, E'\x1f'),
               string_to_array($8::text, E'\x1f'),
               string_to_array($9::text, E'\x1f')::bigint[],
               string_to_array($10::text, E'\x1f'),
               string_to_array($11::text, E'\x1f'),
               string_to_array($12::text, E'\x1f')::smallint[],
               string_to_array($13::text, E'\x1f'),
               string_to_array($14::text, E'\x1f'),
               string_to_array($15::text, E'\x1f')::smallint[],
               string_to_array($16::text, E'\x1f'),
               string_to_array($17::text, E'\x1f'),
               string_to_array($18::text, E'\x1f'),
               string_to_array($19::text, E'\x1f'))
           WITH ORDINALITY
        AS u (spin_id, user_id, wallet_id, provider_round_id, client_seed, wager_minor, operator_id,
              currency_code, game_category, game_id, provider_name, stake_kind, country_code,
              triggered_tiers, occur_time, shares, row_number)
     WHERE u.row_number <= $3
     ORDER BY u.spin_id
    RETURNING 1
), entry AS (
    INSERT INTO entries (batch_id, entry_number, account, kind, pool_key, operator_id, currency_code,
                         amount_micros)
    SELECT $1::bigint, u.entry_number, u.account, u.kind, u.pool_key, u.operator_id, u.currency_code,
           u.amount_micros
      FROM unnest($20::smallint[], $21::smallint[], $22::integer[], $23::text[], $24::text[], $25::numeric[])
           WITH ORDINALITY
        AS u (account, kind, pool_key, operator_id, currency_code, amount_micros, entry_number)
), pool AS (
UPDATE pools AS p
   SET cycle_config_version = u.cycle_config_version,
       cycle = u.cycle,
       cycle_start_micros = u.cycle_start_micros,
       cycle_start_time = u.cycle_start_time,
       current_micros = u.current_micros,
       reserve_micros = u.reserve_micros,
       overflow_micros = u.overflow_micros,
       version = u.version,
       update_time = u.update_time,
       last_win_minor = u.last_win_minor,
       last_win_time = u.last_win_time,
       cycle_deadline = u.cycle_deadline
  FROM unnest($26::integer[], $27::integer[], $28::bigint[], $29::bigint[], $30::timestamptz[], $31::bigint[],
              $32::bigint[], $33::bigint[], $34::bigint[], $35::timestamptz[], $36::bigint[],
              $37::timestamptz[], $38::timestamptz[])
    AS u (pool_key, cycle_config_version, cycle, cycle_start_micros, cycle_start_time, current_micros,
          reserve_micros, overflow_micros, version, update_time, last_win_minor, last_win_time,
          cycle_deadline)
 WHERE p.pool_key = u.pool_key
), """ + record_sql(_FIRST_OF_RECORD, free_chain(after="contribution"))


async def write_batch(
    connection: asyncpg.Connection, batch: Batch, decision: Decision, evidence: Evidence
) -> None:
    """Contributions and entries, the pools that are locked; then the batch's record.

    `evidence` has what was written before: this is the batch's last statement, for whatever follows on the
    lock of a chain makes other batches wait. Fills in the decision's recording.
    """
    contributions = [*decision.contributions, *decision.unmet]
    columns = _contribution_columns(contributions)
    texts = [SEPARATOR.join(columns[0]), *map(_one_text, columns[1:-1]), SEPARATOR.join(columns[-1])]
    _add_contributions(evidence, columns, texts)
    entries = _columns(decision.entries, len(Entry._fields))
    evidence.add(ENTRIES, zip(range(1, len(decision.entries) + 1), *entries, strict=True))
    states = [state_numbers(pool) for pool in decision.pools]
    evidence.add(POOL_STATES, states)
    record = Record(batch, states, evidence.seal())
    head = await connection.fetchrow(
        WRITE_BATCH,
        *batch,
        len(contributions),
        *texts,
        *entries,
        *_columns([_pool_row(pool) for pool in decision.pools], 13),
        *record.columns,
    )
    decision.recording.head = await append_record(connection, record) if head is None else AuditHead(*head)


def _contribution_columns(contributions: Sequence[Contribution]) -> list[Sequence[Any]]:
    """In the order of the evidence's columns."""
    columns = _columns([contribution.command for contribution in contributions], len(Contribute._fields))
    tiers, occur_times = columns[-2:]
    columns[0] = list(map(str, columns[0]))
    columns[-2] = [",".join(each) for each in tiers]
    columns[-1] = [NULL if time is None else time.isoformat() for time in occur_times]
    columns.append([_shares_text(contribution.shares) for contribution in contributions])
    return columns


_CONTRIBUTION_TEXT: Final = f"%s{SEPARATOR}" * len(CONTRIBUTIONS.columns)


def _add_contributions(evidence: Evidence, columns: Sequence[Sequence[Any]], texts: Sequence[str]) -> None:
    """What `row_text` would say of the rows, but several times as fast. `texts`: of the same columns."""
    *plain, _, _ = texts
    if any(NULL in text for text in plain):
        columns = [*(_escaped(values) for values in columns[:-2]), *columns[-2:]]
    evidence.add_texts(
        CONTRIBUTIONS, [(_CONTRIBUTION_TEXT % row).encode() for row in zip(*columns, strict=True)]
    )


def _escaped(values: Sequence[Any]) -> list[Any]:
    return [escaped(value) if isinstance(value, str) else value for value in values]


def _one_text(values: Sequence[Any]) -> str:
    """All values of a column, each text with its separator behind it. ValueError if a text has one in it."""
    if not values or not isinstance(values[0], str):
        return SEPARATOR.join(map(str, values))
    text = SEPARATOR.join(values) + SEPARATOR
    if text.count(SEPARATOR) != len(values):
        raise ValueError("a text holds the separator of columns")
    return text


def _shares_text(shares: Sequence[ShareRow]) -> str:
    """The literal of an array of all numbers of the shares."""
    return "{" + ",".join([_SHARE_TEXT % share for share in shares]) + "}"


def _pool_row(pool: PoolState) -> tuple[Any, ...]:
    return (
        pool.pool_key,
        pool.cycle_config_version,
        pool.cycle,
        pool.cycle_start_micros,
        pool.cycle_start_time,
        pool.current_micros,
        pool.reserve_micros,
        pool.overflow_micros,
        pool.version,
        pool.update_time,
        pool.last_win_minor,
        pool.last_win_time,
        pool.cycle_deadline,
    )


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width


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
        *_columns(list(decision.event_counts().items()), 2),
        *_columns(wins, 19),
        *_columns(events, 11),
        *_columns(acknowledgements, 11),
        *_columns(commitments, 4),
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
    return [*_columns(opened, 3), *_columns(closed, 2)]


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
