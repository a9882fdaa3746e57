"""Books what the jackpot server said, inside the caller's transaction: wins, credits, answers, cursors.

Statements, whatever their number: wins 1, the credit function's own, acts 1; answers 1; cursors 1. In the
order of locks: (the caller: wallets, spins) → jackpot_wins → outbox → cursor.
"""

from collections.abc import Iterable, Sequence

import asyncpg

from jackpot_outbox import answer_store
from jackpot_outbox.answer_store import StoredWin
from jackpot_outbox.rows import (
    AcknowledgementRow,
    Booked,
    Booking,
    Credit,
    Credited,
    Impossible,
    Outcome,
    WinNotice,
    WinPage,
    WinState,
)
from jackpot_outbox.telemetry import FOREIGN_WINS

# Free text of the contract.
FAILURE_REASON_LIMIT = 256


async def book(
    connection: asyncpg.Connection,
    bookings: Sequence[Booking],
    *,
    credit: Credit | None,
    must_write: bool = False,
) -> Booked:
    """Books all of `bookings` as one set; durable with the caller's commit, harmless to repeat.

    The caller has locked the wallets named by `Booking.wallet_ids`. A win is credited at most once, only
    while PAYABLE, and only by an event that is newer than what the wallet acted on, or its void. With
    `credit` None wins are only stored: the database's own wallet credits them. With `must_write` something
    is written even if everything is booked already. Raises what the database raises.
    """
    answers = list({answer.row.key: answer for booking in bookings for answer in booking.answers}.values())
    answers.sort(key=lambda answer: answer.row.key)
    pages = [page for booking in bookings for page in booking.pages]
    if must_write:
        pages += [WinPage(answer.row.operator_id, (), 0) for answer in answers]
    wins = newest_wins(win for booking in bookings for win in booking.wins)
    stored = await answer_store.record_wins(connection, wins) if wins else []
    # Only of these is the wallet known to be locked.
    to_act_on = {win.win for win in wins if win.is_to_act_on}
    open_wins = [win for win in stored if win.notice.win in to_act_on]
    acts = await _act(connection, open_wins, credit) if credit is not None else []
    if acts:
        await answer_store.record_acts(connection, acts)
    ended_spins = await answer_store.end_rows(connection, answers) if answers else []
    if pages:
        await answer_store.move_cursors(connection, furthest_pages(pages))
    FOREIGN_WINS.inc(len(wins) - len(stored))
    return Booked(tuple(acts), tuple(ended_spins), len(wins) - len(stored))


async def book_plain(bookings: Sequence[Booking], connection: asyncpg.Connection) -> list[Booked]:
    """What `book` does of bookings that are all plain: one statement, which may commit by itself.

    Each result tells of all of them.
    """
    return [await book(connection, bookings, credit=None)] * len(bookings)


async def _act(
    connection: asyncpg.Connection, stored: Sequence[StoredWin], credit: Credit
) -> list[AcknowledgementRow]:
    """Credits what is to be credited; what the wallet did, sorted by key."""
    payable = [win.notice for win in stored if is_to_credit(win)]
    outcomes = await credit(connection, payable) if payable else []
    acts = [acknowledgement(win, outcome) for win, outcome in zip(payable, outcomes, strict=True)]
    acts += [hold_confirmation(win.notice) for win in stored if is_hold_to_confirm(win)]
    return sorted(acts, key=lambda act: act.key)


def newest_wins(wins: Iterable[WinNotice]) -> list[WinNotice]:
    """Of each win the notice with the highest event sequence, sorted by win."""
    newest: dict[str, WinNotice] = {}
    for win in wins:
        known = newest.get(win.win)
        if known is None or win.event_sequence > known.event_sequence:
            newest[win.win] = win
    return [newest[name] for name in sorted(newest)]


def furthest_pages(pages: Iterable[WinPage]) -> list[WinPage]:
    """Of each operator the page that reaches furthest, sorted by operator."""
    furthest: dict[str, WinPage] = {}
    for page in pages:
        known = furthest.get(page.operator_id)
        if known is None or page.last_sequence > known.last_sequence:
            furthest[page.operator_id] = page
    return [furthest[operator_id] for operator_id in sorted(furthest)]


def is_to_credit(win: StoredWin) -> bool:
    """PAYABLE, not credited, and not known already when the wallet last acted.

    Of a spin that this wallet voided, only if the void was known when the win became PAYABLE (V4).
    """
    is_voided = win.is_spin_voided_here and not win.notice.spin_voided
    return win.notice.state == WinState.PAYABLE and _is_open(win) and not is_voided


def is_hold_to_confirm(win: StoredWin) -> bool:
    """HELD and not credited: the wallet confirms that it will not credit without a newer event."""
    return win.notice.state == WinState.HELD and _is_open(win)


def _is_open(win: StoredWin) -> bool:
    return win.wallet_entry_id is None and win.notice.event_sequence > win.acted_sequence


def acknowledgement(win: WinNotice, outcome: Credited | Impossible) -> AcknowledgementRow:
    """What to tell the jackpot server of a credit, or of its failure."""
    if isinstance(outcome, Credited):
        return AcknowledgementRow(
            win.spin_id,
            win.win,
            win.event_sequence,
            win.operator_id,
            Outcome.CREDITED,
            wallet_entry_id=outcome.wallet_entry_id,
            currency_code=win.currency_code,
            credited_minor=win.amount_minor,
            credit_time=outcome.credit_time,
        )
    return AcknowledgementRow(
        win.spin_id,
        win.win,
        win.event_sequence,
        win.operator_id,
        Outcome.FAILED,
        failure_reason=outcome.reason[:FAILURE_REASON_LIMIT],
    )


def hold_confirmation(win: WinNotice) -> AcknowledgementRow:
    """The answer to HELD: not credited, and not going to be without a newer event."""
    return AcknowledgementRow(
        win.spin_id, win.win, win.event_sequence, win.operator_id, Outcome.HOLD_CONFIRMED
    )
