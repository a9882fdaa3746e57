"""What a list is asked for, parsed. Pages are keyset: `after` is the last row of the page before."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class SpinPosition(NamedTuple):
    """Where a page of spins ended; newest first."""

    settle_time: datetime
    spin_id: UUID


@dataclass(frozen=True, slots=True)
class SpinsQuery:
    """Spins of an operator, of one of its users, or of a wallet; an empty text does not limit."""

    operator_id: str
    user_id: str
    wallet_id: str
    game_id: str
    # From `start` on, before `end`.
    start: datetime | None
    end: datetime | None
    page_size: int
    after: SpinPosition | None


@dataclass(frozen=True, slots=True)
class EntriesQuery:
    """A wallet's entries below the number `before`, newest first."""

    wallet_id: str
    page_size: int
    before: int | None


@dataclass(frozen=True, slots=True)
class GamesQuery:
    """Games by id, after `after`."""

    page_size: int
    after: str
