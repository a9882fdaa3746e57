"""What happened, told once a second, and not at all while nothing happens."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

PERIOD_S = 1.0


class Seconds:
    """Adds up counts and hands each second's sums to `tell`. Owned by one event loop."""

    def __init__(self, tell: Callable[[Mapping[str, int]], None]) -> None:
        self._tell = tell
        self._sums: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, **counts: int) -> None:
        """Something happened: its second ends PERIOD_S after the first call that no `tell` has had yet."""
        sums = self._sums
        for name, count in counts.items():
            sums[name] += count
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PERIOD_S, self.close)

    def close(self) -> None:
        """Tells what is still untold."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            sums, self._sums = self._sums, Counter()
            self._tell(sums)
