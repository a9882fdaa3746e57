"""Archived contributions, batch by batch, as the audit takes those of the table."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg

from jackpot_server.archive import read_archive
from jackpot_server.audit.row_names import CHECK, Values, row_name
from jackpot_server.domain.evidence import CONTRIBUTIONS, row_text
from service_kit.audit_report import Findings

SAME: Final = "every archived row is the one of the table"

_VOIDED: Final = "SELECT spin_id FROM voids"
_CURRENCY: Final = CONTRIBUTIONS.columns.index("currency_code")
# Batch and time, before the columns of the evidence.
_HEAD: Final = 2


class Archived:
    """The files of a folder; batches are asked for in ascending order.

    `shares`: of the archived contributions that were voided, currency and shares by spin.
    """

    def __init__(self, rows: Iterator[tuple[Any, ...]], shares: Mapping[UUID, Values]) -> None:
        self.shares = shares
        self._rows = rows
        self._next = next(rows, None)

    @classmethod
    async def open(cls, connection: asyncpg.Connection, folder: Path) -> "Archived":
        """Reads the files once to find what was voided. Raises what `read_archive` raises."""
        voided = {row["spin_id"] for row in await connection.fetch(_VOIDED)}
        rows = read_archive(folder) if voided else iter(())
        shares = {row[_HEAD]: (row[_HEAD + _CURRENCY], row[-1]) for row in rows if row[_HEAD] in voided}
        return cls(read_archive(folder), shares)

    def take(self, batch_id: int, time: datetime, stored: list[Values], findings: Findings) -> list[Values]:
        """The batch's contributions: those of the files, else those of the table."""
        taken: list[Values] = []
        while self._next is not None and self._next[0] <= batch_id:
            if self._next[0] < batch_id:
                self._is_lost(self._next, findings)
            else:
                if self._next[1] != time:
                    findings.add(CHECK, self._where(self._next), f"its time is not that of batch {batch_id}")
                taken.append(self._next[_HEAD:])
            self._next = next(self._rows, None)
        if not taken:
            return stored
        findings.examined[CHECK] += len(taken)
        if stored:
            findings.examined[SAME] += len(taken)
            archived = {row_text(row) for row in taken}
            for row in stored:
                if row_text(row) not in archived:
                    where = f"{CONTRIBUTIONS.name} {row_name(CONTRIBUTIONS, row)}, batch {batch_id}"
                    findings.add(SAME, where, "the archive has another row, or none")
        return taken

    def rest_is_lost(self, findings: Findings) -> None:
        """What names a batch beyond the last one."""
        while self._next is not None:
            self._is_lost(self._next, findings)
            self._next = next(self._rows, None)

    def _is_lost(self, row: tuple[Any, ...], findings: Findings) -> None:
        findings.add(CHECK, self._where(row), f"there is no batch {row[0]}, which it names")

    def _where(self, row: tuple[Any, ...]) -> str:
        return f"archived {row_name(CONTRIBUTIONS, row[_HEAD:])}"
