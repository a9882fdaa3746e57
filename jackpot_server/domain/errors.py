"""What the engine refuses, and why. A refusal is a value: it touches its own command and no other."""

from dataclasses import dataclass
from enum import Enum


class Reason(Enum):
    """`jackpot.v1.ErrorReason` without the prefix."""

    SPIN_ID_REUSED = "SPIN_ID_REUSED"
    WIN_NOT_FOUND = "WIN_NOT_FOUND"
    WIN_NOT_HELD = "WIN_NOT_HELD"
    WIN_HOLD_UNCONFIRMED = "WIN_HOLD_UNCONFIRMED"
    WIN_NOT_PAYABLE = "WIN_NOT_PAYABLE"
    WIN_ALREADY_PAID = "WIN_ALREADY_PAID"
    AMOUNT_MISMATCH = "AMOUNT_MISMATCH"
    INVALID_FIELDS = "INVALID_FIELDS"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    POOL_EXISTS = "POOL_EXISTS"
    POOL_NOT_FOUND = "POOL_NOT_FOUND"
    POOL_CLOSED = "POOL_CLOSED"
    POOL_SHADOW = "POOL_SHADOW"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    WORSE_ODDS = "WORSE_ODDS"


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to a command that was refused. `fields`: the contract's names of those that differ."""

    reason: Reason
    message: str
    fields: tuple[str, ...] = ()
