"""What must hold between rows of different batches, as queries: each row of an answer is a deviation.

A query gives `place` (which row) and `message`. To check one thing more, add one line; what holds of every
table of the evidence is made from TABLES.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import asyncpg

from jackpot_server.domain.decision import COMMITTED_AHEAD
from jackpot_server.domain.evidence import POOL_STATES, TABLES, Audited
from service_kit.audit_report import Findings

BATCHES: Final = "every row has a batch, every batch a record"
CYCLES: Final = "every cycle ended once, its seed committed before"
VERSIONS: Final = "every version of every pool is there"
EVENTS: Final = "every operator's win events are gapless and follow on one another"
ADMIN: Final = "people's changes are in the order of their batches"

_FETCH_AT_ONCE: Final = 2_000


class TableCheck(NamedTuple):
    """A query about the rows of `table`, which are counted as those that it examined."""

    name: str
    table: str
    sql: str


TABLE_CHECKS: Final = (
    TableCheck(BATCHES, "batches", """
SELECT 'batch ' || batch_id AS place, 'it is no record of a chain' AS message
  FROM batches
 WHERE chain IS NULL AND batch_id >= coalesce((SELECT min(first_batch_id) FROM audit_chains), 0)"""),
    TableCheck(CYCLES, "pools", """
SELECT format('pool %s, cycle %s', p.pool_key, n) AS place,
       format('it ended %s times, and should have %s', count(c.cycle), (n < p.cycle)::int) AS message
  FROM pools p
 CROSS JOIN LATERAL generate_series(1, p.cycle) n
  LEFT JOIN (SELECT pool_key, cycle FROM wins UNION ALL SELECT pool_key, cycle FROM unwon_cycles) c
    ON c.pool_key = p.pool_key AND c.cycle = n
 GROUP BY p.pool_key, p.cycle, n HAVING count(c.cycle) <> (n < p.cycle)::int"""),
    TableCheck(CYCLES, "seed_commitments", f"""
SELECT format('seed_commitments pool_key %s, cycle %s', p.pool_key, n) AS place, 'it is missing' AS message
  FROM pools p
 CROSS JOIN LATERAL generate_series(1, p.cycle + {COMMITTED_AHEAD}) n
  LEFT JOIN seed_commitments c ON c.pool_key = p.pool_key AND c.cycle = n
 WHERE c.cycle IS NULL"""),
    TableCheck(CYCLES, "seed_commitments", """
SELECT format('seed_commitments pool_key %s, cycle %s', c.pool_key, c.cycle) AS place,
       format('batch %s committed to it, batch %s has won it', c.batch_id, w.batch_id) AS message
  FROM seed_commitments c JOIN wins w USING (pool_key, cycle)
 WHERE c.batch_id >= w.batch_id"""),
    TableCheck(VERSIONS, "pool_configs", """
SELECT format('pool_configs %s version %s', coalesce(p.pool_key, c.pool_key),
              coalesce(n, c.version)) AS place,
       CASE WHEN c.version IS NULL THEN 'it is missing' ELSE 'its pool has not had it' END AS message
  FROM (SELECT pool_key, n FROM pools CROSS JOIN LATERAL generate_series(1, config_version) n) p
  FULL JOIN pool_configs c ON c.pool_key = p.pool_key AND c.version = p.n
 WHERE c.version IS NULL OR p.n IS NULL"""),
    TableCheck(EVENTS, "win_events", """
SELECT format('win_events operator_id %s, sequence %s, batch %s', operator_id, sequence, batch_id) AS place,
       'the event before it is number ' || before AS message
  FROM (SELECT operator_id, sequence, batch_id,
               lag(sequence, 1, 0::bigint) OVER (PARTITION BY operator_id ORDER BY sequence) AS before
          FROM win_events) e
 WHERE sequence <> before + 1"""),
    # (state before, kind, state): DECIDED, HELD, RELEASED, REJECTED, PAID, REVIEW_REQUIRED.
    TableCheck(EVENTS, "win_events", """
