"""Feeds dispatch with the rows that came due, and puts those back that were not answered."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from time import monotonic

from jackpot_outbox import store
from jackpot_outbox.dispatch import Dispatch
from jackpot_outbox.own_connection import OwnConnection
from jackpot_outbox.rows import RowKey, Setback
from jackpot_outbox.settings import OutboxSettings
from service_kit.database import DATABASE_ERRORS
from service_kit.telemetry import get_log

_log = get_log("relay")

# After trouble with the database.
_RETRY_S = 0.2


class Desk:
    """Puts rows back, over the outbox's own connection. Trouble is only logged: leases end by themselves."""

    def __init__(self, database: OwnConnection) -> None:
        self._database = database

    async def set_back(self, setbacks: Sequence[Setback], leases: Sequence[datetime | None]) -> None:
        """As `RowDesk.set_back`."""
        try:
            await self._database.run(partial(store.set_back, setbacks=setbacks, leases=leases))
        except DATABASE_ERRORS as error:
            _log.warning("rows_not_set_back", rows=len(setbacks), error=repr(error))

    async def give_back(self, keys: Sequence[RowKey], lease_until: datetime, delay_s: float) -> None:
        """As `RowDesk.give_back`."""
        try:
            await self._database.run(
                partial(store.give_back, keys=keys, lease_until=lease_until, delay_ms=round(delay_s * 1000))
            )
        except DATABASE_ERRORS as error:
            _log.warning("rows_not_given_back", rows=len(keys), error=repr(error))


class Relay:
    """Takes due rows in batches, as many as dispatch has room for, and none while calls are held back."""

    def __init__(self, database: OwnConnection, dispatch: Dispatch, settings: OutboxSettings) -> None:
        self._database = database
        self._dispatch = dispatch
        self._settings = settings
        self._woken = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        """Some row is due now."""
        self._woken.set()

    def stop(self) -> None:
        """Ends `run` once the rows at hand are fed: taken and not fed, they would wait for their lease."""
        self._stopping = True
        self._woken.set()
        self._dispatch.room_freed.set()

    async def run(self) -> None:
        """Relays until stopped, or cancelled."""
        poll_s = self._settings.poll_ms / 1000
        while not self._stopping:
            self._woken.clear()
            self._dispatch.room_freed.clear()
            room = self._dispatch.room
            if not room:
                await _wait(self._dispatch.room_freed, min(self._dispatch.pause_s or poll_s, poll_s))
                continue
            limit = min(room, self._settings.max_batch)
            try:
                taken = await self._take(limit)
            except DATABASE_ERRORS as error:
                _log.warning("rows_not_taken", error=repr(error))
                await asyncio.sleep(_RETRY_S)
                continue
            if taken < limit and not self._stopping:
                await _wait(self._woken, poll_s)

    async def _take(self, limit: int) -> int:
        # Begun before the database's clock is read, so our lease ends before the database's does.
        began = monotonic()
        taken = await self._database.run(
            partial(store.take_due, limit=limit, lease_ms=self._settings.lease_ms)
        )
        if taken.lease_until is not None:
            _log.debug("rows_leased", rows=len(taken.rows))
            self._dispatch.feed(taken.rows, began + self._settings.lease_ms / 1000, taken.lease_until)
        return len(taken.rows)


async def _wait(event: asyncio.Event, longest_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(longest_s):
            await event.wait()
