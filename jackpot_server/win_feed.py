"""Waiting for win events: one query for all who wait, so any replica hears of a win decided on another."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final

from jackpot_server.ticking import Ticking
from service_kit.errors import overloaded

PERIOD_S: Final = 0.1
MAX_WAITERS: Final = 10_000


class WinFeed:
    """Tells waiters that an operator's events went beyond the one they know.

    `last_sequences(operator_ids)` reads the number of each operator's last event.
    """

    def __init__(self, last_sequences: Callable[[Collection[str]], Awaitable[Mapping[str, int]]]) -> None:
        self._last_sequences = last_sequences
        self._waiting: dict[str, dict[asyncio.Future[None], int]] = {}
        self._count = 0
        self._closed = False
        self._ticking = Ticking(
            "win feed", PERIOD_S, tick=self._look, needed=lambda: self._count > 0, failed=self._wake_all
        )

    async def wait(self, operator_id: str, after_sequence: int, limit_s: float) -> None:
        """Returns when it is worth looking again, or after `limit_s`. Failure OVERLOADED if too many wait.

        Also when the feed closes, and when the query fails: the caller's own look then says what is wrong.
        """
        if self._closed:
            return
        if self._count >= MAX_WAITERS:
            raise overloaded()
        news = asyncio.get_running_loop().create_future()
        waiters = self._waiting.setdefault(operator_id, {})
        waiters[news] = after_sequence
        self._count += 1
        self._ticking.wake()
        try:
            async with asyncio.timeout(limit_s):
                await news
        except TimeoutError:
            pass
        finally:
            del waiters[news]
            self._count -= 1
            if not waiters:
                self._waiting.pop(operator_id, None)

    @property
    def waiting(self) -> int:
        """Calls that wait now."""
        return self._count

    def release(self) -> None:
        """Lets everybody go who waits; nobody waits from now on."""
        self._closed = True
        self._wake_all()

    async def close(self) -> None:
        """Ends the query."""
        self.release()
        await self._ticking.close()

    async def _look(self) -> None:
        for operator_id, last in (await self._last_sequences(list(self._waiting))).items():
            for news, after_sequence in self._waiting.get(operator_id, {}).items():
                if last > after_sequence and not news.done():
                    news.set_result(None)

    def _wake_all(self, _error: Exception | None = None) -> None:
        for waiters in self._waiting.values():
            for news in waiters:
                if not news.done():
                    news.set_result(None)
