"""The audit trail read from its beginning: each batch with every row that belongs to it, in order."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg
from asyncpg.cursor import Cursor

from jackpot_server.audit.archived import Archived
from jackpot_server.audit.row_names import CHECK, Values, row_name
from jackpot_server.domain.evidence import CONTRIBUTIONS, POOL_STATES, TABLES, VOIDS, Audited
from service_kit.audit_report import Findings

_FETCH_AT_ONCE: Final = 2_000


@dataclass(frozen=True, slots=True)
class RecordedBatch:
    """A row of `batches` and the rows that name it, by the number of their table.

    `rows[n][i]` has the columns of table n, in their order. `voided_shares[i]` are the shares of what the
    i-th void took back. `chain` is None of batches from before the trail.
    """

    batch_id: int
    time: datetime
    chain: int | None
    sequence: int
    digest: bytes
    sha256: bytes
    pool_states: Sequence[Sequence[int]]
    row_marks: bytes
    rows: Mapping[int, Sequence[Values]]
    voided_shares: Sequence[Values]

    def of(self, table: Audited) -> Sequence[Values]:
        """The batch's rows of a table."""
        return self.rows.get(table.number, ())

    @property
    def where(self) -> str:
        """How a finding names it."""
        place = "before the trail" if self.chain is None else f"chain {self.chain} sequence {self.sequence}"
        return f"batch {self.batch_id} ({place})"


_BATCHES: Final = """
SELECT batch_id, batch_time, chain, sequence, digest, sha256, pool_states, row_marks
  FROM batches ORDER BY batch_id"""
_VOIDED_SHARES: Final = """
SELECT v.batch_id, v.void_time, {columns}, c.currency_code, c.shares
  FROM voids v LEFT JOIN contributions c USING (spin_id) ORDER BY v.batch_id"""


async def read_trail(
    connection: asyncpg.Connection, findings: Findings, archive: Archived | None = None
) -> AsyncIterator[RecordedBatch]:
    """Every batch in the order of their numbers, inside the caller's transaction.

    A row that names a batch which is not there is a finding. Contributions of `archive` are taken as if they
    were in their table; where they are there too, both must be the same. Memory stays small whatever there
    is to read.
    """
    feeds = [await _Feed.open(connection, table) for table in TABLES if table is not POOL_STATES]
    batches: Cursor = await connection.cursor(_BATCHES)
    while rows := await batches.fetch(_FETCH_AT_ONCE):
        for batch_id, time, chain, *record in rows:
            found: dict[int, Sequence[Values]] = {}
            shares: list[Values] = []
            for feed in feeds:
                taken = await feed.take(batch_id, time, findings)
                if archive is not None and feed.table is CONTRIBUTIONS:
                    taken = archive.take(batch_id, time, taken, findings)
                if taken and feed.table is VOIDS:
                    shares = [row[-2:] for row in taken]
                    taken = [row[:-2] for row in taken]
                    if archive is not None:
                        shares = [
                            archive.shares.get(row[0], found)
                            for row, found in zip(taken, shares, strict=True)
                        ]
                if taken:
                    found[feed.table.number] = taken
            sequence, digest, sha256, states, marks = record
            yield RecordedBatch(
                batch_id, time, chain, sequence, digest, sha256, states or [], marks, found, shares
            )
    for feed in feeds:
        await feed.rest_is_lost(findings)
    if archive is not None:
        archive.rest_is_lost(findings)


class _Feed:
    """The rows of one table, in the order of their batches."""

    def __init__(self, table: Audited, cursor: Cursor) -> None:
        self.table = table
        self._cursor = cursor
        self._rows: Sequence[asyncpg.Record] = ()
        self._next = 0
        # Columns before those of the table: the batch, and its time where there is one.
        self._head = 2 if table.time_column else 1

    @classmethod
    async def open(cls, connection: asyncpg.Connection, table: Audited) -> "_Feed":
        cursor: Cursor = await connection.cursor(_select(table))
        feed = cls(table, cursor)
        await feed._refill()
        return feed

    async def take(self, batch_id: int, time: datetime, findings: Findings) -> list[Values]:
        """The rows of a batch; those of earlier batches, which do not exist, are findings."""
        taken: list[Values] = []
        while self._rows:
            row = self._rows[self._next]
            if row[0] > batch_id:
                break
            if row[0] < batch_id:
                self._is_lost(row, findings)
            else:
                values = tuple(row)[self._head :]
                if self._head == 2 and row[1] != time:
                    where = f"{self.table.name} {self._key(values)}"
                    findings.add(CHECK, where, f"its time is {row[1]}, its batch {batch_id} is of {time}")
                taken.append(values)
            await self._advance()
        findings.examined[CHECK] += len(taken)
        return taken

    async def rest_is_lost(self, findings: Findings) -> None:
        """What names a batch beyond the last one."""
        while self._rows:
            self._is_lost(self._rows[self._next], findings)
            await self._advance()

    def _is_lost(self, row: asyncpg.Record, findings: Findings) -> None:
        findings.examined[CHECK] += 1
        key = self._key(tuple(row)[self._head :])
        findings.add(CHECK, f"{self.table.name} {key}", f"there is no batch {row[0]}, which it names")

    def _key(self, values: Values) -> str:
        return row_name(self.table, values)

    async def _advance(self) -> None:
        self._next += 1
        if self._next == len(self._rows):
            await self._refill()

    async def _refill(self) -> None:
        self._rows, self._next = await self._cursor.fetch(_FETCH_AT_ONCE), 0


def _select(table: Audited) -> str:
    if table is VOIDS:
        return _VOIDED_SHARES.format(columns=", ".join(f"v.{name}" for name in table.columns))
    head = [table.batch_column, table.time_column] if table.time_column else [table.batch_column]
    # A long number comes as its text, not as a Decimal.
    named = [f"{name}::text" if name == "amount_micros" else name for name in table.columns]
    columns = ", ".join([*head, *named])
    batch = table.batch_column
    return f"SELECT {columns} FROM {table.name} WHERE {batch} IS NOT NULL ORDER BY {batch}"
