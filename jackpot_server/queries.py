"""What a caller can ask to see, parsed and checked for shape. A page goes on after a position."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from jackpot_server.domain.facts import WinState


class ContributionPosition(NamedTuple):
    """Where a page of contributions ended: they are listed in this order."""

    record_time: datetime
    spin_id: UUID


class WinPosition(NamedTuple):
    """Where a page of wins ended: they are listed in this order, backwards."""

    decide_time: datetime
    spin_id: UUID
    pool_key: int


@dataclass(frozen=True, slots=True)
class ContributionsQuery:
    """One operator's contributions recorded in [start_time, end_time), oldest first."""

    operator_id: str
    start_time: datetime | None
    end_time: datetime | None
    page_size: int
    after: ContributionPosition | None


@dataclass(frozen=True, slots=True)
class WinsQuery:
    """Wins decided in [start_time, end_time), newest first. Empty ids: all; no state: any."""

    operator_id: str
    pool_id: str
    state: WinState | None
    start_time: datetime | None
    end_time: datetime | None
    page_size: int
    after: WinPosition | None


@dataclass(frozen=True, slots=True)
class AdminEventsQuery:
    """Changes by people in [start_time, end_time), newest first, before an event. No resource: all."""

    resource: str
    start_time: datetime | None
    end_time: datetime | None
    page_size: int
    before: int | None


@dataclass(frozen=True, slots=True)
class PoolsQuery:
    """Pools in order of their ids, those that take the operator's spins and have the currency. Empty: all."""

    operator_id: str
    currency_code: str
    page_size: int
    after: str


@dataclass(frozen=True, slots=True)
class EventsQuery:
    """An operator's win events after `after_sequence`; waits up to `wait_s` for one where there is none."""

    operator_id: str
    after_sequence: int
    page_size: int
    wait_s: float


@dataclass(frozen=True, slots=True)
class WatchQuery:
    """The pools to watch: those named; if none is, those that take the operator's spins (empty: all)."""

    pool_ids: tuple[str, ...]
    operator_id: str


class PublicWin(NamedTuple):
    """What everybody may see of a win."""

    pool_id: str
    tier: str
    cycle: int
    currency_code: str
    amount_minor: int
    decide_time: datetime


@dataclass(frozen=True, slots=True)
class OperatorQuery:
    """What was recorded and won in [start_time, end_time). No operator: all."""

    operator_id: str
    start_time: datetime
    end_time: datetime


@dataclass(frozen=True, slots=True)
class HoursQuery:
    """One operator's totals by hour in [start_time, end_time)."""

    operator_id: str
    start_time: datetime
    end_time: datetime
