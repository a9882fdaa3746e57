"""What a wallet's word about a win changes (PR-17): CREDITED is a fact, the others count if up to date."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

from jackpot_server.domain.commands import Acknowledge, Outcome
from jackpot_server.domain.errors import Reason, Refused
from jackpot_server.domain.facts import EventKind, HoldReason, Win, WinState


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an acknowledgement comes to.

    `win` is the win after it, `event` what is told of it (None: nothing), `pays` whether its money is now the
    player's, `is_new` whether it is stored, `took_effect` whether it counted, `refused` the answer if it
    contradicts what is known.
    """

    win: Win
    event: EventKind | None = None
    pays: bool = False
    is_new: bool = False
    took_effect: bool = False
    refused: Refused | None = None


def judge(win: Win, earlier: Collection[Acknowledge], command: Acknowledge, now: datetime) -> Verdict:
    """`earlier`: all acknowledgements of the win that are stored, whether they counted or not."""
    is_new = not any(_is_repeat(known, command) for known in earlier)
    match command.outcome:
        case Outcome.CREDITED:
            return _credited(win, earlier, command, is_new, now)
        case Outcome.FAILED:
            counts = win.state is WinState.PAYABLE and command.event_sequence == win.event_sequence
            if not (is_new and counts):
                return Verdict(win, is_new=is_new)
            held = replace(win, state=WinState.HELD, hold_reason=HoldReason.CREDIT_FAILED)
            return Verdict(held, EventKind.HELD, is_new=True, took_effect=True)
        case Outcome.HOLD_CONFIRMED:
            counts = win.state is WinState.HELD and command.event_sequence == win.event_sequence
            return Verdict(win, is_new=is_new, took_effect=is_new and counts)


def _credited(
    win: Win, earlier: Collection[Acknowledge], command: Acknowledge, is_new: bool, now: datetime
) -> Verdict:
    if (command.credited_minor, command.currency_code) != (win.amount_minor, win.currency_code):
        return Verdict(win, refused=Refused(Reason.AMOUNT_MISMATCH, "The credited amount is not the win's."))
    match win.state:
        case WinState.PAYABLE | WinState.HELD:
            paid = replace(
                win,
                state=WinState.PAID,
                review_required=win.review_required or win.state is WinState.HELD,
                wallet_entry_id=command.wallet_entry_id,
                pay_time=now,
            )
            return Verdict(paid, EventKind.PAID, pays=True, is_new=True, took_effect=True)
        case WinState.PAID if not win.wallet_entry_id:
            # The void told of the credit, this tells which entry it was.
            known = replace(win, wallet_entry_id=command.wallet_entry_id)
            return Verdict(known, EventKind.REVIEW_REQUIRED, is_new=True, took_effect=True)
        case WinState.PAID if win.wallet_entry_id == command.wallet_entry_id:
            return Verdict(win, is_new=is_new)
        case WinState.PAID:
            refused = Refused(Reason.WIN_ALREADY_PAID, "The win was paid by another wallet entry.")
            if any(known.wallet_entry_id == command.wallet_entry_id for known in earlier):
                return Verdict(win, is_new=is_new, refused=refused)
            return Verdict(
                replace(win, review_required=True), EventKind.REVIEW_REQUIRED, is_new=True, refused=refused
            )
        case WinState.SHADOW:
            refused = Refused(Reason.WIN_NOT_PAYABLE, "The win is of a shadow pool, which pays nobody.")
            return Verdict(win, is_new=is_new, refused=refused)
        case WinState.REJECTED:
            refused = Refused(Reason.WIN_NOT_PAYABLE, "The win was rejected and must not be credited.")
            return Verdict(win, is_new=is_new, refused=refused)


def _is_repeat(known: Acknowledge, command: Acknowledge) -> bool:
    return (
        known.outcome,
        known.wallet_entry_id,
        known.credited_minor,
        known.currency_code,
        known.event_sequence,
    ) == (
        command.outcome,
        command.wallet_entry_id,
        command.credited_minor,
        command.currency_code,
        command.event_sequence,
    )
