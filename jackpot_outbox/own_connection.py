"""The outbox's own connection: short transactions, one at a time, and the call that wakes the relay."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from jackpot_outbox.store import CHANNEL

T = TypeVar("T")

_CLOSE_TIMEOUT_S = 2.0


class OwnConnection:
    """Opened at the first use and again after every error; listens for rows that are due at once."""

    def __init__(
        self, connect: Callable[[], Awaitable[asyncpg.Connection]], on_notify: Callable[[], None]
    ) -> None:
        self._connect = connect
        self._on_notify = on_notify
        self._lock = asyncio.Lock()
        self._connection: asyncpg.Connection | None = None

    async def run(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """`work`'s result, or what it or connecting raised; the next one then starts on a new connection."""
        async with self._lock:
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await self._connect()
                    await self._connection.add_listener(CHANNEL, self._notified)
                return await work(self._connection)
            except BaseException:
                self._drop()
                raise

    async def close(self) -> None:
        """Waits for the work at hand, then closes."""
        async with self._lock:
            if self._connection is not None and not self._connection.is_closed():
                await self._connection.close(timeout=_CLOSE_TIMEOUT_S)
            self._connection = None

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _notified(self, *_: object) -> None:
        self._on_notify()
