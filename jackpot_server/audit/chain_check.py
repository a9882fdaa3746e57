"""The chains (PR-21): every record follows on the one before, every row is the one that was recorded."""

import hashlib
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final
from zlib import crc32

import asyncpg

from jackpot_server.audit.row_names import row_name
from jackpot_server.audit.trail import RecordedBatch
from jackpot_server.domain.evidence import (
    POOL_STATES,
    TABLES,
    Audited,
    AuditHead,
    Evidence,
    micros_since_epoch,
    row_text,
)
from service_kit.audit_report import Findings

DIGESTS: Final = "every batch has the rows that were recorded"
LINKS: Final = "every record follows on the one before"
WITNESSES: Final = "every record that was witnessed is there"

_FETCH_AT_ONCE: Final = 2_000
_RECORDS: Final = """
SELECT chain, sequence, batch_id, batch_time, digest, sha256
  FROM batches WHERE chain IS NOT NULL ORDER BY chain, sequence"""
_HEADS: Final = "SELECT chain, first_batch_id, sequence, sha256 FROM audit_chains ORDER BY chain"


def check_digest(batch: RecordedBatch, findings: Findings) -> None:
    """Makes the digest of a batch's rows once more; if it is another one, says which rows differ."""
    if batch.chain is None:
        return
    findings.examined[DIGESTS] += 1
    evidence = Evidence()
    for table in TABLES:
        evidence.add(table, _rows(batch, table))
    seal = evidence.seal()
    if seal.digest != batch.digest:
        _locate(batch, findings)
    elif seal.marks != batch.row_marks:
        findings.add(DIGESTS, batch.where, "its marks are not those of its rows, which are as recorded")


async def follow_chains(
    connection: asyncpg.Connection, findings: Findings, witnessed: Iterable[AuditHead]
) -> None:
    """From each chain's beginning to its head; `witnessed` are heads that other databases keep of answers."""
    unseen = {(head.chain, head.sequence): head.sha256 for head in witnessed}
    findings.examined[WITNESSES] += len(unseen)
    chains = {
        chain: _Chain(chain, first_batch_id, sequence, sha256)
        for chain, first_batch_id, sequence, sha256 in await connection.fetch(_HEADS)
    }
    cursor = await connection.cursor(_RECORDS)
    while rows := await cursor.fetch(_FETCH_AT_ONCE):
        for chain, sequence, *record in rows:
            findings.examined[LINKS] += 1
            if chain not in chains:
                findings.add(LINKS, f"chain {chain} sequence {sequence}", "the chain has no head")
                continue
            chains[chain].follow(sequence, record, findings)
            sha256 = unseen.pop((chain, sequence), None)
            if sha256 is not None and sha256 != record[-1]:
                where = f"chain {chain} sequence {sequence}"
                findings.add(WITNESSES, where, "another database has seen it with another hash")
    for followed in chains.values():
        followed.end(findings)
    for chain, sequence in sorted(unseen):
        findings.add(
            WITNESSES, f"chain {chain} sequence {sequence}", "another database has seen it, it is gone"
        )


class _Chain:
    """One chain, followed record by record."""

    def __init__(self, chain: int, first_batch_id: int, head_sequence: int, head_sha256: bytes) -> None:
        self._chain = chain
        self._head = (head_sequence, head_sha256)
        self._sequence = 0
        self._sha256 = hashlib.sha256(struct.pack(">iq", chain, first_batch_id)).digest()

    def follow(self, sequence: int, record: Sequence[Any], findings: Findings) -> None:
        batch_id, time, digest, sha256 = record
        where = f"chain {self._chain} sequence {sequence} (batch {batch_id})"
        if sequence != self._sequence + 1:
            findings.add(LINKS, where, f"the records after {self._sequence} and before it are missing")
        else:
            parts = struct.pack(">iq", self._chain, sequence) + self._sha256
            parts += struct.pack(">qq", batch_id, micros_since_epoch(time)) + digest
            if sha256 != hashlib.sha256(parts).digest():
                findings.add(LINKS, where, "its hash is not what follows from it and the record before")
        self._sequence, self._sha256 = sequence, sha256

    def end(self, findings: Findings) -> None:
        if (self._sequence, self._sha256) != self._head:
            findings.add(
                LINKS,
                f"chain {self._chain}",
                f"it ends at {self._sequence}, its head stands at {self._head[0]}",
            )


def _locate(batch: RecordedBatch, findings: Findings) -> None:
    """By the marks: which rows are not the ones that were recorded, and how many of those are gone."""
    found_before = len(findings.found)
    marks = parse_marks(batch.row_marks)
    for table in TABLES:
        left = Counter(marks.pop(table.number, ()))
        strange = []
        for row in _rows(batch, table):
            mark = crc32(row_text(row))
            if left[mark]:
                left[mark] -= 1
            else:
                strange.append(row)
        for row in strange:
            findings.add(DIGESTS, _where(table, row, batch), "changed or inserted since")
        if left.total() > len(strange):
            _report_missing(table.name, left.total() - len(strange), batch, findings)
    for number, gone in marks.items():
        _report_missing(f"table {number}", len(gone), batch, findings)
    if len(findings.found) == found_before:
        findings.add(DIGESTS, batch.where, "its digest is not that of its rows")


def _report_missing(table: str, count: int, batch: RecordedBatch, findings: Findings) -> None:
    findings.add(
        DIGESTS, f"{table}, {batch.where}", f"{count} {'row is' if count == 1 else 'rows are'} missing"
    )


def parse_marks(row_marks: bytes) -> dict[int, list[int]]:
    """By the table's number, the CRC-32 of each row; as far as the bytes can be read."""
    marks: dict[int, list[int]] = {}
    place = 0
    while place + 5 <= len(row_marks):
        number, count = struct.unpack_from(">BI", row_marks, place)
        place += 5
        if place + 4 * count > len(row_marks):
            break
        marks[number] = list(struct.unpack_from(f">{count}I", row_marks, place))
        place += 4 * count
    return marks


def _rows(batch: RecordedBatch, table: Audited) -> Sequence[Sequence[Any]]:
    return batch.pool_states if table is POOL_STATES else batch.of(table)


def _where(table: Audited, row: Sequence[object], batch: RecordedBatch) -> str:
    return f"{table.name} {row_name(table, row)}, {batch.where}"
