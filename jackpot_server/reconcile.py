"""An operator's own export against the contributions that are recorded: ids first, then what was wagered."""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from service_kit.checks import UUID_PATTERN
from service_kit.money import MAX_AMOUNT_MINOR

_FETCH_AT_ONCE: Final = 2_000
_is_uuid = re.compile(UUID_PATTERN).fullmatch
_REQUIRED: Final = ("spin_id", "wager_minor", "currency_code")
# Of problems with a file, as many are told.
MOST_PROBLEMS: Final = 50

RECORDED: Final = """
SELECT spin_id, wager_minor, currency_code,
       (SELECT v.spin_id FROM voids v WHERE v.spin_id = c.spin_id) IS NOT NULL
  FROM contributions c
 WHERE operator_id = $1 AND record_time >= $2 AND record_time < $3
 ORDER BY record_time, spin_id"""
ELSEWHERE: Final = """
SELECT spin_id, wager_minor, currency_code, operator_id,
       (SELECT v.spin_id FROM voids v WHERE v.spin_id = c.spin_id) IS NOT NULL
  FROM contributions c WHERE spin_id = ANY($1::uuid[])"""


class BadFile(Exception):
    """Everything that is wrong with an export, line by line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Bet(NamedTuple):
    """A line of an export."""

    wager_minor: int
    currency_code: str


class Side(Enum):
    """Where something is missing."""

    RECORDED = "recorded here, not in the file"
    FILE = "in the file, not recorded here"
    BOTH = "different"


@dataclass(frozen=True, slots=True)
class Difference:
    """One spin that the two sides do not have alike."""

    spin_id: UUID
    side: Side
    what: str


def read_export(lines: Iterable[str]) -> dict[UUID, Bet]:
    """The bets of a CSV with a header: spin_id, wager_minor, currency_code; other columns are left alone.

    Raises BadFile with every line that cannot be read.
    """
    reader = csv.DictReader(lines)
    missing = [name for name in _REQUIRED if name not in (reader.fieldnames or ())]
    if missing:
        raise BadFile([f"line 1: the header lacks {', '.join(missing)}"])
    bets: dict[UUID, Bet] = {}
    problems: list[str] = []
    for row in reader:
        spin, wager, currency = (str(row[name] or "").strip() for name in _REQUIRED)
        wrong = []
        if not _is_uuid(spin.lower()):
            wrong.append(f"spin_id {spin!r} is no UUID")
        elif UUID(spin) in bets:
            wrong.append(f"spin_id {spin} is there twice")
        if not wager.isascii() or not wager.isdigit() or not 0 < int(wager) <= MAX_AMOUNT_MINOR:
            wrong.append(f"wager_minor {wager!r} is no amount in minor units")
        if not currency:
            wrong.append("currency_code is empty")
        if wrong:
            problems += [f"line {reader.line_num}: {problem}" for problem in wrong]
        else:
            bets[UUID(spin)] = Bet(int(wager), currency)
    if problems:
        shown = problems[:MOST_PROBLEMS]
        if len(problems) > len(shown):
            shown.append(f"… {len(problems)} problems in all")
        raise BadFile(shown)
    return bets


async def compare_export(
    connection: asyncpg.Connection, operator_id: str, bets: dict[UUID, Bet], start: datetime, end: datetime
) -> tuple[int, list[Difference]]:
    """How many contributions were compared, and what differs; inside the caller's transaction.

    What was recorded in [start, end) must be in the file; what the file has may be recorded at any time. A
    contribution that was voided may be missing in the file.
    """
    differences: list[Difference] = []
    left = dict(bets)
    compared = 0
    cursor = await connection.cursor(RECORDED, operator_id, start, end)
    while rows := await cursor.fetch(_FETCH_AT_ONCE):
        for spin_id, wager_minor, currency, is_voided in rows:
            compared += 1
            bet = left.pop(spin_id, None)
            recorded = Bet(wager_minor, currency)
            if bet is None:
                if not is_voided:
                    differences.append(Difference(spin_id, Side.RECORDED, _told(recorded)))
            elif wager_minor and bet != recorded:
                differences.append(
                    Difference(spin_id, Side.BOTH, f"{_told(bet)} in the file, {_told(recorded)} here")
                )
    for first in range(0, len(left), _FETCH_AT_ONCE):
        ids = list(left)[first : first + _FETCH_AT_ONCE]
        found = {row[0]: row for row in await connection.fetch(ELSEWHERE, ids)}
        for spin_id in ids:
            bet = left[spin_id]
            row = found.get(spin_id)
            if row is None or row[3] != operator_id:
                differences.append(Difference(spin_id, Side.FILE, _told(bet)))
            elif row[1] and Bet(row[1], row[2]) != bet:
                told = f"{_told(bet)} in the file, {_told(Bet(row[1], row[2]))} here"
                differences.append(Difference(spin_id, Side.BOTH, told))
    return compared, differences


def _told(bet: Bet) -> str:
    return f"{bet.wager_minor} {bet.currency_code}"
