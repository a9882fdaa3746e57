"""Meters and reports (PR-20, PR-22): exact sums of the ledger and of what was recorded, at one moment."""

from datetime import UTC, datetime
from typing import Final, NamedTuple

import asyncpg

from jackpot_server.domain.facts import Account, EntryKind, Win
from jackpot_server.domain.pool import Lifecycle
from jackpot_server.queries import HoursQuery, OperatorQuery
from jackpot_server.reads import ReadConnections
from jackpot_server.recall import WIN_COLUMNS, WINS_AS_THEY_ARE, win_of

LAST_WINS: Final = 20

_MICROS: Final = 1_000_000
# Of a pool's own accounts; the house is not named in them, but is what the others do not balance.
_HOUSE_KINDS: Final = f"{EntryKind.OPENING:d}, {EntryKind.RESET:d}"

METERS: Final = f"""
SELECT p.contribution_count, p.current_micros, p.reserve_micros, p.overflow_micros,
       (SELECT count(*) FROM wins w WHERE w.pool_key = p.pool_key AND NOT w.shadow) AS win_count,
       coalesce(e.contributed, 0), coalesce(e.won, 0), coalesce(e.house, 0),
       coalesce((SELECT sum(w.amount_minor) FROM open_wins o JOIN wins w USING (pool_key, spin_id)
                  WHERE o.pool_key = p.pool_key), 0) * {_MICROS} AS payable
  FROM pools p
 CROSS JOIN LATERAL (
       SELECT sum(amount_micros) FILTER (WHERE kind = {EntryKind.CONTRIBUTION:d}) AS contributed,
              -sum(amount_micros) FILTER (WHERE kind = {EntryKind.WIN:d}) AS won,
              sum(amount_micros) FILTER (WHERE kind IN ({_HOUSE_KINDS})) AS house
         FROM entries WHERE pool_key = p.pool_key) e
 WHERE p.pool_id = $1"""
_LAST_WINS: Final = f"""
SELECT {WIN_COLUMNS}
  FROM (SELECT w.* FROM wins w JOIN pools p USING (pool_key)
         WHERE p.pool_id = $1 ORDER BY w.decide_time DESC, w.spin_id DESC LIMIT {LAST_WINS}) w
{WINS_AS_THEY_ARE.replace("FROM wins w", "")}
 ORDER BY w.decide_time DESC, w.spin_id DESC"""

# Balances at a moment are sums of what was booked before it; wins are as their last event before left them.
_CONTRIBUTED: Final = f"sum(n.amount_micros) FILTER (WHERE n.kind = {EntryKind.CONTRIBUTION:d}"
LIABILITY: Final = f"""
SELECT p.pool_id, f.tier, p.currency_code,
       coalesce(e.current, 0), coalesce(e.reserve, 0), coalesce(e.overflow, 0),
       coalesce(w.payable, 0), coalesce(w.held, 0),
       coalesce(e.day, 0), coalesce(e.month, 0), coalesce(e.year, 0), coalesce(e.life, 0)
  FROM pools p
  JOIN LATERAL (SELECT config::json ->> 'tier' AS tier FROM pool_configs c
                 WHERE c.pool_key = p.pool_key AND c.version = p.config_version) f ON true
 CROSS JOIN LATERAL (
       SELECT sum(n.amount_micros) FILTER (WHERE n.account = {Account.CURRENT:d}) AS current,
              sum(n.amount_micros) FILTER (WHERE n.account = {Account.RESERVE:d}) AS reserve,
              sum(n.amount_micros) FILTER (WHERE n.account = {Account.OVERFLOW:d}) AS overflow,
              {_CONTRIBUTED} AND b.batch_time >= $2) AS day,
              {_CONTRIBUTED} AND b.batch_time >= $3) AS month,
              {_CONTRIBUTED} AND b.batch_time >= $4) AS year,
              {_CONTRIBUTED}) AS life
         FROM entries n JOIN batches b USING (batch_id)
        WHERE n.pool_key = p.pool_key AND b.batch_time < $1) e
 CROSS JOIN LATERAL (
       SELECT sum(w.amount_minor) FILTER (WHERE last.state = 1) * {_MICROS} AS payable,
              sum(w.amount_minor) FILTER (WHERE last.state = 2) * {_MICROS} AS held
         FROM wins w CROSS JOIN LATERAL (
              SELECT state FROM win_events v
               WHERE v.pool_key = w.pool_key AND v.spin_id = w.spin_id AND v.event_time < $1
               ORDER BY sequence DESC LIMIT 1) last
        WHERE w.pool_key = p.pool_key AND NOT w.shadow AND w.decide_time < $1) w
 WHERE p.state <> {Lifecycle.SHADOW:d}
   AND EXISTS (SELECT FROM pool_configs c WHERE c.pool_key = p.pool_key AND c.create_time < $1)
 ORDER BY p.pool_id"""

