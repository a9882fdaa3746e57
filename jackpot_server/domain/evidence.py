"""What a batch leaves as evidence (PR-21): its rows in one canonical text, their digest, a mark each. Pure.

A row is its columns' texts, each followed by U+001F. NULL is U+001A; within a text U+001A is doubled and
U+001F written as U+001A, 'u'. Numbers are decimal, truths `true` and `false`, UUIDs and bytes lower-case
hexadecimal, times ISO 8601 in UTC, arrays `{1,2}`. A table's rows stand in ascending order of their bytes,
behind its name and their number, each followed by U+001F; tables in the order of TABLES, those without a row
left out. The digest is SHA-256 of all of it as UTF-8.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID
from zlib import crc32

from jackpot_server.domain.pool import PoolState

SEPARATOR: Final = "\x1f"
NULL: Final = "\x1a"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Audited:
    """A table whose rows are evidence, with the columns in the order of their row's text.

    `number` stands for it among the marks and is never given to another. A row belongs to the batch that
    `batch_column` names, and its `time_column` ("": it has none) is that batch's time.
    """

    number: int
    name: str
    columns: tuple[str, ...]
    time_column: str
    batch_column: str = "batch_id"


def _audited(
    number: int, name: str, columns: str, time_column: str, batch_column: str = "batch_id"
) -> Audited:
    return Audited(number, name, tuple(columns.split()), time_column, batch_column)


# Only what never changes; how a pool stands is in POOL_STATES.
POOLS: Final = _audited(1, "pools", "pool_key pool_id currency_code", "", "create_batch_id")
POOL_CONFIGS: Final = _audited(
    2, "pool_configs", "pool_key version config config_sha256 actor reason", "create_time"
)
SEED_COMMITMENTS: Final = _audited(3, "seed_commitments", "pool_key cycle key_id commitment", "commit_time")
CONTRIBUTIONS: Final = _audited(
    4,
    "contributions",
    "spin_id user_id wallet_id provider_round_id client_seed wager_minor operator_id currency_code"
    " game_category game_id provider_name stake_kind country_code triggered_tiers occur_time shares",
    "record_time",
)
ENTRIES: Final = _audited(
    5, "entries", "entry_number account kind pool_key operator_id currency_code amount_micros", ""
)
WINS: Final = _audited(
    6,
    "wins",
    "pool_key spin_id cycle config_version tier operator_id user_id wallet_id game_id currency_code"
    " amount_minor shadow draw_value draw_threshold reached hidden cycle_start_micros cycle_start_time"
    " cycle_deadline",
    "decide_time",
)
WIN_EVENTS: Final = _audited(
    7,
    "win_events",
    "operator_id sequence pool_key spin_id kind state hold_reason review_required spin_voided"
    " wallet_entry_id pay_time",
    "event_time",
)
ACKNOWLEDGEMENTS: Final = _audited(
    8,
    "acknowledgements",
    "acknowledgement_number pool_key spin_id outcome wallet_entry_id credited_minor currency_code credit_time"
    " failure_reason event_sequence took_effect",
    "acknowledge_time",
)
UNWON_CYCLES: Final = _audited(
    9,
    "unwon_cycles",
    "pool_key cycle config_version cycle_start_micros cycle_start_time cycle_deadline actor reason",
    "end_time",
)
VOIDS: Final = _audited(10, "voids", "spin_id operator_id credited_pools reason", "void_time")
ADMIN_EVENTS: Final = _audited(
    20,
    "admin_events",
    "request_id action resource fields actor approver reason before after pending standing",
    "event_time",
)
# The states of pools, as `state_numbers` writes them: no table, but kept in the batch itself.
POOL_STATES: Final = _audited(
    100,
    "pool_states",
    "pool_key state config_version cycle_config_version cycle cycle_start_micros cycle_start_us"
    " current_micros reserve_micros overflow_micros version update_us last_win_minor last_win_us"
    " cycle_deadline_us contribution_count",
    "",
)
TABLES: Final = (
    POOLS,
    POOL_CONFIGS,
    SEED_COMMITMENTS,
    CONTRIBUTIONS,
    ENTRIES,
    WINS,
    WIN_EVENTS,
    ACKNOWLEDGEMENTS,
    UNWON_CYCLES,
    VOIDS,
    ADMIN_EVENTS,
    POOL_STATES,
)


class AuditHead(NamedTuple):
    """A record's place in the audit trail: its chain, its number in it, its hash."""

    chain: int
    sequence: int
    sha256: bytes


