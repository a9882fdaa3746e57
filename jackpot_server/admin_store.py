"""The audit trail of what people change, as SQL."""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from jackpot_server.domain.evidence import ADMIN_EVENTS, Evidence
from jackpot_server.domain.facts import Batch


class AdminEvent(NamedTuple):
    """One row: a change that took effect, or one that waits for its second person.

    `fields`, `before` and `after` are JSON. `standing` says how the resource stood when it was asked for.
    """

    request_id: UUID
    action: str
    resource: str
    fields: str
    actor: str
    approver: str
    reason: str
    before: str
    after: str
    pending: bool
    standing: str


class StoredEvent(NamedTuple):
    """An event with its place and its time."""

    number: int
    time: datetime
    event: AdminEvent


_COLUMNS: Final = (
    "event_number, event_time, request_id, action, resource, fields, actor, approver, reason, before, after, "
    "pending, standing"
)
READ_REQUEST = (
    f"SELECT {_COLUMNS} FROM admin_events WHERE request_id = $1 ORDER BY pending, event_number DESC"
)
INSERT_EVENT = """
INSERT INTO admin_events (batch_id, event_time, request_id, action, resource, fields, actor, approver, reason,
                          before, after, pending, standing)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""
LIST_EVENTS = f"""
SELECT {_COLUMNS}
  FROM admin_events
 WHERE ($1 = '' OR resource = $1)
   AND ($2::timestamptz IS NULL OR event_time >= $2)
   AND ($3::timestamptz IS NULL OR event_time < $3)
   AND event_number < $4
 ORDER BY event_number DESC
 LIMIT $5
"""


def stored_event(row: asyncpg.Record) -> StoredEvent:
    """An event from its columns."""
    return StoredEvent(row[0], row[1], AdminEvent(*row[2:]))


async def read_request(connection: asyncpg.Connection, request_id: UUID) -> StoredEvent | None:
    """What is known of a request: that it took effect, else the newest time that it was asked for."""
    row = await connection.fetchrow(READ_REQUEST, request_id)
    return None if row is None else stored_event(row)


async def insert_event(
    connection: asyncpg.Connection, batch: Batch, evidence: Evidence, event: AdminEvent
) -> None:
    """Adds to the trail."""
    await connection.execute(INSERT_EVENT, *batch, *event)
    evidence.add(ADMIN_EVENTS, [event])
