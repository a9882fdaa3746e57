"""Wins that wait to be paid or decided about: counted, with an alarm when one waits too long (PR-19)."""

from typing import Final

from jackpot_server.domain.facts import WinState
from jackpot_server.metrics import HELD_WINS, OLDEST_HELD, OLDEST_PAYABLE, PAYABLE_WINS
from jackpot_server.reads import ReadConnections
from jackpot_server.ticking import Ticking
from service_kit.telemetry import get_log

log = get_log("wins")

PERIOD_S: Final = 15.0
PAYABLE_LIMIT_S: Final = 60.0
HELD_LIMIT_S: Final = 86_400.0

COUNT_OPEN_WINS: Final = """
SELECT state, count(*), extract(epoch FROM clock_timestamp() - min(since))::float8
  FROM open_wins GROUP BY state
"""
_STATES: Final = (
    (WinState.PAYABLE, PAYABLE_WINS, OLDEST_PAYABLE, PAYABLE_LIMIT_S),
    (WinState.HELD, HELD_WINS, OLDEST_HELD, HELD_LIMIT_S),
)


class OpenWins:
    """Looks every PERIOD_S, from `start` to `close`."""

    def __init__(self, connections: ReadConnections) -> None:
        self._fetch = connections.fetch
        self._ticking = Ticking(
            "open wins", PERIOD_S, tick=self.look, needed=lambda: True, failed=lambda error: None
        )

    def start(self) -> None:
        """Looks at once, then again and again."""
        self._ticking.wake()

    async def close(self) -> None:
        """Ends looking."""
        await self._ticking.close()

    async def look(self) -> None:
        """Sets the gauges, and says in the log which limit is passed."""
        found = {state: (count, age_s) for state, count, age_s in await self._fetch(COUNT_OPEN_WINS)}
        for state, wins, oldest, limit_s in _STATES:
            count, age_s = found.get(state, (0, 0.0))
            wins.set(count)
            oldest.set(max(0.0, age_s))
            if age_s > limit_s:
                log.error("wins_wait_too_long", state=state.name, wins=count, oldest_s=round(age_s))