# Of each operator by its own index, also where all are asked for.
_OPERATORS: Final = """
WITH RECURSIVE named AS (
    (SELECT operator_id FROM contributions WHERE operator_id >= $1 ORDER BY operator_id LIMIT 1)
     UNION ALL
    SELECT (SELECT c.operator_id FROM contributions c
             WHERE c.operator_id > named.operator_id ORDER BY c.operator_id LIMIT 1)
      FROM named WHERE named.operator_id IS NOT NULL AND $1 = ''
), operator AS (SELECT operator_id FROM named WHERE operator_id IS NOT NULL AND $1 IN ('', operator_id))"""
# What was voided counts as if it had not been; a shadow pool is no money.
OPERATORS: Final = f"""{_OPERATORS}, contributed AS (
    SELECT c.operator_id, c.shares[9 * i + 1] AS pool_key, c.currency_code, count(*) AS count,
           sum(c.shares[9 * i + 4] + c.shares[9 * i + 5] + c.shares[9 * i + 6]) AS micros
      FROM operator o
      JOIN contributions c ON c.operator_id = o.operator_id AND c.record_time >= $2 AND c.record_time < $3
     CROSS JOIN LATERAL generate_series(0, cardinality(c.shares) / 9 - 1) AS i
     WHERE c.shares[9 * i + 8] = 0 AND c.shares[9 * i + 9] = 0
       AND (SELECT v.spin_id FROM voids v WHERE v.spin_id = c.spin_id) IS NULL
     GROUP BY 1, 2, 3
), won AS (
    SELECT w.operator_id, w.pool_key, w.currency_code, count(*) AS count, sum(w.amount_minor) AS minor
      FROM operator o
      JOIN wins w ON w.operator_id = o.operator_id AND w.decide_time >= $2 AND w.decide_time < $3
     CROSS JOIN LATERAL (SELECT state FROM win_events v
                          WHERE v.pool_key = w.pool_key AND v.spin_id = w.spin_id
                          ORDER BY sequence DESC LIMIT 1) last
     WHERE NOT w.shadow AND last.state <> 4
     GROUP BY 1, 2, 3
)
SELECT t.operator_id, p.pool_id, t.currency_code, t.count, t.micros, t.win_count, t.won
  FROM (SELECT operator_id, pool_key, currency_code, coalesce(c.count, 0) AS count,
               coalesce(c.micros, 0) AS micros, coalesce(w.count, 0) AS win_count,
               coalesce(w.minor, 0) * {_MICROS} AS won
          FROM contributed c FULL JOIN won w USING (operator_id, pool_key, currency_code)) t
  JOIN pools p USING (pool_key)
 ORDER BY t.operator_id, p.pool_id"""

# As recorded: what was voided is counted, and how much of it was voided.
HOURS: Final = """
WITH contributed AS (
    SELECT date_trunc('hour', c.record_time, 'UTC') AS hour, c.currency_code, count(*) AS count,
           count((SELECT v.spin_id FROM voids v WHERE v.spin_id = c.spin_id)) AS voided,
           sum(c.wager_minor) AS wager,
           sum((SELECT coalesce(sum(c.shares[9 * i + 4] + c.shares[9 * i + 5] + c.shares[9 * i + 6]), 0)
                  FROM generate_series(0, cardinality(c.shares) / 9 - 1) AS i
                 WHERE c.shares[9 * i + 9] = 0)) AS micros
      FROM contributions c
     WHERE c.operator_id = $1 AND c.record_time >= $2 AND c.record_time < $3 AND c.wager_minor > 0
     GROUP BY 1, 2
), won AS (
    SELECT date_trunc('hour', w.decide_time, 'UTC') AS hour, w.currency_code, count(*) AS count,
           sum(w.amount_minor) AS minor
      FROM wins w
     WHERE w.operator_id = $1 AND w.decide_time >= $2 AND w.decide_time < $3 AND NOT w.shadow
     GROUP BY 1, 2
)
SELECT hour, currency_code, coalesce(c.count, 0), coalesce(c.voided, 0), coalesce(c.wager, 0),
       coalesce(c.micros, 0), coalesce(w.count, 0), coalesce(w.minor, 0)
  FROM contributed c FULL JOIN won w USING (hour, currency_code)
 ORDER BY hour, currency_code"""


