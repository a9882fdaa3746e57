"""What a batch locks and writes, each in one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg

from jackpot_server.chains import Record, append_record, free_chain, record_sql
from jackpot_server.domain.commands import Contribute
from jackpot_server.domain.decision import (
    Decision,
)
from jackpot_server.domain.evidence import (
    CONTRIBUTIONS,
    ENTRIES,
    NULL,
    POOL_STATES,
    SEPARATOR,
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


_FIRST_OF_RECORD: Final = 40

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
       cycle_deadline = u.cycle_deadline,
       contribution_count = u.contribution_count
  FROM unnest($26::integer[], $27::integer[], $28::bigint[], $29::bigint[], $30::timestamptz[], $31::bigint[],
              $32::bigint[], $33::bigint[], $34::bigint[], $35::timestamptz[], $36::bigint[],
              $37::timestamptz[], $38::timestamptz[], $39::bigint[])
    AS u (pool_key, cycle_config_version, cycle, cycle_start_micros, cycle_start_time, current_micros,
          reserve_micros, overflow_micros, version, update_time, last_win_minor, last_win_time,
          cycle_deadline, contribution_count)
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
    entries = columns_of(decision.entries, len(Entry._fields))
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
        *columns_of([_pool_row(pool) for pool in decision.pools], 14),
        *record.columns,
    )
    decision.recording.head = await append_record(connection, record) if head is None else AuditHead(*head)


def _contribution_columns(contributions: Sequence[Contribution]) -> list[Sequence[Any]]:
    """In the order of the evidence's columns."""
    columns = columns_of([contribution.command for contribution in contributions], len(Contribute._fields))
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
        pool.contribution_count,
    )


def columns_of(rows: Sequence[Sequence[Any]], width: int) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width