SELECT format('win_events operator_id %s, sequence %s, batch %s', operator_id, sequence, batch_id) AS place,
       format('kind %s with state %s cannot follow on state %s', kind, state, coalesce(before, 0)) AS message
  FROM (SELECT *, lag(state) OVER (PARTITION BY pool_key, spin_id ORDER BY sequence) AS before
          FROM win_events) e
 WHERE (coalesce(before, 0), kind, state) NOT IN (
           (0, 1, 1), (0, 1, 2), (1, 2, 2), (2, 2, 2), (2, 3, 1), (2, 4, 4), (1, 5, 3), (2, 5, 3),
           (3, 6, 3))"""),
    TableCheck(EVENTS, "wins", """
SELECT format('wins pool_key %s, spin_id %s, batch %s', w.pool_key, w.spin_id, w.batch_id) AS place,
       format('%s events in its own batch say that it was decided, %s in all; there should be %s',
              count(e.kind) FILTER (WHERE e.kind = 1 AND e.batch_id = w.batch_id), count(e.kind),
              CASE WHEN w.shadow THEN 'none' ELSE 'one' END) AS message
  FROM wins w LEFT JOIN win_events e ON e.pool_key = w.pool_key AND e.spin_id = w.spin_id
 GROUP BY w.pool_key, w.spin_id
HAVING CASE WHEN w.shadow THEN count(e.kind) <> 0
            ELSE count(e.kind) FILTER (WHERE e.kind = 1 AND e.batch_id = w.batch_id) <> 1 END"""),
    TableCheck(EVENTS, "operators", """
SELECT 'operator ' || coalesce(o.operator_id, e.operator_id) AS place,
       format('its counter is %s, and should be %s', coalesce(o.win_event_sequence::text, 'not there'),
              coalesce(e.last, 0)) AS message
  FROM operators o
  FULL JOIN (SELECT operator_id, max(sequence) AS last FROM win_events GROUP BY operator_id) e
 USING (operator_id)
 WHERE o.win_event_sequence IS DISTINCT FROM coalesce(e.last, 0)"""),
    TableCheck(ADMIN, "admin_events", """
SELECT format('admin_events event_number %s, batch %s', event_number, batch_id) AS place,
       'the event before it is of batch ' || before AS message
  FROM (SELECT event_number, batch_id, lag(batch_id) OVER (ORDER BY event_number) AS before
          FROM admin_events) e
 WHERE batch_id < before"""),
)  # fmt: skip

# A row without a batch is from before the trail, if there was anything before it.
_BATCHLESS: Final = """
SELECT concat_ws(' ', '{table}', {key}) AS place, 'it has no batch' AS message
  FROM {table}
 WHERE {batch} IS NULL AND (coalesce((SELECT min(first_batch_id) FROM audit_chains), 1) = 1{later})"""
_LATER: Final = " OR {time} >= (SELECT min(batch_time) FROM batches WHERE chain IS NOT NULL)"


def _batchless(table: Audited) -> TableCheck:
    key = ", ".join(f"'{name}', {name}" for name in table.columns[:2])
    later = _LATER.format(time=table.time_column) if table.time_column else ""
    sql = _BATCHLESS.format(table=table.name, key=key, batch=table.batch_column, later=later)
    return TableCheck(BATCHES, table.name, sql)


def _all_checks() -> Iterator[TableCheck]:
    yield from TABLE_CHECKS
    yield from (_batchless(table) for table in TABLES if table is not POOL_STATES)


async def check_tables(connection: asyncpg.Connection, findings: Findings) -> None:
    """All of them, on the caller's snapshot."""
    counts: dict[str, int] = {}
    for check in _all_checks():
        if check.table not in counts:
            counts[check.table] = await connection.fetchval(f"SELECT count(*) FROM {check.table}")
        findings.examined[check.name] += counts[check.table]
        cursor = await connection.cursor(check.sql)
        while rows := await cursor.fetch(_FETCH_AT_ONCE):
            for place, message in rows:
                findings.add(check.name, place, message)
