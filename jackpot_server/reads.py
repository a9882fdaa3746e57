"""What callers ask to see, read on connections of their own: nothing is decided, nothing waits for a batch.

Everything is read from the server that is written to, so an answer never misses what was answered before.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast
from uuid import UUID

import asyncpg

from jackpot_server.domain.catalog import PoolLabel
from jackpot_server.domain.facts import Contribution, EventKind, Win, WinEvent
from jackpot_server.queries import ContributionPosition, ContributionsQuery, WinPosition, WinsQuery
from jackpot_server.recall import (
    READ_CONTRIBUTIONS,
    READ_WINS,
    SELECT_CONTRIBUTIONS,
    WIN_COLUMNS,
    WINS_AS_THEY_ARE,
    contribution_of,
    win_of,
)

# How long a question waits for a connection before it is answered DATABASE_UNAVAILABLE.
ACQUIRE_LIMIT_S: Final = 2.0
# Wins looked at for one page where only those in one state are wanted.
SCAN: Final = 1000
MAX_SCANS: Final = 10

_START_OF_TIME: Final = datetime(1, 1, 1, tzinfo=UTC)
_END_OF_TIME: Final = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_FIRST_SPIN: Final = UUID(int=0)
_LAST_SPIN: Final = UUID(int=2**128 - 1)
_LAST_KEY: Final = 2**31 - 1

T = TypeVar("T")
P = TypeVar("P")


class ReadConnections:
    """The connections that questions share; none is the committer's."""

    def __init__(self, create_pool: Callable[[], Awaitable[asyncpg.Pool]]) -> None:
        self._create_pool = create_pool
        self._pool: asyncpg.Pool | None = None

    async def open(self) -> None:
        """Makes the pool; its connections are opened when they are needed."""
        self._pool = await self._create_pool()

    async def close(self) -> None:
        """Closes the connections, in the middle of a query if need be."""
        if self._pool is not None:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection for as long as the block lasts; TimeoutError if none is free in time."""
        assert self._pool is not None, "not open"
        async with self._pool.acquire(timeout=ACQUIRE_LIMIT_S) as connection:
            yield cast(asyncpg.Connection, connection)

    async def fetch(self, query: str, *values: Any) -> list[asyncpg.Record]:
        """The rows of one query."""
        async with self.connection() as connection:
            return await connection.fetch(query, *values)


@dataclass(frozen=True, slots=True)
class Page(Generic[T, P]):
    """Some of a list; `end` is where to go on, None at the list's end."""

    items: list[T]
    end: P | None


class Found(NamedTuple):
    """A contribution and its wins as they are now."""

    contribution: Contribution
    wins: Sequence[Win]


_LIST_CONTRIBUTIONS = (
    SELECT_CONTRIBUTIONS
    + """
 WHERE operator_id = $1 AND record_time >= $2 AND record_time < $3 AND (record_time, spin_id) > ($4, $5)
 ORDER BY record_time, spin_id
 LIMIT $6"""
)

# From $7 on: the operator and the pool, where the list is limited to one. Each list has its index.
_LIST_WINS = {
    limited: f"""
SELECT {WIN_COLUMNS}
  FROM (SELECT * FROM wins
         WHERE decide_time >= $1 AND decide_time < $2 AND (decide_time, spin_id, pool_key) < ($3, $4, $5)
               {conditions}
         ORDER BY decide_time DESC, spin_id DESC, pool_key DESC
         LIMIT $6) w
{WINS_AS_THEY_ARE.replace("FROM wins w", "")}
 ORDER BY w.decide_time DESC, w.spin_id DESC, w.pool_key DESC"""
    for limited, conditions in {
        (False, False): "",
        (True, False): "AND operator_id = $7",
        (False, True): "AND pool_key = (SELECT pool_key FROM pools WHERE pool_id = $7)",
        (True, True): "AND operator_id = $7 AND pool_key = (SELECT pool_key FROM pools WHERE pool_id = $8)",
    }.items()
}

_GET_WIN = f"SELECT {WIN_COLUMNS} {WINS_AS_THEY_ARE} WHERE p.pool_id = $1 AND w.spin_id = $2"

_LIST_WIN_EVENTS = f"""
SELECT {WIN_COLUMNS}, e.kind, e.event_time
  FROM win_events e
  JOIN wins w USING (pool_key, spin_id)
  JOIN pools p USING (pool_key)
 WHERE e.operator_id = $1 AND e.sequence > $2
 ORDER BY e.sequence
 LIMIT $3"""

_LAST_SEQUENCES = "SELECT operator_id, win_event_sequence FROM operators WHERE operator_id = ANY($1::text[])"

_LABELS = """
SELECT c.pool_key, c.version, p.pool_id, c.config::json ->> 'tier'
  FROM unnest($1::integer[], $2::integer[]) AS u (pool_key, version)
  JOIN pool_configs c USING (pool_key, version)
  JOIN pools p USING (pool_key)"""


