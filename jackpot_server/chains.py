"""The audit chains (PR-21): each committed batch is the next record of one of them, taken at its very end."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import asyncpg

from jackpot_server.domain.evidence import (
    POOL_STATES,
    AuditHead,
    Evidence,
    Seal,
    micros_since_epoch,
    state_numbers,
)
from jackpot_server.domain.facts import Batch
from jackpot_server.domain.pool import PoolState

RECORD_COLUMNS: Final = 6


class Record(NamedTuple):
    """What a chain takes up: a batch, how it left the pools that it changed, the seal of its rows."""

    batch: Batch
    pool_states: Sequence[Sequence[int]]
    seal: Seal

    @property
    def columns(self) -> tuple[Any, ...]:
        """The parameters of `record_sql`."""
        batch_id, now = self.batch
        return (batch_id, now, micros_since_epoch(now), self.seal.digest, self.pool_states, self.seal.marks)


def record_sql(first_parameter: int, chosen: str) -> str:
    """The end of a WITH: appends to the chain that `chosen` locks; its new head, if there was one to lock."""
    batch_id, time, time_us, digest, states, marks = (
        f"${number}::{kind}"
        for number, kind in enumerate(
            ("bigint", "timestamptz", "bigint", "bytea", "bigint[]", "bytea"), first_parameter
        )
    )
    return f"""chosen AS MATERIALIZED ({chosen}
), head AS MATERIALIZED (
    SELECT chain, sequence + 1 AS sequence,
           sha256(int4send(chain) || int8send(sequence + 1) || sha256
                  || int8send({batch_id}) || int8send({time_us}) || {digest}) AS sha256
      FROM chosen
), record AS (
    INSERT INTO batches (batch_id, batch_time, chain, sequence, digest, sha256, pool_states, row_marks)
    SELECT {batch_id}, {time}, chain, sequence, {digest}, sha256, {states}, {marks} FROM head
), moved AS (
    UPDATE audit_chains AS c
       SET sequence = head.sequence, sha256 = head.sha256
      FROM head
     WHERE c.chain = head.chain
)
SELECT chain, sequence, sha256 FROM head
"""


def free_chain(after: str) -> str:
    """Locks a chain that nobody holds, once every row of the CTE `after` is there; none if all are held."""
    return f"""
    SELECT c.chain, c.sequence, c.sha256
      FROM audit_chains c, (SELECT count(*) FROM {after}) AS written
     LIMIT 1
       FOR NO KEY UPDATE OF c SKIP LOCKED"""


APPEND_RECORD = "WITH " + record_sql(
    1,
    """
    SELECT chain, sequence, sha256
      FROM audit_chains
     WHERE chain = $1::bigint % (SELECT count(*) FROM audit_chains) + 1
       FOR NO KEY UPDATE""",
)


async def append_record(connection: asyncpg.Connection, record: Record) -> AuditHead:
    """Appends to the chain that the batch's number points to, waiting for it; the last statement of all."""
    row = await connection.fetchrow(APPEND_RECORD, *record.columns)
    assert row is not None, "there are no audit chains"
    return AuditHead(*row)


async def append_batch(
    connection: asyncpg.Connection, batch: Batch, evidence: Evidence, pools: Sequence[PoolState]
) -> AuditHead:
    """Ends a batch that changed `pools` to what they are now and inserted the rows of `evidence`."""
    states = [state_numbers(pool) for pool in pools]
    evidence.add(POOL_STATES, states)
    return await append_record(connection, Record(batch, states, evidence.seal()))


OPEN_BATCH = "SELECT nextval('batch_ids'), clock_timestamp()"


async def open_batch(connection: asyncpg.Connection) -> Batch:
    """The number and time of a batch, for the rows of one who has locked all that it changes."""
    row = await connection.fetchrow(OPEN_BATCH)
    assert row is not None
    return Batch(*row)
