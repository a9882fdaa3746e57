"""The SQL of the table jackpot_outbox, and nothing but SQL. Sets in, sets out; locks in the order of keys.

Every function takes a connection of the caller's. Inserts are part of the caller's transaction; what a
relay does (take, set back, give back, release) is a transaction of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from jackpot_outbox.rows import (
    AcknowledgementRow,
    ContributionRow,
    Kind,
    Row,
    RowKey,
    Setback,
    VoidRow,
)

CHANNEL = "jackpot_outbox"

# A row that its writer dispatches itself is left to it for so long before a relay may take it.
DISPATCH_LEAD_MS = 2_000

# An item that the jackpot server could not take waits 0.25 s, 0.5 s, … up to a minute, ± 50 %.
BACK_OFF_FIRST_S = 0.25
BACK_OFF_LONGEST_S = 60.0
ERROR_TEXT_LIMIT = 256

_Columns: TypeAlias = tuple[tuple[str, str], ...]

_CONTRIBUTION_COLUMNS: _Columns = (
    ("spin_id", "uuid"),
    ("operator_id", "text"),
    ("user_id", "text"),
    ("wallet_id", "text"),
    ("currency_code", "text"),
    ("wager_minor", "bigint"),
    ("game_category", "smallint"),
    ("game_id", "text"),
    ("provider_name", "text"),
    ("provider_round_id", "text"),
    ("stake_kind", "smallint"),
    ("country_code", "text"),
    ("client_seed", "text"),
    ("triggered_tiers", "text"),
    ("occur_time", "timestamptz"),
)
_ACKNOWLEDGEMENT_COLUMNS: _Columns = (
    ("spin_id", "uuid"),
    ("win", "text"),
    ("event_sequence", "bigint"),
    ("operator_id", "text"),
    ("outcome", "smallint"),
    ("wallet_entry_id", "text"),
    ("currency_code", "text"),
    ("credited_minor", "bigint"),
    ("credit_time", "timestamptz"),
    ("failure_reason", "text"),
)


_VOID_COLUMNS: _Columns = (
    ("spin_id", "uuid"),
    ("operator_id", "text"),
    ("credited_wins", "text"),
    ("reason", "text"),
)


def _insert(kind: Kind, columns: _Columns, first_parameter: int) -> str:
    names = ", ".join(name for name, _ in columns)
    arrays = ", ".join(f"${first_parameter + i}::{sort}[]" for i, (_, sort) in enumerate(columns))
    return (
        f"INSERT INTO jackpot_outbox (kind, {names}, due_time) "
        f"SELECT {int(kind)}, {names}, clock_timestamp() + interval '{DISPATCH_LEAD_MS} ms' "
        f"FROM unnest({arrays}) AS row ({names})"
    )


def contributions_insert(first_parameter: int = 1) -> str:
    """The INSERT of contribution rows, to stand alone or inside a WITH; takes `contribution_arrays`.

    It uses the parameters from `first_parameter` on. A known key is a unique violation. The rows are due
    after DISPATCH_LEAD_MS: whoever inserts them dispatches them after the commit.
    """
    return _insert(Kind.CONTRIBUTION, _CONTRIBUTION_COLUMNS, first_parameter)


def contribution_arrays(rows: Sequence[ContributionRow]) -> list[list[Any]]:
    """One array per parameter of `contributions_insert`, in the order of `rows` (sorted by spin)."""
    return [
        [row.spin_id for row in rows],
        [row.operator_id for row in rows],
        [row.user_id for row in rows],
        [row.wallet_id for row in rows],
        [row.currency_code for row in rows],
        [row.wager_minor for row in rows],
        [row.game_category for row in rows],
        [row.game_id for row in rows],
        [row.provider_name for row in rows],
        [row.provider_round_id for row in rows],
        [row.stake_kind for row in rows],
        [row.country_code for row in rows],
        [row.client_seed for row in rows],
        [",".join(row.triggered_tiers) for row in rows],
        [row.occur_time for row in rows],
    ]


def acknowledgements_insert(first_parameter: int = 1) -> str:
    """As `contributions_insert`, for `acknowledgement_arrays`; a known key is left as it is."""
    return (
        _insert(Kind.ACKNOWLEDGEMENT, _ACKNOWLEDGEMENT_COLUMNS, first_parameter) + " ON CONFLICT DO NOTHING"
    )


def acknowledgement_arrays(rows: Sequence[AcknowledgementRow]) -> list[list[Any]]:
    """One array per parameter of `acknowledgements_insert`, in the order of `rows` (sorted by key)."""
    return [
        [row.spin_id for row in rows],
        [row.win for row in rows],
        [row.event_sequence for row in rows],
        [row.operator_id for row in rows],
        [row.outcome for row in rows],
        [row.wallet_entry_id for row in rows],
        [row.currency_code for row in rows],
        [row.credited_minor for row in rows],
        [row.credit_time for row in rows],
        [row.failure_reason for row in rows],
    ]


def voids_insert(first_parameter: int = 1) -> str:
    """As `contributions_insert`, for `void_arrays`."""
    return _insert(Kind.VOID, _VOID_COLUMNS, first_parameter)


def void_arrays(rows: Sequence[VoidRow]) -> list[list[Any]]:
    """One array per parameter of `voids_insert`, in the order of `rows` (sorted by spin)."""
    return [
        [row.spin_id for row in rows],
        [row.operator_id for row in rows],
        [",".join(row.credited_wins) for row in rows],
        [row.reason for row in rows],
    ]


_INSERT_CONTRIBUTIONS = contributions_insert()


async def insert_contributions(connection: asyncpg.Connection, rows: Sequence[ContributionRow]) -> None:
    """Inserts rows that the caller dispatches after its commit; a known key is a unique violation."""
    ordered = sorted(rows, key=lambda row: row.spin_id)
    await connection.execute(_INSERT_CONTRIBUTIONS, *contribution_arrays(ordered))


_ROW_COLUMNS = ", ".join(
    f"o.{name}"
    for name in (
        "kind",
        *(name for name, _ in _CONTRIBUTION_COLUMNS),
        *(name for name, _ in _ACKNOWLEDGEMENT_COLUMNS if name not in dict(_CONTRIBUTION_COLUMNS)),
        "credited_wins",
        "reason",
        "due_time",
    )
)

# Statistics that are older than a backlog make the planner sort all of it for every 500 rows; the index has
# them in order.
_PLAN_BY_INDEX = """
SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off
"""

# Fetched by ctid, once found; a row that was changed in between is not found and stays for the next time.
_TAKE_DUE = f"""
WITH due AS MATERIALIZED (
    SELECT ctid
    FROM jackpot_outbox
    WHERE parked_time IS NULL AND due_time <= now()
    ORDER BY due_time
    LIMIT $1
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE jackpot_outbox AS o
SET due_time = now() + $2::integer * interval '1 ms'
FROM due
WHERE o.ctid = due.ctid
RETURNING {_ROW_COLUMNS}
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """Rows that are the taker's until `lease_until` (the database's clock); None if there are no rows."""

    rows: tuple[Row, ...]
    lease_until: datetime | None


async def take_due(connection: asyncpg.Connection, limit: int, lease_ms: int) -> Taken:
    """Takes up to `limit` due rows, oldest first, and moves their due time by the lease. Its own transaction.

    Rows that another relay is just taking are left to it, so no row is in two hands before its lease ends.
    """
    async with connection.transaction():
        await connection.execute(_PLAN_BY_INDEX)
        records = await connection.fetch(_TAKE_DUE, limit, lease_ms)
    return Taken(tuple(map(_row, records)), records[0]["due_time"] if records else None)


def _row(record: asyncpg.Record) -> Row:
    if record["kind"] == Kind.CONTRIBUTION:
        tiers = record["triggered_tiers"]
        return ContributionRow(
            record["spin_id"],
            record["operator_id"],
            record["user_id"],
            record["wallet_id"],
            record["currency_code"],
            record["wager_minor"],
            record["game_category"],
            record["game_id"],
            record["provider_name"],
            record["provider_round_id"],
            record["stake_kind"],
            record["country_code"],
            record["client_seed"],
            tuple(tiers.split(",")) if tiers else (),
            record["occur_time"],
        )
    if record["kind"] == Kind.VOID:
        wins = record["credited_wins"]
        return VoidRow(
            record["spin_id"], record["operator_id"], tuple(wins.split(",")) if wins else (), record["reason"]
        )
    return AcknowledgementRow(
        record["spin_id"],
        record["win"],
        record["event_sequence"],
        record["operator_id"],
        record["outcome"],
        record["wallet_entry_id"],
        record["currency_code"],
        record["credited_minor"],
        record["credit_time"],
        record["failure_reason"],
    )


_KEY_NAMES = "kind, spin_id, win, event_sequence"
_KEY_ORDER = "o.kind, o.spin_id, o.win, o.event_sequence"
_SAME_KEY = (
    "o.kind = {0}.kind AND o.spin_id = {0}.spin_id"
    " AND o.win = {0}.win AND o.event_sequence = {0}.event_sequence"
)


def locked_rows(asked: _Columns, wanted: str, strength: str) -> str:
    """A SELECT of the rows whose keys are $1 to $4, locked in the order of keys; `row_id` is their ctid.

    `asked` follow as arrays from $5 on, named a; `wanted` are expressions of a and of the row, o. A row that
    was changed while its lock was waited for is not found again by its ctid, and stays as it is.

    The outbox is empty when autovacuum looks, and full a moment later. So nothing is left to the planner:
    LATERAL and FOR keep it from reading the outbox as a whole, and the condition on `event_sequence`, which
    every key meets and the planner takes for rare, from doing so to find the rows again.
    """
    columns = (
        ("kind", "smallint"),
        ("spin_id", "uuid"),
        ("win", "text"),
        ("event_sequence", "bigint"),
        *asked,
    )
    arrays = ", ".join(f"${i}::{sort}[]" for i, (_, sort) in enumerate(columns, start=1))
    return f"""
    SELECT a.*, o.ctid AS row_id{wanted}
    FROM (
        SELECT * FROM unnest({arrays}) AS a ({", ".join(name for name, _ in columns)})
        WHERE event_sequence + 0 = event_sequence
        ORDER BY {_KEY_NAMES}
    ) AS a
    CROSS JOIN LATERAL (
        SELECT ctid, due_time, parked_time, attempts
        FROM jackpot_outbox AS o
        WHERE {_SAME_KEY.format("a")}
        FOR {strength}
    ) AS o
    """


def key_arrays(keys: Sequence[RowKey]) -> list[list[Any]]:
    """The first four arrays of `locked_rows`."""
    return [list(column) for column in zip(*keys, strict=True)] if keys else [[], [], [], []]


_SETBACK_COLUMNS: _Columns = (
    ("error", "text"),
    ("parked", "boolean"),
    ("retry_after_s", "float8"),
    ("lease_until", "timestamptz"),
)
_RETRY_TIME = f"""
    , o.parked_time IS NULL AS is_open,
    a.lease_until IS NOT DISTINCT FROM o.due_time AS is_leased,
    clock_timestamp() + interval '1 second' * CASE
        WHEN a.retry_after_s IS NOT NULL THEN (1 + random() / 2) * a.retry_after_s
        ELSE (0.5 + random()) * LEAST({BACK_OFF_LONGEST_S}, {BACK_OFF_FIRST_S} * 2.0 ^ LEAST(o.attempts, 20))
    END AS retry_time"""

# A setback may only bring a row forward that is still under the sender's own lease.
_SET_BACK = f"""
WITH setback AS MATERIALIZED ({locked_rows(_SETBACK_COLUMNS, _RETRY_TIME, "NO KEY UPDATE")})
UPDATE jackpot_outbox AS o
SET attempts = o.attempts + 1,
    last_error = s.error,
    parked_time = CASE WHEN s.parked THEN clock_timestamp() END,
    due_time = CASE WHEN s.is_leased THEN s.retry_time ELSE GREATEST(o.due_time, s.retry_time) END
FROM setback AS s
WHERE o.ctid = s.row_id AND s.is_open
"""


async def set_back(
    connection: asyncpg.Connection, setbacks: Sequence[Setback], leases: Sequence[datetime | None]
) -> None:
    """Postpones or parks rows; `leases[i]` is until when the sender held the row of `setbacks[i]`, if it did.

    Its own transaction. Rows that are gone or parked stay as they are.
    """
    await connection.execute(
        _SET_BACK,
        *key_arrays([setback.row.key for setback in setbacks]),
        [f"{setback.reason}: {setback.message}"[:ERROR_TEXT_LIMIT] for setback in setbacks],
        [setback.parked for setback in setbacks],
        [setback.retry_after_s for setback in setbacks],
        list(leases),
    )


_GIVE_BACK = f"""
WITH unsent AS MATERIALIZED ({locked_rows((), ", o.due_time, o.parked_time", "NO KEY UPDATE")})
UPDATE jackpot_outbox AS o
SET due_time = clock_timestamp() + $6::integer * interval '1 ms'
FROM unsent AS s
WHERE o.ctid = s.row_id AND s.due_time = $5 AND s.parked_time IS NULL
"""


async def give_back(
    connection: asyncpg.Connection, keys: Sequence[RowKey], lease_until: datetime, delay_ms: int
) -> None:
    """Makes taken rows that were not sent due again after `delay_ms`, unless their lease has passed on."""
    await connection.execute(_GIVE_BACK, *key_arrays(keys), lease_until, delay_ms)


_RELEASE = f"""
WITH parked AS MATERIALIZED (
    SELECT {_KEY_ORDER}
    FROM jackpot_outbox AS o
    WHERE parked_time IS NOT NULL AND ($1::uuid[] IS NULL OR spin_id = ANY ($1))
    ORDER BY {_KEY_ORDER}
    FOR NO KEY UPDATE
), released AS (
    UPDATE jackpot_outbox AS o
    SET parked_time = NULL, attempts = 0, due_time = now()
    FROM parked AS s
    WHERE {_SAME_KEY.format("s")}
    RETURNING {_KEY_ORDER}
)
SELECT {_KEY_NAMES}, pg_notify('{CHANNEL}', '') FROM released
"""


async def release(connection: asyncpg.Connection, spin_ids: Sequence[UUID] | None) -> list[RowKey]:
    """Makes parked rows due again, of `spin_ids` or (None) all, and wakes the relays. Its own transaction."""
    records = await connection.fetch(_RELEASE, None if spin_ids is None else list(spin_ids))
    return [
        (record["kind"], record["spin_id"], record["win"], record["event_sequence"]) for record in records
    ]


_LISTING = """
SELECT kind, spin_id, win, event_sequence, operator_id, create_time, due_time, attempts, last_error,
       parked_time
FROM jackpot_outbox
WHERE NOT $1 OR parked_time IS NOT NULL
ORDER BY create_time, kind, spin_id, win, event_sequence
LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class ListedRow:
    """An open or parked row, as a person wants to see it."""

    key: RowKey
    operator_id: str
    create_time: datetime
    due_time: datetime
    attempts: int
    last_error: str
    parked_time: datetime | None


async def listing(connection: asyncpg.Connection, *, parked_only: bool, limit: int) -> list[ListedRow]:
    """Rows that have not been answered, oldest first."""
    return [
        ListedRow(
            (record["kind"], record["spin_id"], record["win"], record["event_sequence"]),
            record["operator_id"],
            record["create_time"],
            record["due_time"],
            record["attempts"],
            record["last_error"],
            record["parked_time"],
        )
        for record in await connection.fetch(_LISTING, parked_only, limit)
    ]


_STATUS = """
SELECT count(*) FILTER (WHERE parked_time IS NULL) AS open_rows,
       count(parked_time) AS parked_rows,
       coalesce(extract(epoch FROM now() - min(create_time) FILTER (WHERE parked_time IS NULL)), 0)::float8
           AS oldest_s
FROM jackpot_outbox
"""


@dataclass(frozen=True, slots=True)
class RowCounts:
    """`oldest_s`: age of the oldest row that is neither answered nor parked; 0 without one."""

    open_rows: int
    parked_rows: int
    oldest_s: float


async def row_counts(connection: asyncpg.Connection) -> RowCounts:
    """Counts the rows that have not been answered."""
    record = await connection.fetchrow(_STATUS)
    assert record is not None
    return RowCounts(record["open_rows"], record["parked_rows"], max(0.0, record["oldest_s"]))