class Reads:
    """Contributions, wins and their events. All may be asked again; nothing is changed."""

    def __init__(self, connections: ReadConnections) -> None:
        self._fetch = connections.fetch
        self._labels: dict[tuple[int, int], PoolLabel] = {}

    @property
    def labels(self) -> Mapping[tuple[int, int], PoolLabel]:
        """Pool and tier of every share that these reads have returned."""
        return self._labels

    async def contributions(self, spin_ids: Collection[UUID]) -> dict[UUID, Found]:
        """Those that are recorded, by spin id."""
        rows = await self._fetch(READ_CONTRIBUTIONS, list(spin_ids))
        return {found.contribution.command.spin_id: found for found in await self._with_wins(rows)}

    async def list_contributions(self, query: ContributionsQuery) -> Page[Found, ContributionPosition]:
        after = query.after or ContributionPosition(_START_OF_TIME, _FIRST_SPIN)
        rows = await self._fetch(
            _LIST_CONTRIBUTIONS,
            query.operator_id,
            query.start_time or _START_OF_TIME,
            query.end_time or _END_OF_TIME,
            after.record_time,
            after.spin_id,
            query.page_size + 1,
        )
        items = await self._with_wins(rows[: query.page_size])
        return Page(items, end_of(items[-1]) if len(rows) > query.page_size else None)

    async def win(self, pool_id: str, spin_id: UUID) -> Win | None:
        rows = await self._fetch(_GET_WIN, pool_id, spin_id)
        return win_of(rows[0]) if rows else None

    async def list_wins(self, query: WinsQuery) -> Page[Win, WinPosition]:
        """A page may be short, even empty, and not the last: of one state, only so many are looked at."""
        wins: list[Win] = []
        position = query.after or WinPosition(_END_OF_TIME, _LAST_SPIN, _LAST_KEY)
        look_at = query.page_size + 1 if query.state is None else SCAN
        for _ in range(MAX_SCANS):
            rows = await self._fetch_wins(query, position, look_at)
            for row in rows:
                if query.state is None or row["state"] == query.state:
                    if len(wins) == query.page_size:
                        return Page(wins, win_end(wins[-1]))
                    wins.append(win_of(row))
            if len(rows) < look_at:
                return Page(wins, None)
            position = WinPosition(rows[-1]["decide_time"], rows[-1]["spin_id"], rows[-1]["pool_key"])
        return Page(wins, position)

    async def win_events(self, operator_id: str, after_sequence: int, limit: int) -> list[WinEvent]:
        """The operator's events in order of their numbers, without gaps."""
        rows = await self._fetch(_LIST_WIN_EVENTS, operator_id, after_sequence, limit)
        return [WinEvent(EventKind(row["kind"]), win_of(row), row["event_time"]) for row in rows]

    async def last_sequences(self, operator_ids: Collection[str]) -> dict[str, int]:
        """The number of each operator's last event; none where it has none."""
        rows = await self._fetch(_LAST_SEQUENCES, list(operator_ids))
        return {row["operator_id"]: row["win_event_sequence"] for row in rows}

    async def _fetch_wins(self, query: WinsQuery, before: WinPosition, limit: int) -> list[asyncpg.Record]:
        limits = [limit_ for limit_ in (query.operator_id, query.pool_id) if limit_]
        return await self._fetch(
            _LIST_WINS[bool(query.operator_id), bool(query.pool_id)],
            query.start_time or _START_OF_TIME,
            query.end_time or _END_OF_TIME,
            *before,
            limit,
            *limits,
        )

    async def _with_wins(self, rows: Sequence[asyncpg.Record]) -> list[Found]:
        contributions = [contribution_of(row) for row in rows]
        await self._learn_labels(contributions)
        wins: dict[UUID, list[Win]] = {}
        if contributions:
            for row in await self._fetch(READ_WINS, [one.command.spin_id for one in contributions]):
                wins.setdefault(row["spin_id"], []).append(win_of(row))
        return [Found(one, wins.get(one.command.spin_id, ())) for one in contributions]

    async def _learn_labels(self, contributions: Sequence[Contribution]) -> None:
        """A configuration's version never changes: what was learnt once is kept."""
        named = {(share[0], share[2]) for one in contributions for share in one.shares}
        unknown = [key for key in named if key not in self._labels]
        if unknown:
            keys, versions = zip(*unknown, strict=True)
            for pool_key, version, pool_id, tier in await self._fetch(_LABELS, keys, versions):
                self._labels[pool_key, version] = PoolLabel(pool_id, tier)


def end_of(found: Found) -> ContributionPosition:
    """The position of a contribution in a list."""
    return ContributionPosition(found.contribution.record_time, found.contribution.command.spin_id)


def win_end(win: Win) -> WinPosition:
    """The position of a win in a list."""
    return WinPosition(win.decide_time, win.spin_id, win.pool_key)
