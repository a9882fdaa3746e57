"""The SQL of what came back (jackpot_results, jackpot_wins, jackpot_cursors). Sets in, sets out.

The first four functions are the statements of one booking, inside the caller's transaction; leases commit
by themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from jackpot_outbox.rows import AcknowledgementRow, Answer, Kind, Outcome, WinNotice, WinPage, WinState
from jackpot_outbox.store import (
    acknowledgement_arrays,
    acknowledgements_insert,
    key_arrays,
    locked_rows,
)

# One EXISTS: for three that are joined by OR, the planner reads two of the tables as a whole first.
_RECORD_WINS = """
INSERT INTO jackpot_wins AS known (win, spin_id, operator_id, user_id, wallet_id, pool, tier,
                                   currency_code, amount_minor, state, spin_voided, event_sequence)
SELECT heard.*
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::text[], $9::bigint[], $10::smallint[], $11::boolean[], $12::bigint[])
     AS heard (win, spin_id, operator_id, user_id, wallet_id, pool, tier,
               currency_code, amount_minor, state, spin_voided, event_sequence)
WHERE EXISTS (
    SELECT FROM jackpot_outbox AS o
    WHERE o.kind = 1 AND o.spin_id = heard.spin_id AND o.win = '' AND o.event_sequence = 0
    UNION ALL
    SELECT FROM jackpot_results AS r WHERE r.spin_id = heard.spin_id
    UNION ALL
    SELECT FROM jackpot_wins AS w WHERE w.win = heard.win
)
ORDER BY heard.win
ON CONFLICT (win) DO UPDATE
SET state = CASE WHEN excluded.event_sequence > known.event_sequence
                 THEN excluded.state ELSE known.state END,
    spin_voided = CASE WHEN excluded.event_sequence > known.event_sequence
                       THEN excluded.spin_voided ELSE known.spin_voided END,
    event_sequence = GREATEST(known.event_sequence, excluded.event_sequence)
RETURNING win, spin_id, operator_id, user_id, wallet_id, pool, tier, currency_code, amount_minor, state,
          spin_voided, event_sequence, acted_sequence, wallet_entry_id,
          (SELECT v.spin_id FROM jackpot_voids AS v WHERE v.spin_id = known.spin_id) IS NOT NULL
              AS is_spin_voided_here
"""


@dataclass(frozen=True, slots=True)
class StoredWin:
    """A win of this database as it stands now, its row locked, and what the wallet did with it so far."""

    notice: WinNotice
    acted_sequence: int
    wallet_entry_id: str | None
    is_spin_voided_here: bool


async def record_wins(connection: asyncpg.Connection, wins: Sequence[WinNotice]) -> list[StoredWin]:
    """Stores wins of this database's spins and locks their rows; only a newer event changes a stored one.

    `wins` are sorted by name and distinct. Wins of other spins are left out of the answer.
    """
    records = await connection.fetch(
        _RECORD_WINS,
        [win.win for win in wins],
        [win.spin_id for win in wins],
        [win.operator_id for win in wins],
        [win.user_id for win in wins],
        [win.wallet_id for win in wins],
        [win.pool for win in wins],
        [win.tier for win in wins],
        [win.currency_code for win in wins],
        [win.amount_minor for win in wins],
        [int(win.state) for win in wins],
        [win.spin_voided for win in wins],
        [win.event_sequence for win in wins],
    )
    return [
        StoredWin(
            WinNotice(
                record["win"],
                record["spin_id"],
                record["operator_id"],
                record["user_id"],
                record["wallet_id"],
                record["pool"],
                record["tier"],
                record["currency_code"],
                record["amount_minor"],
                WinState(record["state"]),
                record["spin_voided"],
                record["event_sequence"],
            ),
            record["acted_sequence"],
            record["wallet_entry_id"],
            record["is_spin_voided_here"],
        )
        for record in records
    ]


# The rows of jackpot_wins are locked by _RECORD_WINS.
_RECORD_ACTS = f"""
WITH acted AS (
    UPDATE jackpot_wins AS w
    SET acted_sequence = a.sequence,
        wallet_entry_id = coalesce(a.entry_id, w.wallet_entry_id),
        failure_reason = a.failure
    FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) AS a (win, sequence, entry_id, failure)
    WHERE w.win = a.win
)
{acknowledgements_insert(first_parameter=5)}
"""


async def record_acts(connection: asyncpg.Connection, acts: Sequence[AcknowledgementRow]) -> None:
    """Notes on the wins' locked rows what the wallet did and queues `acts`, sorted by key."""
    credited = Outcome.CREDITED
    await connection.execute(
        _RECORD_ACTS,
        [act.win for act in acts],
        [act.event_sequence for act in acts],
        [act.wallet_entry_id if act.outcome == credited else None for act in acts],
        [act.failure_reason for act in acts],
        *acknowledgement_arrays(acts),
    )


