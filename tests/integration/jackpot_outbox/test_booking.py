"""What one transaction makes of answers and win events, whatever their order and however often they come."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import asyncpg
import pytest

from jackpot_outbox import store
from jackpot_outbox.booking import book
from jackpot_outbox.rows import (
    AcknowledgementRow,
    Answer,
    Booked,
    Booking,
    ContributionRow,
    Credit,
    Credited,
    Impossible,
    Outcome,
    WinNotice,
    WinPage,
    WinState,
)
from service_kit.database import connect
from tests.integration.jackpot_outbox.wallet_double import Look, contribution

CREDIT_TIME = datetime(2026, 1, 1, tzinfo=UTC)
SHARES = '[{"pool": "pools/mini", "tier": "MINI", "amount_micros": 1500}]'


def win_of(row: ContributionRow, sequence: int = 1, **fields: object) -> WinNotice:
    notice = WinNotice(
        f"pools/mini/wins/{row.spin_id}",
        row.spin_id,
        row.operator_id,
        row.user_id,
        row.wallet_id,
        "pools/mini",
        "MINI",
        row.currency_code,
        4_200,
        WinState.PAYABLE,
        False,
        sequence,
    )
    return replace(notice, **fields)  # type: ignore[arg-type]


def page_of(*wins: WinNotice, last_sequence: int | None = None) -> Booking:
    last = wins[-1].event_sequence if last_sequence is None else last_sequence
    return Booking(pages=(WinPage(wins[0].operator_id, wins, last),))


def answer_of(row: ContributionRow, *wins: WinNotice) -> Booking:
    return Booking((Answer(row, 1, SHARES, CREDIT_TIME, 3, 7, b"head", wins),))


class Wallet:
    """A credit function that notes what it credited."""

    def __init__(self) -> None:
        self.credited: list[str] = []
        self.refuses = False

    async def __call__(
        self, connection: asyncpg.Connection, wins: Sequence[WinNotice], /
    ) -> list[Credited | Impossible]:
        assert wins
        if self.refuses:
            return [Impossible("x" * 300)] * len(wins)
        self.credited += [win.win for win in wins]
        return [Credited(f"entry of {win.win}", CREDIT_TIME) for win in wins]


@pytest.fixture
def wallet() -> Wallet:
    return Wallet()


async def inserted(look: Look, count: int = 1, **fields: object) -> list[ContributionRow]:
    rows = [contribution(**fields) for _ in range(count)]
    await store.insert_contributions(look.connection, rows)
    return rows


async def booked(look: Look, credit: Credit | None, *bookings: Booking, must_write: bool = False) -> Booked:
    async with look.connection.transaction():
        return await book(look.connection, bookings, credit=credit, must_write=must_write)


async def queued(look: Look) -> list[AcknowledgementRow]:
    """The acknowledgements that wait in the outbox."""
    await look.connection.execute("UPDATE jackpot_outbox SET due_time = now()")
    rows = (await store.take_due(look.connection, 100, 1)).rows
    return [row for row in rows if isinstance(row, AcknowledgementRow)]


async def test_an_answer_ends_its_row_and_is_kept(look: Look, wallet: Wallet) -> None:
    (row,) = await inserted(look)
    assert await booked(look, wallet, answer_of(row)) == Booked(ended_spins=(row.spin_id,))
    assert await look.is_empty()
    result = await look.connection.fetchrow("SELECT * FROM jackpot_results")
    assert result is not None
    assert (result["spin_id"], result["operator_id"], result["state"]) == (row.spin_id, "demo", 1)
    assert json.loads(result["shares"]) == json.loads(SHARES)
    assert (result["audit_chain"], result["audit_sequence"], result["audit_sha256"]) == (3, 7, b"head")


async def test_the_answer_of_a_row_that_is_gone_books_nothing_twice(look: Look, wallet: Wallet) -> None:
    (row,) = await inserted(look)
    answer = answer_of(row, win_of(row))
    await booked(look, wallet, answer)
    assert await booked(look, wallet, answer, answer) == Booked()
    assert len(wallet.credited) == 1
    assert await look.results() == {row.spin_id}
    assert len(await queued(look)) == 1


async def test_a_win_is_credited_with_its_answer_and_acknowledged(look: Look, wallet: Wallet) -> None:
    (row,) = await inserted(look)
    win = win_of(row, sequence=5)
    done = await booked(look, wallet, answer_of(row, win))
    expected = AcknowledgementRow(
        row.spin_id,
        win.win,
        5,
        "demo",
        Outcome.CREDITED,
        f"entry of {win.win}",
        "COIN",
        4_200,
        CREDIT_TIME,
    )
    assert done.acknowledgements == (expected,)
    stored = (await look.wins())[win.win]
    assert (stored["wallet_entry_id"], stored["acted_sequence"]) == (f"entry of {win.win}", 5)
    assert await queued(look) == [expected]


async def test_a_win_told_by_answer_and_by_event_is_credited_once_in_either_order(
    look: Look, wallet: Wallet
) -> None:
    first, second = await inserted(look, 2)
    await booked(look, wallet, page_of(win_of(first)))
    await booked(look, wallet, answer_of(first, win_of(first)))
    await booked(look, wallet, answer_of(second, win_of(second)), page_of(win_of(second)))
    assert sorted(wallet.credited) == sorted([win_of(first).win, win_of(second).win])


async def test_an_older_event_never_moves_a_win_back(look: Look, wallet: Wallet) -> None:
    (row,) = await inserted(look)
    await booked(look, wallet, page_of(win_of(row, 4, state=WinState.REJECTED, spin_voided=True)))
    await booked(look, wallet, page_of(win_of(row, 3), last_sequence=3))
    stored = (await look.wins())[win_of(row).win]
    assert (stored["state"], stored["spin_voided"], stored["event_sequence"]) == (WinState.REJECTED, True, 4)
    assert wallet.credited == []
    assert await look.cursor() == 4


async def test_only_the_newest_of_several_notices_in_one_booking_counts(look: Look, wallet: Wallet) -> None:
    (row,) = await inserted(look)
    held = win_of(row, 2, state=WinState.HELD)
    await booked(look, wallet, answer_of(row, win_of(row, 1)), page_of(win_of(row, 1), held))
    assert wallet.credited == []
    assert [act.outcome for act in await queued(look)] == [Outcome.HOLD_CONFIRMED]


async def test_a_win_of_another_wallets_spin_is_skipped_and_passed(look: Look, wallet: Wallet) -> None:
    (row,) = await inserted(look)
    foreign = win_of(contribution(), 1)
    done = await booked(look, wallet, page_of(foreign, win_of(row, 2)))
    assert done.foreign_wins == 1
    assert wallet.credited == [win_of(row).win]
    assert set(await look.wins()) == {win_of(row).win}
    assert await look.cursor() == 2


async def test_a_win_whose_contribution_was_answered_long_ago_is_still_this_wallets(
    look: Look, wallet: Wallet
) -> None:
    (row,) = await inserted(look)
    await booked(look, wallet, answer_of(row))
    await booked(look, wallet, page_of(win_of(row, 9)))
    assert wallet.credited == [win_of(row).win]


async def test_a_win_that_cannot_be_credited_is_failed_until_a_newer_event_says_otherwise(
    look: Look, wallet: Wallet
) -> None:
    (row,) = await inserted(look)
    wallet.refuses = True
    (failed,) = (await booked(look, wallet, answer_of(row, win_of(row, 1)))).acknowledgements
    assert (failed.outcome, failed.event_sequence) == (Outcome.FAILED, 1)
    assert len(failed.failure_reason) == 256
    assert (await look.wins())[win_of(row).win]["failure_reason"] == failed.failure_reason

    wallet.refuses = False
    assert (await booked(look, wallet, page_of(win_of(row, 1)))).acknowledgements == ()
    (confirmed,) = (await booked(look, wallet, page_of(win_of(row, 2, state=WinState.HELD)))).acknowledgements
    assert (confirmed.outcome, confirmed.event_sequence) == (Outcome.HOLD_CONFIRMED, 2)
    (credited,) = (await booked(look, wallet, page_of(win_of(row, 3)))).acknowledgements
    assert (credited.outcome, credited.event_sequence) == (Outcome.CREDITED, 3)
    assert wallet.credited == [win_of(row).win]
    stored = (await look.wins())[win_of(row).win]
    assert (stored["failure_reason"], stored["acted_sequence"]) == ("", 3)


async def test_a_credited_win_that_is_held_or_paid_afterwards_is_left_alone(
    look: Look, wallet: Wallet
) -> None:
    (row,) = await inserted(look)
    await booked(look, wallet, answer_of(row, win_of(row, 1)))
    for sequence, state in ((2, WinState.HELD), (3, WinState.PAYABLE), (4, WinState.PAID)):
        done = await booked(look, wallet, page_of(win_of(row, sequence, state=state)))
        assert done.acknowledgements == ()
    assert len(wallet.credited) == 1


async def test_without_a_credit_function_wins_are_stored_for_the_databases_own_wallet(look: Look) -> None:
    (row,) = await inserted(look)
    assert (await booked(look, None, answer_of(row, win_of(row)))).acknowledgements == ()
    stored = (await look.wins())[win_of(row).win]
    assert (stored["state"], stored["wallet_entry_id"], stored["acted_sequence"]) == (1, None, 0)
    assert await queued(look) == []


async def test_what_the_wallet_did_survives_every_later_event(look: Look) -> None:
    (row,) = await inserted(look)
    await booked(look, None, answer_of(row, win_of(row)))
    await look.connection.execute("UPDATE jackpot_wins SET wallet_entry_id = 'mine', acted_sequence = 1")
    await booked(look, None, page_of(win_of(row, 2, state=WinState.PAID)))
    stored = (await look.wins())[win_of(row).win]
    assert (stored["state"], stored["wallet_entry_id"], stored["acted_sequence"]) == (3, "mine", 1)


async def test_a_cursor_never_goes_back_and_operators_do_not_mix(look: Look, wallet: Wallet) -> None:
    one, two = contribution(operator_id="one"), contribution(operator_id="two")
    await store.insert_contributions(look.connection, [one, two])
    await booked(look, wallet, page_of(win_of(one, 8)), page_of(win_of(two, 3)), page_of(win_of(one, 5)))
    assert (await look.cursor("one"), await look.cursor("two")) == (8, 3)
    await booked(look, wallet, page_of(win_of(one, 2)))
    assert await look.cursor("one") == 8


async def test_an_answered_acknowledgement_ends_and_brings_the_wins_state(look: Look, wallet: Wallet) -> None:
    (row,) = await inserted(look)
    (act,) = (await booked(look, wallet, answer_of(row, win_of(row, 1)))).acknowledgements
    paid = win_of(row, 2, state=WinState.PAID)
    assert (await booked(look, wallet, Booking((Answer(act, wins=(paid,)),)))).ended_spins == ()
    assert await look.is_empty()
    assert (await look.wins())[paid.win]["state"] == WinState.PAID
    assert len(await look.results()) == 1


async def test_a_rolled_back_booking_leaves_nothing(look: Look, wallet: Wallet) -> None:
    (row,) = await inserted(look)
    transaction = look.connection.transaction()
    await transaction.start()
    await book(look.connection, [answer_of(row, win_of(row))], credit=wallet)
    await transaction.rollback()
    assert await look.open_spins() == {row.spin_id}
    assert await look.wins() == {}
    assert await look.results() == set()


async def test_a_booking_that_must_write_writes_even_if_all_is_known(look: Look, wallet: Wallet) -> None:
    (row,) = await inserted(look)
    await booked(look, wallet, answer_of(row))
    for must_write in (False, True):
        async with look.connection.transaction():
            await book(look.connection, [answer_of(row)], credit=wallet, must_write=must_write)
            wrote = await look.connection.fetchval("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
        # Without must_write nothing is to be done, and nothing is.
        assert wrote is must_write
    assert await look.cursor() == 0


async def test_a_booking_of_any_size_takes_four_statements_and_the_credit(look: Look, wallet: Wallet) -> None:
    first, *rows = await inserted(look, 51)
    bookings = [answer_of(row, win_of(row, number)) for number, row in enumerate(rows, start=2)]
    bookings.append(page_of(win_of(rows[0], 2), last_sequence=50))
    # A new connection asks for the types' codecs once.
    await booked(look, wallet, answer_of(first, win_of(first, 1)), page_of(win_of(first, 1)))
    statements: list[str] = []
    look.connection.add_query_logger(lambda logged: statements.append(logged.query))
    done = await booked(look, wallet, *bookings)
    assert len(done.ended_spins) == len(done.acknowledgements) == 50
    of_booking = [text for text in statements if not text.startswith(("BEGIN", "COMMIT"))]
    assert len(of_booking) == len(["wins", "acts", "answers", "cursors"])


async def test_overlapping_bookings_in_opposite_order_do_not_deadlock(look: Look, wallet_dsn: str) -> None:
    others = [await connect(wallet_dsn, application_name="booker") for _ in range(2)]

    async def book_all(connection: asyncpg.Connection, bookings: list[Booking]) -> int:
        async with connection.transaction():
            return len((await book(connection, bookings, credit=None)).ended_spins)

    for _ in range(15):
        rows = await inserted(look, 100)
        bookings = [answer_of(row, win_of(row)) for row in rows]
        ended = await asyncio.gather(
            book_all(others[0], bookings), book_all(others[1], list(reversed(bookings)))
        )
        assert sum(ended) == 100
    await asyncio.gather(*(other.close() for other in others))
