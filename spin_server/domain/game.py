"""A game, its pay table, and what a drawn ticket pays. Whole numbers only."""

from bisect import bisect_right
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import accumulate

PPM = 1_000_000


class GameCategory(IntEnum):
    """As in spin.v1.GameCategory."""

    SLOTS = 1
    TABLE = 2
    LIVE = 3
    CRASH = 4
    BINGO = 5
    SPORTS = 6
    OTHER = 7


@dataclass(frozen=True, slots=True)
class Prize:
    """Pays `multiplier_ppm` millionths of the wager to `weight` of all tickets."""

    multiplier_ppm: int
    weight: int


@dataclass(frozen=True, slots=True)
class PayTable:
    """Prizes in a fixed order; each holds `weight` consecutive tickets of 0 … `tickets` − 1."""

    prizes: tuple[Prize, ...]
    _ends: tuple[int, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ends", tuple(accumulate(prize.weight for prize in self.prizes)))

    @property
    def tickets(self) -> int:
        """The sum of all weights."""
        return self._ends[-1]

    def prize_of(self, ticket: int) -> Prize:
        """The prize of a ticket drawn uniformly from 0 … `tickets` − 1."""
        return self.prizes[bisect_right(self._ends, ticket)]

    def exact_return(self) -> tuple[int, int]:
        """What the table gives back of a wager in ppm: whole part and remainder (of `tickets`)."""
        return divmod(sum(prize.multiplier_ppm * prize.weight for prize in self.prizes), self.tickets)


@dataclass(frozen=True, slots=True)
class Game:
    """A game as configured. Without a pay table its outcomes come from its provider (SettleSpin only)."""

    game_id: str
    display_name: str
    category: GameCategory
    provider_name: str
    currency_code: str
    min_wager_minor: int
    max_wager_minor: int
    enabled: bool
    pay_table: PayTable | None

    @property
    def return_ppm(self) -> int:
        """The pay table's return, exact (the configuration refuses others); 0 without one."""
        return self.pay_table.exact_return()[0] if self.pay_table else 0


@dataclass(frozen=True, slots=True)
class Catalog:
    """Every game by its id, and the providers whose games may hit jackpot tiers themselves."""

    games: dict[str, Game]
    tier_providers: frozenset[str]


def payout_of(wager_minor: int, multiplier_ppm: int) -> int:
    """What a prize pays; whole, because multipliers are whole wherever the wager can vary."""
    return wager_minor * multiplier_ppm // PPM
