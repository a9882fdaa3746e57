"""One object that keeps an outbox going: dispatch, relay and win feed over one database and one channel."""

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace

import asyncpg

from jackpot_outbox import store, telemetry
from jackpot_outbox.client import JackpotClient
from jackpot_outbox.dispatch import Dispatch
from jackpot_outbox.own_connection import OwnConnection
from jackpot_outbox.recent_wins import RecentWins
from jackpot_outbox.relay import Desk, Relay
from jackpot_outbox.rows import Booking, Row
from jackpot_outbox.settings import OutboxSettings
from jackpot_outbox.wins import WinFeed
from service_kit.database import DATABASE_ERRORS
from service_kit.telemetry import get_log

_log = get_log("outbox")

_COUNT_EVERY_S = 5.0
# For the rows that the relay is just taking.
_RELAY_GRACE_S = 2.0
# Beyond the call in flight: for its answers to be booked.
_BOOKING_GRACE_S = 3.0


class Outbox:
    """Sends what waits in jackpot_outbox, books the answers, follows the wins.

    `connect` opens a connection to the database with the schema (the outbox's own). `book` commits a
    Booking with `jackpot_outbox.booking.book`, in whatever transaction it likes, returns after the commit,
    and offers `Booked.acknowledgements`; when it raises, the rows are sent again later.
    """

    def __init__(
        self,
        settings: OutboxSettings,
        *,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        book: Callable[[Booking], Awaitable[object]],
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._book = book
        self._parts: _Parts | None = None
        self._relay: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Starts the tasks; does not wait for the database or the jackpot server."""
        parts = self._parts = _Parts(self._settings, self._connect, self._book)
        parts.dispatch.start()
        self._relay = _start(parts.relay.run(), "relay")
        self._tasks = [
            self._relay,
            _start(parts.wins.run(), "win feed"),
            _start(self._count_rows(parts.database), "outbox metrics"),
        ]

    @property
    def reachable(self) -> bool:
        """The channel to the jackpot server is up and its last calls were answered."""
        return self._parts is not None and self._parts.client.connected and self._parts.dispatch.is_answered

    def offer(self, rows: Sequence[Row]) -> None:
        """Dispatches rows that were inserted (due in DISPATCH_LEAD_MS) and committed just now.

        Never blocks, never raises; what cannot be held is left to the relay, as is all before `start`.
        """
        if self._parts is not None:
            self._parts.dispatch.offer(rows)

    async def close(self) -> None:
        """Lets the calls in flight end and be booked, then stops. `book` must still work meanwhile."""
        if self._parts is None or self._relay is None:
            return
        parts, self._parts = self._parts, None
        parts.relay.stop()
        await asyncio.wait([self._relay], timeout=_RELAY_GRACE_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await parts.dispatch.close(self._settings.call_timeout_ms / 1000 + _BOOKING_GRACE_S)
        await parts.client.close()
        await parts.database.close()

    async def _count_rows(self, database: OwnConnection) -> None:
        """Shows what waits, and raises the alarm when the oldest row is late."""
        while True:
            try:
                counts = await database.run(store.row_counts)
            except DATABASE_ERRORS as error:
                _log.warning("rows_not_counted", error=repr(error))
            else:
                telemetry.OPEN_ROWS.set(counts.open_rows)
                telemetry.PARKED_ROWS.set(counts.parked_rows)
                telemetry.OLDEST_SECONDS.set(counts.oldest_s)
                if counts.oldest_s > self._settings.late_after_s:
                    _log.warning("rows_late", rows=counts.open_rows, oldest_s=round(counts.oldest_s, 1))
            await asyncio.sleep(_COUNT_EVERY_S)


class _Parts:
    """What needs a running event loop."""

    def __init__(
        self,
        settings: OutboxSettings,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        book: Callable[[Booking], Awaitable[object]],
    ) -> None:
        self._book = book
        self._recent = RecentWins()
        self.client = JackpotClient(settings.jackpot_address)
        self.database = OwnConnection(connect, self._wake)
        self.dispatch = Dispatch(self.client, settings, book=self._book_answers, desk=Desk(self.database))
        self.relay = Relay(self.database, self.dispatch, settings)
        holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.wins = WinFeed(self.database, self.client, settings, book=self._book_events, holder=holder)

    async def _book_answers(self, booking: Booking) -> None:
        await self._book(booking)
        self._recent.remember(booking.wins)

    async def _book_events(self, booking: Booking) -> None:
        await self._book_answers(replace(booking, pages=tuple(map(self._recent.news, booking.pages))))

    def _wake(self) -> None:
        self.relay.wake()


def _start(work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("task_failed", task=task.get_name(), exc_info=error)
