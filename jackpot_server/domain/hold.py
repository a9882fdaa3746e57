"""Wins that people hold, release or reject (PR-17): each change decided from the win as it is. Pure."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from jackpot_server.domain.commands import Acknowledge, Outcome
from jackpot_server.domain.errors import Reason, Refused
from jackpot_server.domain.facts import EventKind, HoldReason, Win, WinState


@dataclass(frozen=True, slots=True)
class _NamesWin:
    """The win `pools/{pool_id}/wins/{spin_id}`."""

    pool_id: str
    spin_id: UUID

    @property
    def resource(self) -> str:
        """The win's name."""
        return f"pools/{self.pool_id}/wins/{self.spin_id}"

    @property
    def fields(self) -> dict[str, Any]:
        """Of the request, as a repeat compares them."""
        return {"name": self.resource}


class HoldWin(_NamesWin):
    """It is not to be credited for now."""


class ApproveWin(_NamesWin):
    """A held one is to be credited."""


class RejectWin(_NamesWin):
    """A held one is never to be credited; its money goes back to the pool."""


@dataclass(frozen=True, slots=True)
class ChangedWin:
    """The win after the change and what is told of it; None: nothing changes."""

    win: Win
    event: EventKind | None


def hold(win: Win) -> ChangedWin | Refused:
    """One that is held already stays as it is."""
    match win.state:
        case WinState.PAYABLE:
            held = replace(win, state=WinState.HELD, hold_reason=HoldReason.OPERATOR)
            return ChangedWin(held, EventKind.HELD)
        case WinState.HELD:
            return ChangedWin(win, None)
        case WinState.PAID:
            return Refused(Reason.WIN_ALREADY_PAID, "The win has been paid.")
        case WinState.REJECTED:
            return Refused(Reason.WIN_NOT_PAYABLE, "The win was rejected.")
        case WinState.SHADOW:
            return Refused(Reason.WIN_NOT_PAYABLE, "The win is of a shadow pool, which pays nobody.")


def release(win: Win) -> ChangedWin | Refused:
    """The wallet learns of it with the next events, and whether the void of its spin is known."""
    if win.state is not WinState.HELD:
        return _not_held(win)
    payable = replace(win, state=WinState.PAYABLE, hold_reason=HoldReason.NONE)
    return ChangedWin(payable, EventKind.RELEASED)


def reject(win: Win, said: Collection[Acknowledge]) -> ChangedWin | Refused:
    """`said`: all acknowledgements of the win.

    What an operator holds may have been credited before the wallet heard of it, so the wallet's word comes
    first. Of every other hold the wallet knows: it never heard that it may credit, or said that it could not,
    or its void said that it had not.
    """
    if win.state is not WinState.HELD:
        return _not_held(win)
    if win.hold_reason is HoldReason.OPERATOR and not any(
        each.outcome is Outcome.HOLD_CONFIRMED and each.event_sequence == win.event_sequence for each in said
    ):
        return Refused(
            Reason.WIN_HOLD_UNCONFIRMED, "The wallet has not confirmed yet that it will not credit."
        )
    return ChangedWin(replace(win, state=WinState.REJECTED), EventKind.REJECTED)


def _not_held(win: Win) -> Refused:
    return Refused(Reason.WIN_NOT_HELD, f"The win is {win.state.name}, not HELD.")