@dataclass(slots=True, unsafe_hash=True)
class Recording:
    """The record of a batch; None until it is written, and of batches from before the trail."""

    head: AuditHead | None = None


class Seal(NamedTuple):
    """What the record keeps of the batch's rows.

    `marks`: per table its number (1 byte), how many rows (4 bytes), and the CRC-32 of each row in their order
    (4 bytes each), all big-endian. They tell which row differs; whether one does, the digest tells.
    """

    digest: bytes
    marks: bytes


class Evidence:
    """Collects the rows of one batch, in any order."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[int, list[bytes]] = {}

    def add(self, table: Audited, rows: Iterable[Sequence[object]]) -> None:
        """Rows as they are stored: the values of `table.columns`."""
        self.add_texts(table, [row_text(row) for row in rows])

    def add_texts(self, table: Audited, texts: Iterable[bytes]) -> None:
        """Rows whose canonical texts are made already."""
        self._rows.setdefault(table.number, []).extend(texts)

    def seal(self) -> Seal:
        """Digest and marks of everything that was added."""
        parts: list[bytes] = []
        marks: list[bytes] = []
        for table in TABLES:
            rows = self._rows.get(table.number)
            if rows:
                rows.sort()
                parts.append(f"{table.name}{SEPARATOR}{len(rows)}{SEPARATOR}".encode())
                parts += rows
                marks.append(struct.pack(f">BI{len(rows)}I", table.number, len(rows), *map(crc32, rows)))
        return Seal(hashlib.sha256(b"".join(parts)).digest(), b"".join(marks))


def row_text(row: Sequence[object]) -> bytes:
    """The canonical text of a row."""
    return "".join([value_text(value) + SEPARATOR for value in row]).encode()


def value_text(value: object) -> str:
    """The canonical text of a value, without its U+001F."""
    match value:
        case None:
            return NULL
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case str():
            return escaped(value)
        case UUID():
            return str(value)
        case bytes():
            return value.hex()
        case datetime():
            return value.astimezone(UTC).isoformat()
        case list() | tuple():
            return "{" + ",".join(map(value_text, value)) + "}"
    raise TypeError(f"{type(value).__name__} has no canonical text")


def escaped(text: str) -> str:
    """A text in which no U+001F is left, and no lone U+001A."""
    return text.replace(NULL, NULL + NULL).replace(SEPARATOR, NULL + "u")


def state_numbers(pool: PoolState) -> list[int]:
    """A pool's state as the numbers of POOL_STATES; a field that is added later comes last."""
    return [
        pool.pool_key,
        pool.state,
        pool.config_version,
        pool.cycle_config_version,
        pool.cycle,
        pool.cycle_start_micros,
        micros_since_epoch(pool.cycle_start_time),
        pool.current_micros,
        pool.reserve_micros,
        pool.overflow_micros,
        pool.version,
        micros_since_epoch(pool.update_time),
        -1 if pool.last_win_minor is None else pool.last_win_minor,
        -1 if pool.last_win_time is None else micros_since_epoch(pool.last_win_time),
        -1 if pool.cycle_deadline is None else micros_since_epoch(pool.cycle_deadline),
        pool.contribution_count,
    ]


def micros_since_epoch(moment: datetime) -> int:
    """Microseconds since 1970: how the trail writes times as numbers."""
    return (moment - _EPOCH) // _MICROSECOND
