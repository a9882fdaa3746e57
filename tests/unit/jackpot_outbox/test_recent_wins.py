"""An event that only repeats what is booked has nothing to book but its number."""

from dataclasses import replace
from uuid import UUID

from jackpot_outbox.recent_wins import REMEMBERED, RecentWins
from jackpot_outbox.rows import WinNotice, WinPage, WinState

WIN = WinNotice(
    "pools/mini/wins/1",
    UUID(int=1),
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
PAGE = WinPage("demo", (WIN,), 5)


def test_an_unknown_win_is_news() -> None:
    assert RecentWins().news(PAGE) == PAGE


def test_an_event_that_was_booked_is_none_but_its_page_still_moves_the_cursor() -> None:
    recent = RecentWins()
    recent.remember([WIN])
    assert recent.news(PAGE) == WinPage("demo", (), 5)


def test_a_newer_event_of_a_booked_win_is_news_and_an_older_one_is_not() -> None:
    recent = RecentWins()
    recent.remember([WIN])
    newer = WinPage("demo", (replace(WIN, event_sequence=6), replace(WIN, event_sequence=4)), 6)
    assert recent.news(newer) == WinPage("demo", (replace(WIN, event_sequence=6),), 6)


def test_an_older_event_that_is_booked_later_forgets_nothing() -> None:
    recent = RecentWins()
    recent.remember([WIN])
    recent.remember([replace(WIN, event_sequence=4)])
    assert recent.news(PAGE).wins == ()


def test_only_so_many_wins_are_remembered_the_oldest_go_first() -> None:
    recent = RecentWins()
    recent.remember([WIN])
    recent.remember(replace(WIN, win=f"pools/mini/wins/{number}") for number in range(2, REMEMBERED + 2))
    assert recent.news(PAGE) == PAGE
    assert recent.news(WinPage("demo", (replace(WIN, win="pools/mini/wins/2"),), 5)).wins == ()
