"""What a caller can ask of the engine, parsed and checked for shape."""

from collections.abc import Iterator
from datetime import datetime
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID


class GameCategory(IntEnum):
    """Numbers of `jackpot.v1.GameCategory`."""

    SLOTS = 1
    TABLE = 2
    LIVE = 3
    CRASH = 4
    BINGO = 5
    SPORTS = 6
    OTHER = 7


class StakeKind(IntEnum):
    """Numbers of `jackpot.v1.StakeKind`; an unspecified one is CASH."""

    CASH = 1
    BONUS = 2
    FREE_ROUND = 3


class Outcome(IntEnum):
    """Numbers of `jackpot.v1.AcknowledgeWinRequest.Outcome`."""

    CREDITED = 1
    FAILED = 2
    HOLD_CONFIRMED = 3


EligibilityKey: TypeAlias = tuple[str, str, int, str, str, int, str]
"""Operator, currency, game category, game, provider, stake kind, country."""


class Contribute(NamedTuple):
    """One spin's contribution: every field of `RecordContributionRequest`.

    A tuple, because a hundred thousand a second are made, sorted and turned into columns. The fields that
    decide which pools take part stand side by side. Nothing is None but `occur_time`, which is informative
    and not compared on a repeat.
    """

    spin_id: UUID
    user_id: str
    wallet_id: str
    provider_round_id: str
    client_seed: str
    wager_minor: int
    operator_id: str
    currency_code: str
    game_category: int
    game_id: str
    provider_name: str
    stake_kind: int
    country_code: str
    triggered_tiers: tuple[str, ...] = ()
    occur_time: datetime | None = None

    @property
    def eligibility(self) -> EligibilityKey:
        """What decides which pools take part: from `operator_id` to `country_code`."""
        return self[6:13]


# The contract's name of each compared field of `Contribute`, in the tuple's order.
_CONTRACT_FIELDS: Final = tuple(
    {"wager_minor": "wager", "currency_code": "wager"}.get(name, name)
    for name in Contribute._fields
    if name != "occur_time"
)


def differing_fields(first: Contribute, again: Contribute) -> list[str]:
    """The contract's names of the fields in which a repeat differs from the first; empty: it is a repeat."""
    return list(dict.fromkeys(_differences(first, again)))


def _differences(first: Contribute, again: Contribute) -> Iterator[str]:
    for name, one, other in zip(_CONTRACT_FIELDS, first, again, strict=False):
        if one != other:
            yield name


class Acknowledge(NamedTuple):
    """What a wallet says about the win `pools/{pool_id}/wins/{spin_id}`.

    `credited_minor` is None where the request carries no amount; `currency_code` is then empty. A repeat
    compares `outcome`, `wallet_entry_id`, the credited amount and `event_sequence`.
    """

    pool_id: str
    spin_id: UUID
    outcome: Outcome
    wallet_entry_id: str
    credited_minor: int | None
    currency_code: str
    event_sequence: int
    credit_time: datetime | None = None
    failure_reason: str = ""


class Void(NamedTuple):
    """Takes a contribution back because its bet was taken back, perhaps before it has arrived.

    `credited_pools`: ids of the pools whose wins of this spin the wallet had credited when it voided the
    spin, in order. A repeat compares it and `operator_id`, not `reason`.
    """

    spin_id: UUID
    operator_id: str
    credited_pools: tuple[str, ...]
    reason: str
