"""What was booked of wins a moment ago: most events only repeat what an answer has told."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from jackpot_outbox.rows import WinNotice, WinPage

REMEMBERED: Final = 1_000


class RecentWins:
    """The newest event of each win that this process booked, of the last REMEMBERED wins."""

    def __init__(self) -> None:
        self._events: dict[str, int] = {}

    def remember(self, wins: Iterable[WinNotice]) -> None:
        """Of a booking that is durable."""
        for win in wins:
            self._events[win.win] = max(win.event_sequence, self._events.pop(win.win, 0))
        while len(self._events) > REMEMBERED:
            del self._events[next(iter(self._events))]

    def news(self, page: WinPage) -> WinPage:
        """The page without the wins whose event, or a newer one, is booked already."""
        wins = tuple(win for win in page.wins if win.event_sequence > self._events.get(win.win, -1))
        return replace(page, wins=wins)
