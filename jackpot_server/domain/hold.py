"""Wins that people hold, release or reject (PR-17): each change decided from the locked win. Pure."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from jackpot_server.domain.admin_commands import ApproveWin, HoldWin, RejectWin, WinChange
from jackpot_server.domain.change import Change, Subject
from jackpot_server.domain.commands import Acknowledge, Outcome
from jackpot_server.domain.errors import Reason, Refused
from jackpot_server.domain.facts import Account, EntryKind, EventKind, HoldReason, Win, WinState
from jackpot_server.domain.pool import Lifecycle
from jackpot_server.domain.terms import ceiling_micros
from service_kit.money import MAX_ACCOUNT_MICROS, MICROS


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


def change_win(
    what: WinChange,
    pool: Subject,
    win: Win,
    said: Collection[Acknowledge],
    now: datetime,
) -> Change | Refused:
    """`said`: all acknowledgements of the win. What was rejected goes back to its pool."""
    changed: ChangedWin | Refused
    match what:
        case HoldWin():
            changed = hold(win)
        case ApproveWin():
            changed = release(win)
        case RejectWin():
            changed = reject(win, said)
    if isinstance(changed, Refused):
        return changed
    change = Change(
        needs_two=not isinstance(what, HoldWin), before=_shown_win(win), after=_shown_win(changed.win)
    )
    if changed.event is not None:
        change.told = changed.event, changed.win
    if isinstance(what, RejectWin):
        _return_to_pool(change, pool, win, now)
    return change


def _return_to_pool(change: Change, pool: Subject, win: Win, now: datetime) -> None:
    """Into the current amount, beyond the ceiling into the overflow, beyond its limit into the reserve; what
    a closed pool would get, or no account can hold, is the house's.
    """
    state, config = pool.state, pool.configured.of_cycle
    micros = win.amount_minor * MICROS
    rooms = (
        ceiling_micros(config) - state.current_micros,
        (config.overflow_limit_minor * MICROS or MAX_ACCOUNT_MICROS) - state.overflow_micros,
        MAX_ACCOUNT_MICROS - state.reserve_micros,
    )
    parts = []
    for room in rooms:
        part = 0 if state.state is Lifecycle.CLOSED else min(micros, max(room, 0))
        parts.append(part)
        micros -= part
    current, overflow, reserve = parts
    ledger, currency = change.ledger, win.currency_code
    ledger.operator(
        Account.WINS_PAYABLE, EntryKind.REJECTION, win.operator_id, currency, -win.amount_minor * MICROS
    )
    for account, part in zip((Account.CURRENT, Account.OVERFLOW, Account.RESERVE), parts, strict=True):
        ledger.pool(account, EntryKind.REJECTION, state.pool_key, currency, part)
    ledger.house(EntryKind.REJECTION, currency, micros)
    if any(parts):
        change.pools.append(
            replace(
                state,
                current_micros=state.current_micros + current,
                overflow_micros=state.overflow_micros + overflow,
                reserve_micros=state.reserve_micros + reserve,
                version=state.version + 1,
                update_time=now,
            )
        )


def _shown_win(win: Win) -> dict[str, Any]:
    return {
        "state": win.state.name,
        "hold_reason": win.hold_reason.name,
        "amount_minor": win.amount_minor,
        "operator_id": win.operator_id,
    }
