"""What a void does to a win of its spin (V4, V5). Pure.

The wallet's database alone orders void and credit: what it had credited stays paid, the rest is held.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from jackpot_server.domain.facts import EventKind, HoldReason, Win, WinState


@dataclass(frozen=True, slots=True)
class VoidedWin:
    """The win after the void, what is told of it (None: nothing), and whether its money is now the player's.

    `contradicts`: the wallet has credited what was rejected; somebody has to look.
    """

    win: Win
    event: EventKind | None = None
    pays: bool = False
    contradicts: bool = False


def void_win(win: Win, was_credited: bool, now: datetime) -> VoidedWin:
    """`was_credited`: the void says that the wallet had credited the win before it."""
    match win.state:
        case WinState.PAID:
            return VoidedWin(replace(win, spin_voided=True, review_required=True), EventKind.REVIEW_REQUIRED)
        case WinState.REJECTED:
            return VoidedWin(win, contradicts=was_credited)
        case WinState.SHADOW:
            return VoidedWin(win)
        case WinState.PAYABLE | WinState.HELD if was_credited:
            # Which wallet entry it was, the acknowledgement will say.
            paid = replace(win, state=WinState.PAID, review_required=True, spin_voided=True, pay_time=now)
            return VoidedWin(paid, EventKind.PAID, pays=True)
        case WinState.PAYABLE | WinState.HELD:
            held = replace(win, state=WinState.HELD, hold_reason=HoldReason.VOID, spin_voided=True)
            return VoidedWin(held, EventKind.HELD)
