"""Which wins are credited, which notices count."""

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackpot_outbox.answer_store import StoredWin
from jackpot_outbox.booking import furthest_pages, is_hold_to_confirm, is_to_credit, newest_wins
from jackpot_outbox.rows import Booking, WinNotice, WinPage, WinState

SPIN = UUID(int=1)
WIN = WinNotice(
    "pools/mini/wins/1",
    SPIN,
    "demo",
    "anna",
    "anna-coins",
    "pools/mini",
    "MINI",
    "COIN",
    100,
    WinState.PAYABLE,
    False,
    5,
)


@pytest.mark.parametrize(
    ("state", "acted_sequence", "entry_id", "expected"),
    [
        (WinState.PAYABLE, 0, None, "credit"),
        (WinState.PAYABLE, 4, None, "credit"),
        (WinState.PAYABLE, 5, None, None),
        (WinState.PAYABLE, 6, None, None),
        (WinState.PAYABLE, 4, "entry", None),
        (WinState.HELD, 4, None, "confirm"),
        (WinState.HELD, 5, None, None),
        (WinState.HELD, 4, "entry", None),
        (WinState.PAID, 0, None, None),
        (WinState.REJECTED, 0, None, None),
    ],
)
def test_a_wallet_acts_once_on_each_event_and_credits_only_what_is_payable(
    state: WinState, acted_sequence: int, entry_id: str | None, expected: str | None
) -> None:
    stored = StoredWin(replace(WIN, state=state), acted_sequence, entry_id, is_spin_voided_here=False)
    assert is_to_credit(stored) is (expected == "credit")
    assert is_hold_to_confirm(stored) is (expected == "confirm")


@pytest.mark.parametrize(("here", "there"), [(True, False), (True, True), (False, False), (False, True)])
def test_v4_a_win_of_a_spin_voided_here_is_credited_only_if_the_void_was_known(
    here: bool, there: bool
) -> None:
    stored = StoredWin(replace(WIN, spin_voided=there), 0, None, is_spin_voided_here=here)
    assert is_to_credit(stored) is (there or not here)
    held = replace(stored, notice=replace(stored.notice, state=WinState.HELD))
    assert is_hold_to_confirm(held), "a hold is confirmed whatever was voided"


@given(
    st.lists(
        st.builds(
            lambda name, sequence: replace(WIN, win=name, event_sequence=sequence),
            st.sampled_from(["a", "b", "c"]),
            st.integers(1, 9),
        )
    )
)
def test_of_each_win_the_newest_notice_counts_and_wins_are_in_order(notices: list[WinNotice]) -> None:
    newest = newest_wins(notices)
    assert [win.win for win in newest] == sorted({win.win for win in notices})
    for win in newest:
        assert win.event_sequence == max(one.event_sequence for one in notices if one.win == win.win)


@given(st.lists(st.builds(WinPage, st.sampled_from(["a", "b"]), st.just(()), st.integers(0, 9))))
def test_of_each_operator_the_furthest_page_counts(pages: list[WinPage]) -> None:
    assert {page.operator_id: page.last_sequence for page in furthest_pages(pages)} == {
        name: max(page.last_sequence for page in pages if page.operator_id == name)
        for name in {page.operator_id for page in pages}
    }


def test_a_booking_names_the_wallets_that_it_may_credit() -> None:
    held = replace(WIN, wallet_id="bert-coins", state=WinState.HELD)
    paid = replace(WIN, wallet_id="carl-coins", state=WinState.PAID)
    page = WinPage("demo", (WIN, held, paid), 5)
    assert Booking(pages=(page,)).wallet_ids == {"anna-coins", "bert-coins"}


def test_bookings_are_equal_only_to_themselves() -> None:
    assert Booking() != Booking()
