"""Closed months of contributions in files, so that the audit still verifies when their rows are gone.

A month is two files: `contributions-2026-10.jsonl.gz`, a JSON object per row in the order of batches, and
`contributions-2026-10.json`, which says how many there are and the SHA-256 of the other.
"""

import gzip
import hashlib
import heapq
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg

from jackpot_server.domain.evidence import CONTRIBUTIONS

# A batch reads its clock some seconds before it is seen.
CLOSED_AFTER: Final = timedelta(hours=1)

_FETCH_AT_ONCE: Final = 2_000
_PREFIX: Final = "contributions-"
_COLUMNS: Final = ("batch_id", "record_time", *CONTRIBUTIONS.columns)
_NOW = "SELECT now()"
_FIRST = "SELECT min(record_time) FROM contributions"
_ROWS = f"""
SELECT {", ".join(_COLUMNS)} FROM contributions
 WHERE record_time >= $1 AND record_time < $2 ORDER BY batch_id, spin_id"""


class NotClosed(Exception):
    """A month that is still being written."""


class Damaged(Exception):
    """A file of an archive is not what its manifest says."""


@dataclass(frozen=True, slots=True)
class Month:
    """The manifest of a month: its rows, and the SHA-256 of their file."""

    month: str
    rows: int
    sha256: str


async def assert_over(connection: asyncpg.Connection, before: datetime) -> None:
    """Raises NotClosed if the month before `before` is still being written, by the database's clock."""
    if before + CLOSED_AFTER > await connection.fetchval(_NOW):
        raise NotClosed(f"The month before {before:%Y-%m} has not been over for an hour.")


async def export(connection: asyncpg.Connection, before: datetime, folder: Path) -> list[Month]:
    """Writes every month before `before`, the first of a month, that is not there yet; those written.

    They are to be over (`assert_over`). Inside the caller's transaction, which shows one moment. Deletes
    nothing. Raises OSError.
    """
    first = await connection.fetchval(_FIRST)
    written = []
    begin = None if first is None else _begin_of(first.astimezone(UTC))
    while begin is not None and begin < before:
        end = _begin_of(begin + timedelta(days=31))
        if not _manifest(folder, f"{begin:%Y-%m}").exists():
            written.append(await _write(connection, begin, end, folder))
        begin = end
    return written


async def _write(connection: asyncpg.Connection, begin: datetime, end: datetime, folder: Path) -> Month:
    """The rows first, complete and on disk; the manifest makes them count."""
    name, rows = f"{begin:%Y-%m}", 0
    new = folder / f".{_PREFIX}{name}.new"
    with new.open("wb") as file:
        with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
            cursor = await connection.cursor(_ROWS, begin, end)
            while chunk := await cursor.fetch(_FETCH_AT_ONCE):
                packed.write("".join([_line(row) for row in chunk]).encode())
                rows += len(chunk)
        file.flush()
        os.fsync(file.fileno())
    month = Month(name, rows, _sha256(new))
    new.replace(_rows_file(folder, name))
    with new.open("w", encoding="ascii") as file_of_manifest:
        file_of_manifest.write(json.dumps(asdict(month)) + "\n")
        file_of_manifest.flush()
        os.fsync(file_of_manifest.fileno())
    new.replace(_manifest(folder, name))
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return month


def read_archive(folder: Path) -> Iterator[tuple[Any, ...]]:
    """Every archived row in the order of batches: batch, time, then the columns of the evidence.

    Raises Damaged before the first row if a file is not what its manifest says, else ValueError or OSError.
    """
    months = [_read_manifest(file) for file in sorted(folder.glob(f"{_PREFIX}*.json"))]
    for month in months:
        if _sha256(_rows_file(folder, month.month)) != month.sha256:
            raise Damaged(f"{_rows_file(folder, month.month).name} is not what its manifest says.")
    # Batches of neighbouring months may overlap by a few numbers.
    return heapq.merge(*(_read_month(folder, month) for month in months), key=lambda row: row[0])


def _read_manifest(file: Path) -> Month:
    try:
        return Month(**json.loads(file.read_text("ascii")))
    except (ValueError, TypeError):
        raise Damaged(f"{file.name} is no manifest.") from None


def _read_month(folder: Path, month: Month) -> Iterator[tuple[Any, ...]]:
    count = 0
    with gzip.open(_rows_file(folder, month.month), "rt", encoding="utf-8", newline="\n") as lines:
        for line in lines:
            row = json.loads(line)
            row["spin_id"] = UUID(row["spin_id"])
            for name in ("record_time", "occur_time"):
                row[name] = None if row[name] is None else datetime.fromisoformat(row[name])
            yield tuple(row[name] for name in _COLUMNS)
            count += 1
    if count != month.rows:
        raise Damaged(f"{month.month} has {count} rows, and should have {month.rows}.")


def _line(row: asyncpg.Record) -> str:
    return json.dumps(dict(zip(_COLUMNS, map(_plain, row), strict=True)), ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value) if isinstance(value, UUID) else value


def _begin_of(moment: datetime) -> datetime:
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _rows_file(folder: Path, month: str) -> Path:
    return folder / f"{_PREFIX}{month}.jsonl.gz"


def _manifest(folder: Path, month: str) -> Path:
    return folder / f"{_PREFIX}{month}.json"


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
