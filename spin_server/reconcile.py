"""The spins of this database against what a jackpot server has of them: by the hour first, then by their ids.

An hour is one of recording, as the jackpot server's answers told it. What is still in the outbox is on its
way and no difference; what is neither there nor answered is.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final
from uuid import UUID

import asyncpg

from jackpot_outbox.client import JackpotClient
from jackpot_outbox.rows import HourTotal, Kind, RecordedContribution

HOUR: Final = timedelta(hours=1)
# What one question for totals may span.
_SPAN: Final = timedelta(days=7)
_TIMEOUT_S: Final = 60.0

OPERATORS: Final = "SELECT operator_id FROM jackpot_cursors ORDER BY operator_id"
HOURS: Final = """
SELECT date_trunc('hour', r.record_time, 'UTC') AS hour, s.currency_code, count(*) AS count,
       sum(s.wager_minor)::bigint AS wager
  FROM spins s JOIN jackpot_results r USING (spin_id)
 WHERE s.operator_id = $1 AND s.has_jackpot AND s.settle_time >= $2::timestamptz - interval '7 days'
   AND r.record_time >= $2 AND r.record_time < $3
   AND NOT (r.state = 2 AND r.shares = '[]')
 GROUP BY 1, 2"""
ANSWERED: Final = """
SELECT s.spin_id, s.currency_code, s.wager_minor
  FROM spins s JOIN jackpot_results r USING (spin_id)
 WHERE s.operator_id = $1 AND s.has_jackpot AND s.settle_time >= $2::timestamptz - interval '7 days'
   AND r.record_time >= $2 AND r.record_time < $3"""
UNANSWERED: Final = f"""
SELECT s.spin_id
  FROM spins s
 WHERE s.operator_id = $1 AND s.has_jackpot AND s.settle_time >= $2 AND s.settle_time < $3
   AND NOT EXISTS (SELECT FROM jackpot_results r WHERE r.spin_id = s.spin_id)
   AND NOT EXISTS (SELECT FROM jackpot_outbox o WHERE o.kind = {Kind.CONTRIBUTION:d} AND o.spin_id = s.spin_id
                      AND o.win = '' AND o.event_sequence = 0)
 ORDER BY s.spin_id"""
KNOWN: Final = "SELECT spin_id FROM spins WHERE spin_id = ANY($1::uuid[]) AND has_jackpot"
RESEND: Final = f"""
INSERT INTO jackpot_outbox (kind, spin_id, operator_id, user_id, wallet_id, currency_code, wager_minor,
                            game_category, game_id, provider_name, provider_round_id, stake_kind,
                            country_code, client_seed, triggered_tiers, occur_time)
SELECT {Kind.CONTRIBUTION:d}, spin_id, operator_id, user_id, wallet_id, currency_code, wager_minor,
       game_category, game_id, provider_name, provider_round_id, stake_kind, country_code,
       client_seed, triggered_tiers, settle_time
  FROM spins
 WHERE spin_id = ANY($1::uuid[]) AND has_jackpot
 ORDER BY spin_id
    ON CONFLICT DO NOTHING
RETURNING spin_id"""


class Side(Enum):
    """Where something is missing."""

    THERE = "missing at the jackpot server"
    HERE = "missing in this database"
    BOTH = "different"
    UNSENT = "neither answered nor waiting to be sent"


@dataclass(frozen=True, slots=True)
class Difference:
    """One spin that the two sides do not have alike."""

    operator_id: str
    spin_id: UUID
    side: Side
    what: str = ""


@dataclass(slots=True)
class Reconciled:
    """What was compared, and what differs."""

    hours: int
    spins: int
    differences: list[Difference]
    resent: int = 0

    @property
    def to_resend(self) -> list[UUID]:
        """Spins whose contributions the jackpot server lacks."""
        return [each.spin_id for each in self.differences if each.side in (Side.THERE, Side.UNSENT)]


async def reconcile(
    connection: asyncpg.Connection,
    client: JackpotClient,
    operator_ids: Sequence[str],
    start: datetime,
    end: datetime,
) -> Reconciled:
    """Compares [start, end), whole hours. Raises CallError if the jackpot server does not answer."""
    done = Reconciled(0, 0, [])
    for operator_id in operator_ids or [row[0] for row in await connection.fetch(OPERATORS)]:
        async for hour in _hours_that_differ(connection, client, operator_id, start, end, done):
            await _compare_ids(connection, client, operator_id, hour, done)
        for (spin_id,) in await connection.fetch(UNANSWERED, operator_id, start, end):
            done.differences.append(Difference(operator_id, spin_id, Side.UNSENT))
    return done


async def resend(connection: asyncpg.Connection, spin_ids: Collection[UUID]) -> int:
    """Puts contributions into the outbox again, with their ids: one that is there is a repeat. How many."""
    return len(await connection.fetch(RESEND, list(spin_ids)))


async def _hours_that_differ(
    connection: asyncpg.Connection,
    client: JackpotClient,
    operator_id: str,
    start: datetime,
    end: datetime,
    done: Reconciled,
) -> AsyncIterator[datetime]:
    while start < end:
        until = min(start + _SPAN, end)
        here: defaultdict[datetime, set[tuple[str, int, int]]] = defaultdict(set)
        there: defaultdict[datetime, set[tuple[str, int, int]]] = defaultdict(set)
        for hour, currency, count, wager in await connection.fetch(HOURS, operator_id, start, until):
            here[hour].add((currency, count, wager))
            done.spins += count
        totals: list[HourTotal] = await client.hour_totals(operator_id, start, until, _TIMEOUT_S)
        for total in totals:
            if total.count:
                there[total.hour].add((total.currency_code, total.count, total.wager_minor))
        for hour in sorted(here.keys() | there.keys()):
            done.hours += 1
            if here[hour] != there[hour]:
                yield hour
        start = until


async def _compare_ids(
    connection: asyncpg.Connection,
    client: JackpotClient,
    operator_id: str,
    hour: datetime,
    done: Reconciled,
) -> None:
    rows = await connection.fetch(ANSWERED, operator_id, hour, hour + HOUR)
    here = {spin_id: (currency, wager) for spin_id, currency, wager in rows}
    there: dict[UUID, RecordedContribution] = {}
    async for recorded in client.contributions(operator_id, hour, hour + HOUR, _TIMEOUT_S):
        there[recorded.spin_id] = recorded
    add = done.differences.append
    # One that was sent again is recorded in another hour.
    for spin_id in await client.missing(sorted(here.keys() - there.keys()), _TIMEOUT_S):
        add(Difference(operator_id, spin_id, Side.THERE))
    only_there = sorted(there.keys() - here.keys())
    # Answered, and not booked here yet: on its way.
    known = {row[0] for row in await connection.fetch(KNOWN, only_there)}
    for spin_id in only_there:
        if spin_id not in known:
            add(Difference(operator_id, spin_id, Side.HERE))
    for spin_id in sorted(here.keys() & there.keys()):
        recorded = there[spin_id]
        said = (recorded.currency_code, recorded.wager_minor)
        if recorded.wager_minor and said != here[spin_id]:
            what = f"{here[spin_id][1]} {here[spin_id][0]} here, {said[1]} {said[0]} there"
            add(Difference(operator_id, spin_id, Side.BOTH, what))
