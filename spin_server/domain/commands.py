"""What a caller asks for, with every field checked. Equal commands are the same request."""

from dataclasses import dataclass, field
from enum import IntEnum
from uuid import UUID


class StakeKind(IntEnum):
    """As in spin.v1.StakeKind; an unspecified one is CASH."""

    CASH = 1
    BONUS = 2
    FREE_ROUND = 3


class SpinMethod(IntEnum):
    """The call that a spin came by."""

    SETTLE = 1
    PLAY = 2
    # None yet: it was voided before it arrived.
    VOIDED_AHEAD = 3


@dataclass(frozen=True, slots=True)
class SpinTerms:
    """What SettleSpin and PlaySpin share. The wallet pays `wager_minor`, whatever the stake kind."""

    spin_id: UUID
    operator_id: str
    user_id: str
    wallet_id: str
    game_id: str
    provider_name: str
    provider_round_id: str
    currency_code: str
    wager_minor: int
    stake_kind: int
    country_code: str
    client_seed: str
    # Comma-separated; a tier has no comma.
    triggered_tiers: str = ""


@dataclass(frozen=True, slots=True)
class Settle:
    """Book a spin whose outcome is known."""

    terms: SpinTerms
    payout_minor: int


@dataclass(frozen=True, slots=True)
class Play:
    """Book a spin whose outcome was drawn when the request was queued, and stays drawn.

    Not part of the request, so a repeat that drew something else is equal. `None`: the game has no pay table.
    """

    terms: SpinTerms
    multiplier_ppm: int | None = field(compare=False)


@dataclass(frozen=True, slots=True)
class Void:
    """Take a spin back, perhaps before it has arrived."""

    spin_id: UUID
    operator_id: str
    wallet_id: str
    reason: str = field(compare=False)


class WalletMethod(IntEnum):
    """The call that a wallet request came by."""

    CREATE = 1
    DEPOSIT = 2
    WITHDRAW = 3


@dataclass(frozen=True, slots=True)
class CreateWallet:
    request_id: UUID
    wallet_id: str
    operator_id: str
    user_id: str
    currency_code: str
    is_test: bool


@dataclass(frozen=True, slots=True)
class MoveMoney:
    """A deposit or a withdrawal of `amount_minor` > 0."""

    request_id: UUID
    method: WalletMethod
    wallet_id: str
    currency_code: str
    amount_minor: int


SpinCommand = Settle | Play
WalletCommand = CreateWallet | MoveMoney