_ANSWER_COLUMNS = (
    ("operator_id", "text"),
    ("state", "smallint"),
    ("shares", "text"),
    ("record_time", "timestamptz"),
    ("audit_chain", "integer"),
    ("audit_sequence", "bigint"),
    ("audit_sha256", "bytea"),
)
_END_ROWS = f"""
WITH open AS MATERIALIZED ({locked_rows(_ANSWER_COLUMNS, "", "UPDATE")}
), ended AS (
    DELETE FROM jackpot_outbox AS o USING open AS a
    WHERE o.ctid = a.row_id
    RETURNING a.*
), kept AS (
    INSERT INTO jackpot_results (spin_id, operator_id, state, shares, record_time,
                                 audit_chain, audit_sequence, audit_sha256)
    SELECT spin_id, operator_id, state, shares::jsonb, record_time, audit_chain, audit_sequence, audit_sha256
    FROM ended
    WHERE kind = {Kind.CONTRIBUTION:d}
    ORDER BY spin_id
    ON CONFLICT DO NOTHING
)
SELECT spin_id FROM ended WHERE kind IN ({Kind.CONTRIBUTION:d}, {Kind.VOID:d})
"""


async def end_rows(connection: asyncpg.Connection, answers: Sequence[Answer]) -> list[UUID]:
    """Deletes answered rows, keeps what contributions were answered; the spins whose row was there."""
    records = await connection.fetch(
        _END_ROWS,
        *key_arrays([answer.row.key for answer in answers]),
        [answer.row.operator_id for answer in answers],
        [answer.state for answer in answers],
        [answer.shares_json for answer in answers],
        [answer.record_time for answer in answers],
        [answer.audit_chain for answer in answers],
        [answer.audit_sequence for answer in answers],
        [answer.audit_sha256 for answer in answers],
    )
    return [record["spin_id"] for record in records]


_MOVE_CURSORS = """
INSERT INTO jackpot_cursors AS c (operator_id, last_sequence)
SELECT * FROM unnest($1::text[], $2::bigint[]) AS page (operator_id, last_sequence)
ORDER BY operator_id
ON CONFLICT (operator_id) DO UPDATE SET last_sequence = GREATEST(c.last_sequence, excluded.last_sequence)
"""


async def move_cursors(connection: asyncpg.Connection, pages: Sequence[WinPage]) -> None:
    """Moves each operator's cursor to the end of its page, never back. One page per operator."""
    await connection.execute(
        _MOVE_CURSORS,
        [page.operator_id for page in pages],
        [page.last_sequence for page in pages],
    )


_LEASE_CURSORS = """
WITH free AS MATERIALIZED (
    SELECT operator_id
    FROM jackpot_cursors
    WHERE lease_holder = $1 OR lease_until < now()
    ORDER BY operator_id
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE jackpot_cursors AS c
SET lease_holder = $1, lease_until = now() + $2::integer * interval '1 ms'
FROM free
WHERE c.operator_id = free.operator_id
RETURNING c.operator_id, c.last_sequence
"""


async def lease_cursors(connection: asyncpg.Connection, holder: str, lease_ms: int) -> dict[str, int]:
    """Renews the holder's leases and takes every free one; the last sequence by operator.

    A cursor that is just being moved is left out; its lease stands as it was. Its own transaction.
    """
    records = await connection.fetch(_LEASE_CURSORS, holder, lease_ms)
    return {record["operator_id"]: record["last_sequence"] for record in records}


_RELEASE_CURSORS = """
WITH held AS MATERIALIZED (
    SELECT operator_id FROM jackpot_cursors WHERE lease_holder = $1 ORDER BY operator_id FOR NO KEY UPDATE
)
UPDATE jackpot_cursors AS c
SET lease_holder = '', lease_until = '-infinity'
FROM held
WHERE c.operator_id = held.operator_id
"""


async def release_cursors(connection: asyncpg.Connection, holder: str) -> None:
    """Gives the holder's leases up, so that another follower need not wait for their end."""
    await connection.execute(_RELEASE_CURSORS, holder)