POOL_IDS: Final = "SELECT pool_id, currency_code FROM pools ORDER BY pool_id"
# Of each win its last state, and the two who released or rejected it, if anybody had to.
LARGE_WINS: Final = """
SELECT w.decide_time AS time, p.pool_id AS pool, w.tier, w.cycle, w.spin_id::text AS spin,
       w.operator_id AS operator, w.user_id AS "user", w.game_id AS game, w.currency_code, w.amount_minor,
       (ARRAY['PAYABLE', 'HELD', 'PAID', 'REJECTED'])[last.state] AS state,
       coalesce(a.actor, '') AS decided_by, coalesce(a.approver, '') AS approved_by
  FROM wins w
  JOIN pools p USING (pool_key)
  JOIN LATERAL (SELECT state FROM win_events v WHERE v.pool_key = w.pool_key AND v.spin_id = w.spin_id
                 ORDER BY sequence DESC LIMIT 1) last ON true
  LEFT JOIN LATERAL (SELECT actor, approver FROM admin_events e
                      WHERE e.resource = 'pools/' || p.pool_id || '/wins/' || w.spin_id
                        AND e.action IN ('ApproveWin', 'RejectWin') AND NOT e.pending
                      ORDER BY event_number DESC LIMIT 1) a ON true
 WHERE w.amount_minor > $1 AND w.decide_time >= $2 AND w.decide_time < $3 AND NOT w.shadow
 ORDER BY w.decide_time, w.spin_id, w.pool_key"""
CHANGES: Final = """
SELECT event_time AS time, action, resource, actor, approver, reason, before, after
  FROM admin_events
 WHERE NOT pending AND event_time >= $1 AND event_time < $2
 ORDER BY event_number"""


class Meters(NamedTuple):
    """A pool's meters; micros, over its life. `house` is what it added to openings and resets."""

    contribution_count: int
    current: int
    reserve: int
    overflow: int
    win_count: int
    contributed: int
    won: int
    house: int
    payable: int


class Liability(NamedTuple):
    """What one pool owes at a moment, and what came into it until then; micros."""

    pool_id: str
    tier: str
    currency_code: str
    current: int
    reserve: int
    overflow: int
    payable: int
    held: int
    day: int
    month: int
    year: int
    life: int


class OperatorTotal(NamedTuple):
    """What one operator put into one pool and won of it; micros."""

    operator_id: str
    pool_id: str
    currency_code: str
    contribution_count: int
    contributed: int
    win_count: int
    won: int


class HourTotal(NamedTuple):
    """One operator's contributions and wins of one hour (UTC) in one currency."""

    hour: datetime
    currency_code: str
    contribution_count: int
    voided_count: int
    wager_minor: int
    contributed_micros: int
    win_count: int
    win_minor: int


class ReportReads:
    """May be asked again; nothing is changed. Each report is one statement, so it shows one moment."""

    def __init__(self, connections: ReadConnections) -> None:
        self._fetch = connections.fetch

    async def meters(self, pool_id: str) -> tuple[Meters, list[Win]] | None:
        """A pool's meters and its last wins; None if there is no such pool."""
        rows = await self._fetch(METERS, pool_id)
        if not rows:
            return None
        wins = [win_of(row) for row in await self._fetch(_LAST_WINS, pool_id)]
        return Meters._make(_whole(rows[0])), wins

    async def liability(self, at_time: datetime) -> list[Liability]:
        """Every pool that pays, as it was at a moment; day, month and year (UTC) are those of the moment."""
        day = at_time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        month, year = day.replace(day=1), day.replace(month=1, day=1)
        rows = await self._fetch(LIABILITY, at_time, day, month, year)
        return [Liability._make(_whole(row)) for row in rows]

    async def operators(self, query: OperatorQuery) -> list[OperatorTotal]:
        """By operator and pool, what was recorded and won in a period."""
        rows = await self._fetch(OPERATORS, query.operator_id, query.start_time, query.end_time)
        return [OperatorTotal._make(_whole(row)) for row in rows]

    async def hours(self, query: HoursQuery) -> list[HourTotal]:
        """One operator's totals by hour and currency; hours without any are left out."""
        rows = await self._fetch(HOURS, query.operator_id, query.start_time, query.end_time)
        return [HourTotal._make(_whole(row)) for row in rows]


def _whole(row: asyncpg.Record) -> list[object]:
    """Sums come as long decimals, which are whole."""
    return [value if isinstance(value, str | datetime) else int(value) for value in row]
