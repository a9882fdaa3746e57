"""What the engine refuses, and why. A refusal is a value: it touches its own command and no other."""

from dataclasses import dataclass
from enum import Enum


class Reason(Enum):
    """`jackpot.v1.ErrorReason` without the prefix."""

    SPIN_ID_REUSED = "SPIN_ID_REUSED"
    WIN_NOT_FOUND = "WIN_NOT_FOUND"
    WIN_NOT_PAYABLE = "WIN_NOT_PAYABLE"
    WIN_ALREADY_PAID = "WIN_ALREADY_PAID"
    AMOUNT_MISMATCH = "AMOUNT_MISMATCH"


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to a command that was refused. `fields`: the contract's names of those that differ."""

    reason: Reason
    message: str
    fields: tuple[str, ...] = ()
